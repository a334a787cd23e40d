"""Catching up: a repository that missed a backup gets it from another one, with the WAL it needs."""

from __future__ import annotations

import hashlib
import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pra import leases
from pra.errors import IntegrityError, ObjectExists, ObjectMissing, SpaceError, StorageError
from pra.layout import object_key, wal_history_key, wal_segment_key
from pra.manifest import Manifest, WalSegment
from pra.model import StoredObject
from pra.storage.base import Storage
from pra.storage.pipe import verify_stored
from pra.timing import Clock
from pra.wal.archive import read_archive

if TYPE_CHECKING:
    from pra.catalog import Catalog

_CHUNK = 1 << 20
_SPARE_BYTES = 64 << 20
_LARGEST_SEGMENT = 2 << 30


def copy_backup(
    source: Catalog,
    destination: Catalog,
    backup_id: str,
    staging: Path,
    clock: Clock,
    retain_until: datetime | None,
) -> tuple[str, ...]:
    """See ``Catalog.copy_from``."""
    if backup_id in destination.committed():
        return ()
    manifest = source.load(backup_id)
    covers = (backup_id, *manifest.parents)
    with leases.hold(destination.storage, destination.target, "copy", clock, covers=covers) as lease:
        copied: tuple[str, ...] = ()
        for parent in manifest.parents:
            copied += copy_backup(source, destination, parent, staging, clock, retain_until)
        for stored in manifest.objects:
            if not _is_whole(destination, backup_id, stored):
                _copy_object(source, destination, backup_id, stored, staging, retain_until)
            elif retain_until is not None:
                key = object_key(destination.target, backup_id, stored.name)
                destination.storage.prolong(key, retain_until)
            lease.check()
        copy_wal(source.storage, destination.storage, manifest, retain_until)
        destination.commit(source.manifest_bytes(backup_id), manifest, retain_until)
    return (*copied, backup_id)


def segment_there(storage: Storage, manifest: Manifest, segment: WalSegment) -> str | None:
    """The key of a WAL segment that a backup needs; None where it is not in this repository.

    Encrypted or not: a streamer may have shipped it under other settings.
    """
    system_id = manifest.server.system_identifier
    for encrypted in (True, False):
        key = wal_segment_key(manifest.target, system_id, segment.name, segment.sha256, encrypted=encrypted)
        stat = storage.stat(key)
        if stat is not None and stat.bytes:
            return key
    return None


def missing_wal(storage: Storage, manifest: Manifest) -> list[WalSegment]:
    """The segments without which the backup cannot be restored from this repository."""
    needed = manifest.physical.wal if manifest.physical is not None else ()
    return [segment for segment in needed if segment_there(storage, manifest, segment) is None]


def copy_wal(
    source: Storage, destination: Storage, manifest: Manifest, retain_until: datetime | None
) -> None:
    """Bring the WAL from a backup's start to its stop, and its timeline's history. Nothing for a logical one.

    What is there already is locked at least until then too.

    Raises:
        IntegrityError: The source lacks a segment. StorageError: Either repository failed.
    """
    for segment in manifest.physical.wal if manifest.physical is not None else ():
        there = segment_there(destination, manifest, segment)
        if there is not None:
            if retain_until is not None:
                destination.prolong(there, retain_until)
            continue
        key = segment_there(source, manifest, segment)
        if key is None:
            raise IntegrityError(
                f"{segment.name}, which {manifest.backup_id} needs, is missing in {source.name}",
                op="copy backup",
                hint="Use another repository's copy of this backup.",
            )
        _copy_key(source, destination, key, retain_until)
    if manifest.physical is None or manifest.physical.timeline == 1:
        return
    archive = read_archive(source, manifest.target, manifest.server.system_identifier)
    for timeline, found in archive.histories.items():
        if timeline <= manifest.physical.timeline:
            for history in found:
                key = wal_history_key(manifest.target, archive.system_id, timeline, history.sha256)
                _copy_key(source, destination, key, retain_until)


def _copy_key(source: Storage, destination: Storage, key: str, retain_until: datetime | None) -> None:
    """The same bytes under the same key, read back. Whoever was first, wins."""
    try:
        data = source.read(key, limit=_LARGEST_SEGMENT)
        destination.create(key, data, retain_until=retain_until)
    except ObjectExists:
        if retain_until is not None:
            destination.prolong(key, retain_until)
        return
    except ObjectMissing:
        raise IntegrityError(f"{key} is missing in {source.name}", op="copy backup") from None
    if destination.read(key, limit=_LARGEST_SEGMENT) != data:
        raise StorageError(f"{key} in {destination.name} reads back differently", op="copy backup")


def _copy_object(
    source: Catalog,
    destination: Catalog,
    backup_id: str,
    stored: StoredObject,
    staging: Path,
    retain_until: datetime | None,
) -> None:
    free = shutil.disk_usage(staging).free
    if free < stored.bytes + _SPARE_BYTES:
        raise SpaceError(
            f"{stored.name} needs {stored.bytes} bytes in {staging}, {free} are free",
            op="copy backup",
            hint="Free space there, or set PRA_STATE_DIR to a larger disk.",
        )
    staged = staging / f"copy-{backup_id}-{stored.name}"
    staged.unlink(missing_ok=True)  # left by a run that died
    try:
        with source.open_object(backup_id, stored.name) as stream:
            _download(stream, staged, stored)
        destination.publish_object(backup_id, stored, staged, retain_until)
    finally:
        staged.unlink(missing_ok=True)


def _is_whole(catalog: Catalog, backup_id: str, stored: StoredObject) -> bool:
    """Whether an earlier attempt left this object here already."""
    try:
        with catalog.open_object(backup_id, stored.name) as stream:
            verify_stored(stream, stored)
    except IntegrityError:
        return False
    return True


def _download(source: BinaryIO, path: Path, stored: StoredObject) -> None:
    """Write a file and compare it with what was signed. Raises IntegrityError."""
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as file:
        while chunk := source.read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    if (size, digest.hexdigest()) != (stored.bytes, stored.sha256):
        raise IntegrityError(
            f"{stored.name} is not what was signed: {size} bytes, expected {stored.bytes}",
            op="copy backup",
            hint="This copy is damaged; use another repository's.",
        )
