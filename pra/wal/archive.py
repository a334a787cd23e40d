"""What WAL a repository holds: segments, timeline histories, the unfinished segment; and what is missing.

Listing costs one pass over ``<target>/wal/<system id>/`` and reads no object. Age is randomized, so two
objects of one segment are the same if and only if the plaintext's hash in their keys is. Two different ones
are a fork: two servers went on from one backup without a timeline of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pra.errors import IntegrityError, ObjectMissing, PraError
from pra.layout import (
    WalHistoryKey,
    WalPartialKey,
    WalSegmentKey,
    split_wal_key,
    wal_prefix,
)
from pra.postgres.wal import (
    Switch,
    history_name,
    parse_history,
    segment_timeline,
)
from pra.storage.base import ObjectStat, Storage
from pra.wal.coverage import Gap, Histories, along, covered_until, gaps, names_along, reigns

__all__ = [
    "Archive",
    "ArchivedHistory",
    "ArchivedPartial",
    "ArchivedSegment",
    "Gap",
    "Histories",
    "along",
    "covered_until",
    "forked",
    "gaps",
    "history_text",
    "load_histories",
    "missing",
    "missing_exact",
    "names_along",
    "read_archive",
    "reigns",
    "survey_histories",
    "systems",
]

_LARGEST_HISTORY = 1 << 20


@dataclass(frozen=True)
class ArchivedSegment:
    """A whole segment as stored. ``sha256`` is of its plaintext, ``bytes`` and ``modified`` of the object.

    ``until``: read it as if the WAL ended here, inside of it; see `pra.wal.coverage.along`.
    """

    key: str
    name: str
    sha256: str
    encrypted: bool
    bytes: int
    modified: datetime
    until: int | None = None


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
        segments = [name for name, found in self.segments.items() if len(found) > 1]
        histories = [history_name(timeline) for timeline, found in self.histories.items() if len(found) > 1]
        return tuple(sorted(histories) + sorted(segments))

    @property
    def timelines(self) -> tuple[int, ...]:
        """Every timeline of which there is anything, in order."""
        names = {segment_timeline(name) for name in (*self.segments, *self.partials)}
        return tuple(sorted(names | set(self.histories)))

    @property
    def furthest_landed(self) -> datetime | None:
        """When the furthest piece of the newest timeline came to be here, by the repository's clock."""
        names = {name: found[0].modified for name, found in self.segments.items()}
        names |= {name: partial.modified for name, partial in self.partials.items() if name not in names}
        return names[max(names)] if names else None

    @property
    def bytes(self) -> int:
        """Stored bytes of everything that is listed here."""
        whole = sum(one.bytes for found in self.segments.values() for one in found)
        return whole + sum(one.bytes for one in (*self.partials.values(), *self.stale))

    def find(self, name: str, sha256: str | None = None) -> ArchivedSegment | None:
        """A segment by its name, and of its contents where a manifest says which.

        Raises:
            IntegrityError: Without ``sha256``, and there are two of that name.
        """
        found = self.segments.get(name, ())
        if sha256 is not None:
            return next((one for one in found if one.sha256 == sha256), None)
        if len(found) > 1:
            raise forked(name, self.repository)
        return found[0] if found else None


def forked(name: str, repository: str) -> IntegrityError:
    """The complaint about two contents under one name."""
    return IntegrityError(
        f"timeline forked: {name} is in {repository} with different contents",
        op="read WAL archive",
        hint="Two servers wrote on after the same point: find out which one is the true one, stop the other, "
        "and take a full backup.",
    )


def systems(storage: Storage, target: str) -> tuple[str, ...]:
    """The system identifiers of which there is any WAL."""
    found = {key.system_id for stat in storage.list(wal_prefix(target)) if (key := _split(target, stat))}
    return tuple(sorted(found))


def read_archive(storage: Storage, target: str, system_id: str) -> Archive:
    """List what there is.

    Raises:
        StorageError: The repository does not answer.
    """
    segments: dict[str, list[ArchivedSegment]] = {}
    histories: dict[int, list[ArchivedHistory]] = {}
    partials: dict[str, list[ArchivedPartial]] = {}
    for stat in storage.list(wal_prefix(target, system_id)):
        key = _split(target, stat)
        sizes = (stat.bytes, stat.modified)
        if isinstance(key, WalSegmentKey):
            whole = ArchivedSegment(key.key, key.name, key.sha256, key.encrypted, *sizes)
            same = segments.setdefault(key.name, [])
            # Encrypted and plain of the same contents (the settings changed meanwhile) are no fork.
            if all(other.sha256 != whole.sha256 for other in same):
                same.append(whole)
        elif isinstance(key, WalHistoryKey):
            history = ArchivedHistory(key.key, key.timeline, key.sha256, *sizes)
            histories.setdefault(key.timeline, []).append(history)
        elif isinstance(key, WalPartialKey):
            part = ArchivedPartial(key.key, key.name, key.lsn, key.encrypted, *sizes)
            partials.setdefault(key.name, []).append(part)
    furthest = {
        name: max(found, key=lambda one: (one.lsn, one.encrypted))
        for name, found in partials.items()
        if name not in segments
    }
    return Archive(
        storage.name,
        target,
        system_id,
        {name: tuple(found) for name, found in segments.items()},
        {timeline: tuple(found) for timeline, found in histories.items()},
        furthest,
        tuple(one for name, found in partials.items() for one in found if one is not furthest.get(name)),
    )


def _split(target: str, stat: ObjectStat) -> WalSegmentKey | WalHistoryKey | WalPartialKey | None:
    # An empty object is what a foreign tool or a full disk left behind: it holds no WAL.
    return split_wal_key(target, stat.key) if stat.bytes else None


def load_histories(storage: Storage, archive: Archive) -> dict[int, tuple[Switch, ...]]:
    """Read the history files.

    Raises:
        IntegrityError: One is not what its key says, is no history, or there are two of one timeline.
        StorageError: The repository does not answer.
    """
    histories, faults = survey_histories(storage, archive)
    if faults:
        raise faults[0]
    return histories


def survey_histories(
    storage: Storage, archive: Archive
) -> tuple[dict[int, tuple[Switch, ...]], list[IntegrityError]]:
    """The history files that are sound, and what is wrong with the others.

    Raises:
        StorageError: The repository does not answer.
    """
    found: dict[int, tuple[Switch, ...]] = {}
    faults: list[IntegrityError] = []
    for timeline, entries in sorted(archive.histories.items()):
        if len(entries) > 1:
            faults.append(forked(history_name(timeline), archive.repository))
            continue
        try:
            found[timeline] = _parsed(history_text(storage, entries[0]), timeline, archive.repository)
        except IntegrityError as error:
            faults.append(error)
    return found, faults


def _parsed(data: bytes, timeline: int, repository: str) -> tuple[Switch, ...]:
    try:
        switches = parse_history(data.decode(errors="replace"))
    except PraError as error:
        fact = f"{history_name(timeline)} in {repository}: {error.message}"
        raise IntegrityError(fact, op="read timeline history") from None
    if not switches or switches[-1].timeline >= timeline:
        fact = f"{history_name(timeline)} in {repository} does not lead to its timeline"
        raise IntegrityError(fact, op="read timeline history")
    return switches


def history_text(storage: Storage, entry: ArchivedHistory) -> bytes:
    """A history file's bytes, compared with the hash in its key. Raises IntegrityError, StorageError."""
    op, where = "read timeline history", f"{history_name(entry.timeline)} in {storage.name}"
    try:
        data = storage.read(entry.key, limit=_LARGEST_HISTORY)
    except ObjectMissing:
        raise IntegrityError(f"{where} is missing", op=op) from None
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        hint = "Use another repository's copy."
        raise IntegrityError(f"{where} is not what was archived", op=op, hint=hint)
    return data


def missing(archive: Archive, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the segments that are not there whole, in the order given."""
    return tuple(name for name in names if name not in archive.segments)


def missing_exact(archive: Archive, wanted: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Names of those ``(name, sha256)`` that are not there: what a manifest's ``physical.wal`` needs."""
    return tuple(name for name, sha256 in wanted if archive.find(name, sha256) is None)
