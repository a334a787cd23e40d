"""What WAL a repository holds: segments, timeline histories, the unfinished segment; and what is missing.

Listing costs one pass over ``<target>/wal/<system id>/`` and reads no object. Age is randomized, so two
objects of one segment are the same if and only if the plaintext's hash in their keys is. Two different ones
are a fork: two servers went on from one backup without a timeline of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pra.postgres.wal import Switch
from pra.storage.base import Storage

Histories = Mapping[int, tuple[Switch, ...]]
"""By timeline, the ancestors its history file names, oldest first. Timeline 1 has none."""


@dataclass(frozen=True)
class ArchivedSegment:
    """A whole segment as stored. ``sha256`` is of its plaintext, ``bytes`` and ``modified`` of the object."""

    key: str
    name: str
    sha256: str
    encrypted: bool
    bytes: int
    modified: datetime


@dataclass(frozen=True)
class ArchivedHistory:
    """A timeline's history file; ``sha256`` is of its text, which is stored as it is."""

    key: str
    timeline: int
    sha256: str
    bytes: int
    modified: datetime


@dataclass(frozen=True)
class ArchivedPartial:
    """The beginning of a segment, up to ``lsn``."""

    key: str
    name: str
    lsn: int
    encrypted: bool
    bytes: int
    modified: datetime


@dataclass(frozen=True)
class Archive:
    """The WAL of one server in one repository, as listed.

    Attributes:
        segments: By PostgreSQL's name; more than one object only where there is a fork.
        histories: By timeline; likewise.
        partials: By PostgreSQL's name, the one that reaches furthest; none for a segment that is whole.
        stale: Partials that a whole segment or a longer partial has made superfluous.
    """

    repository: str
    target: str
    system_id: str
    segments: Mapping[str, tuple[ArchivedSegment, ...]] = field(default_factory=dict)
    histories: Mapping[int, tuple[ArchivedHistory, ...]] = field(default_factory=dict)
    partials: Mapping[str, ArchivedPartial] = field(default_factory=dict)
    stale: tuple[ArchivedPartial, ...] = ()

    @property
    def forked(self) -> tuple[str, ...]:
        """Names of segments and histories that exist with different contents."""
        raise NotImplementedError

    @property
    def timelines(self) -> tuple[int, ...]:
        """Every timeline of which there is anything, in order."""
        raise NotImplementedError

    @property
    def newest(self) -> datetime | None:
        """When the last object landed, by the repository's clock."""
        raise NotImplementedError

    def find(self, name: str, sha256: str | None = None) -> ArchivedSegment | None:
        """A segment by its name, and of its contents where a manifest says which.

        Raises:
            IntegrityError: Without ``sha256``, and there are two of that name.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Gap:
    """Segments that should be there and are not: ``first`` to ``last``, both included, of one timeline."""

    timeline: int
    first: str
    last: str
    segments: int


def systems(storage: Storage, target: str) -> tuple[str, ...]:
    """The system identifiers of which there is any WAL."""
    raise NotImplementedError


def read_archive(storage: Storage, target: str, system_id: str) -> Archive:
    """List what there is.

    Raises:
        StorageError: The repository does not answer.
    """
    raise NotImplementedError


def load_histories(storage: Storage, archive: Archive) -> dict[int, tuple[Switch, ...]]:
    """Read the history files.

    Raises:
        IntegrityError: One is not what its key says, is no history, or there are two of one timeline.
        StorageError: The repository does not answer.
    """
    raise NotImplementedError


def history_text(storage: Storage, entry: ArchivedHistory) -> bytes:
    """A history file's bytes, compared with the hash in its key. Raises IntegrityError, StorageError."""
    raise NotImplementedError


def names_along(
    timeline: int, histories: Histories, start: int, stop: int, segment_bytes: int
) -> tuple[str, ...]:
    """The segments that recovery to ``timeline`` reads from ``start`` up to, not including, ``stop``.

    In the segment where a timeline begins, PostgreSQL takes the newest timeline's file: it begins with a copy
    of the ancestor's bytes (``XLogFileReadAnyTLI`` in ``access/transam/xlogrecovery.c``).

    Raises:
        IntegrityError: ``histories`` has nothing about ``timeline`` (except 1, which needs none).
    """
    raise NotImplementedError


def covered_until(
    archive: Archive, timeline: int, start: int, segment_bytes: int, histories: Histories | None = None
) -> int:
    """How far recovery along ``timeline`` gets from ``start`` before the first missing byte.

    Ancestors are followed where ``histories`` names them; an unfinished segment counts up to its ``lsn``.
    ``start`` itself when not even its segment is there.
    """
    raise NotImplementedError


def missing(archive: Archive, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the segments that are not there whole, in the order given."""
    raise NotImplementedError


def missing_exact(archive: Archive, wanted: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Names of those ``(name, sha256)`` that are not there: what a manifest's ``physical.wal`` needs."""
    raise NotImplementedError


def gaps(archive: Archive, histories: Histories, segment_bytes: int, *, since: int = 0) -> tuple[Gap, ...]:
    """Holes in each timeline between its first and its last byte here, from position ``since`` on.

    A timeline reaches from its first segment here, or from where its history says it left its parent, to its
    last; and a parent must reach the point where its child left it.

    Args:
        since: Before this position only the segments of backups are kept, so that holes are in order.
    """
    raise NotImplementedError
