"""One WAL segment on its way: sealed once, and the same bytes into every repository, read back.

The key holds the hash of the plaintext, so that two writers (the streamer, and a backup that brings its own
WAL) mean the same object; whoever comes second finds it there. Two different plaintexts of one name are both
kept, and said aloud: a timeline has forked.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pra import leases
from pra.disk import disk_errors
from pra.errors import IntegrityError, ObjectExists, StorageError
from pra.layout import (
    WalPartialKey,
    WalSegmentKey,
    split_wal_key,
    wal_history_key,
    wal_partial_key,
    wal_partials,
    wal_same_name,
    wal_segment_key,
)
from pra.model import StoredObject
from pra.postgres.wal import history_name
from pra.storage.base import Storage
from pra.storage.pipe import seal, verify_stored
from pra.timing import Clock, utc_now
from pra.wal.archive import forked
from pra.wal.arrival import Streaming

LEASE = "wal-stream"
"""The exclusive lease of whoever streams into a repository."""
_NAME = re.compile(r"wal-(\d{1,20})-([0-9A-F]{24})-([0-9a-f]{64})\.zst(\.age)?")
_AGE = b"age-encryption.org/v1\n"
_HEAD = 256  # bytes: an age header holds a fresh public key, so no two files begin alike
_IN_MEMORY = 64 << 20  # up to here a conditional write, which takes bytes; a larger object is put


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
    with data.open("rb") if isinstance(data, Path) else io.BytesIO(data) as source:
        sha256 = hashlib.file_digest(source, "sha256").hexdigest()
        source.seek(0)
        path = folder / f"wal-{system_id}-{segment}-{sha256}.zst{'.age' if recipients else ''}"
        stored = seal(source, path, recipients=recipients, durable=durable)
    return SealedSegment(path, stored, system_id, segment, sha256, bool(recipients))


def sealed_from(path: Path, stored: StoredObject | None = None) -> SealedSegment | None:
    """What a spool file is by its name; None for any other file. Without ``stored`` it is hashed.

    ``stored.plain_bytes`` is then unknown, and 0.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    if stored is None:
        with disk_errors("read WAL spool", path.parent), path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        stored = StoredObject(path.name, path.stat().st_size, digest, 0, match[3])
    return SealedSegment(path, stored, match[1], match[2], match[3], bool(match[4]))


def ship(storage: Storage, target: str, sealed: SealedSegment, *, retain_until: datetime | None) -> bool:
    """Store a segment, read it back, and remove the partials that it makes superfluous.

    One that is there already is locked at least until ``retain_until`` too.

    Returns:
        False when it was there already.

    Raises:
        IntegrityError: ``timeline forked``: a segment of this name with other contents is there too.
            Both are kept.
        StorageError: The repository failed, or holds something else than was sent.
    """
    system_id, segment = sealed.system_id, sealed.segment
    key = wal_segment_key(target, system_id, segment, sealed.sha256, encrypted=sealed.encrypted)
    new = _store(storage, key, sealed.path, sealed.stored, retain_until)
    _require_alone(storage, target, system_id, segment, sealed.sha256)
    for stat in list(storage.list(wal_partials(target, system_id, segment))):
        storage.delete(stat.key)
    return new


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
    sha256 = hashlib.sha256(data).hexdigest()
    key = wal_history_key(target, system_id, timeline, sha256)
    new = not _is_there(storage, key)
    if new:
        try:
            storage.create(key, data, retain_until=retain_until)
        except ObjectExists:
            new = False
    if storage.read(key) != data:
        raise _damaged(key, storage)
    if not new and retain_until is not None:
        storage.prolong(key, retain_until)
    prefix = wal_same_name(target, system_id, f"{timeline:08X}")
    if any(stat.key != key and stat.bytes for stat in storage.list(prefix)):
        raise forked(history_name(timeline), storage.name)
    return new


def ship_partial(
    storage: Storage, target: str, system_id: str, segment: str, lsn: int, path: Path, stored: StoredObject
) -> bool:
    """Store the beginning of a segment up to ``lsn``, read it back, then remove shorter ones of this segment.

    Never locked. False when a partial that reaches as far, or the whole segment, is there.

    Raises:
        StorageError: The repository failed, or holds something else than was sent.
    """
    if any(stat.bytes for stat in storage.list(wal_same_name(target, system_id, segment))):
        return False
    others: list[WalPartialKey] = []
    for stat in list(storage.list(wal_partials(target, system_id, segment))):
        key = split_wal_key(target, stat.key)
        if stat.bytes and isinstance(key, WalPartialKey):
            others.append(key)
    if any(other.lsn >= lsn for other in others):
        return False
    encrypted = path.name.endswith(".age")
    _store(storage, wal_partial_key(target, system_id, segment, lsn, encrypted=encrypted), path, stored, None)
    for other in others:
        storage.delete(other.key)
    return True


def look_at_stream(storage: Storage, target: str, clock: Clock = utc_now) -> Streaming:
    """What the streamer says in this repository.

    Raises:
        StorageError: The repository does not answer.
    """
    found = leases.look(storage, target, LEASE, clock())
    if found is None:
        return Streaming()
    until = found[0].renewed_at
    return Streaming(None if until == leases.NEVER else until, found[1])


def streamed_until(storage: Storage, target: str, clock: Clock = utc_now) -> datetime | None:
    """Until when everything that the server had committed was in this repository, as the streamer says there.

    None when no streamer says so: there is none, or it ended and took its word back.

    Raises:
        StorageError: The repository does not answer.
    """
    return look_at_stream(storage, target, clock).vouched


# -- one object ------------------------------------------------------------------------------------


def _is_there(storage: Storage, key: str) -> bool:
    """An empty object was never one: it is removed."""
    stat = storage.stat(key)
    if stat is not None and not stat.bytes:
        storage.delete(key)
        return False
    return stat is not None


def _store(
    storage: Storage, key: str, path: Path, stored: StoredObject, retain_until: datetime | None
) -> bool:
    """Write once and read back; False when it was there, or somebody else's of the same contents came first.

    Conditionally: age is randomized, so a second writer's bytes would differ from those that the first one
    is about to read back. What is there may be ours of an earlier try, which ended before it was read back.
    """
    new = not _is_there(storage, key)
    if new and stored.bytes > _IN_MEMORY:
        storage.put(key, path, sha256=stored.sha256, retain_until=retain_until)
    elif new:
        try:
            with disk_errors("read WAL spool", path.parent):
                data = path.read_bytes()
            storage.create(key, data, retain_until=retain_until)
        except ObjectExists:
            new = False
    _read_back(storage, key, path, stored, new=new)
    if not new and retain_until is not None:
        storage.prolong(key, retain_until)
    return new


def _read_back(storage: Storage, key: str, path: Path, stored: StoredObject, *, new: bool) -> None:
    """Compare what the repository holds with what was sent.

    Another writer's object begins otherwise; that one is whoever wrote it to read back: without the identity
    nobody can tell more.

    Raises:
        StorageError: Ours is damaged there. It is removed, so that the next try sends it again.
    """
    if not new and _is_another_writers(storage, key, path):
        return
    try:
        with storage.open(key) as stream:
            verify_stored(stream, stored)
    except IntegrityError:
        raise _damaged(key, storage) from None


def _is_another_writers(storage: Storage, key: str, path: Path) -> bool:
    with disk_errors("read WAL spool", path.parent), path.open("rb") as file:
        ours = file.read(_HEAD)
    with storage.open(key) as stream:
        there = stream.read(_HEAD)
    return there != ours and there.startswith(_AGE) and ours.startswith(_AGE)


def _damaged(key: str, storage: Storage) -> StorageError:
    """Remove it, and say so. Under a lock the damaged version stays what is read: then this does not end."""
    with suppress(StorageError):
        storage.delete(key)
    return StorageError(
        f"{key} in {storage.name} reads back differently",
        op="ship WAL",
        hint="It is sent again. Check that repository's disk.",
        transient=True,
    )


def _require_alone(storage: Storage, target: str, system_id: str, segment: str, sha256: str) -> None:
    for stat in storage.list(wal_same_name(target, system_id, segment)):
        other = split_wal_key(target, stat.key)
        if stat.bytes and isinstance(other, WalSegmentKey) and other.sha256 != sha256:
            raise forked(segment, storage.name)
