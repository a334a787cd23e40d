"""Catching up: a repository that missed a backup gets it from another one."""

from __future__ import annotations

import hashlib
import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pra import leases
from pra.errors import IntegrityError, SpaceError
from pra.model import StoredObject
from pra.storage.pipe import verify_stored
from pra.timing import Clock

if TYPE_CHECKING:
    from pra.catalog import Catalog

_CHUNK = 1 << 20
_SPARE_BYTES = 64 << 20


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
            lease.check()
        destination.commit(source.manifest_bytes(backup_id), manifest, retain_until)
    return (*copied, backup_id)


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
