"""One WAL segment on its way: sealed once, and the same bytes into every repository, read back.

The key holds the hash of the plaintext, so that two writers (the streamer, and a backup that brings its own
WAL) mean the same object; whoever comes second finds it there. Two different plaintexts of one name are both
kept, and said aloud: a timeline has forked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pra.model import StoredObject
from pra.storage.base import Storage


@dataclass(frozen=True)
class SealedSegment:
    """A segment as it will lie in repositories; ``path`` is in a spool.

    Attributes:
        stored: Its ``name`` is ``wal-<system id>-<segment>-<sha256 of the plaintext>.zst[.age]``.
        sha256: Of the plaintext.
    """

    path: Path
    stored: StoredObject
    system_id: str
    segment: str
    sha256: str
    encrypted: bool


def seal_segment(
    data: bytes | Path,
    segment: str,
    folder: Path,
    *,
    system_id: str,
    recipients: Sequence[str],
    durable: bool = False,
) -> SealedSegment:
    """Compress and encrypt a whole segment into ``folder``.

    Args:
        data: Its bytes, or the file that holds them.
        durable: Sync it: whoever removes the plaintext afterwards needs that.

    Raises:
        SpaceError, StorageError: ``folder`` cannot be written.
    """
    raise NotImplementedError


def sealed_from(path: Path, stored: StoredObject | None = None) -> SealedSegment | None:
    """What a spool file is by its name; None for any other file. Without ``stored`` it is hashed."""
    raise NotImplementedError


def ship(storage: Storage, target: str, sealed: SealedSegment, *, retain_until: datetime | None) -> bool:
    """Store a segment, read it back, and remove the partials that it makes superfluous.

    Returns:
        False when it was there already.

    Raises:
        IntegrityError: ``timeline forked``: a segment of this name with other contents is there. Both are kept.
        StorageError: The repository failed, or holds something else than was sent.
    """
    raise NotImplementedError


def ship_history(
    storage: Storage,
    target: str,
    system_id: str,
    timeline: int,
    data: bytes,
    *,
    retain_until: datetime | None,
) -> bool:
    """Store a timeline's history file as it is; False when it was there. Raises as :func:`ship`."""
    raise NotImplementedError


def ship_partial(
    storage: Storage, target: str, system_id: str, segment: str, lsn: int, path: Path, stored: StoredObject
) -> bool:
    """Store the beginning of a segment up to ``lsn``, read it back, then remove shorter ones of this segment.

    Never locked. False when a partial that reaches as far, or the whole segment, is there.

    Raises:
        StorageError: The repository failed, or holds something else than was sent.
    """
    raise NotImplementedError


def streamed_until(storage: Storage, target: str) -> datetime | None:
    """Until when everything that the server had committed was in this repository, as the streamer says there.

    None when no streamer ever said so.

    Raises:
        StorageError: The repository does not answer.
    """
    raise NotImplementedError
