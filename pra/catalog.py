"""The catalog of one target in one repository: publish, commit, list, read, copy, delete.

A backup exists once its manifest is there, and the manifest lands only when this repository alone can restore
the backup: every object whole and read back, every parent there, and all WAL that it needs. Deleting goes the
other way round: manifest first, so that no moment shows a backup that cannot be restored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from pra import leases
from pra import manifest as manifests
from pra.catchup import copy_backup, missing_wal
from pra.errors import (
    BusyError,
    IntegrityError,
    NotFoundError,
    ObjectExists,
    ObjectMissing,
    PraError,
)
from pra.garbage import GcReport, Orphan, collect, find_orphans
from pra.keys import Keyring
from pra.layout import (
    MANIFEST,
    backup_prefix,
    backups_prefix,
    evidence_key,
    lease_key,
    manifest_key,
    object_key,
    objects_prefix,
    split_backup_key,
)
from pra.listing import BackupEntry, retention_facts
from pra.manifest import Manifest
from pra.model import StoredObject
from pra.prolonging import prolong_parents
from pra.side_by_side import side_by_side
from pra.storage.base import ObjectStat, Storage
from pra.storage.pipe import verify_stored
from pra.timing import Clock, utc_now

__all__ = [
    "BackupEntry",
    "Catalog",
    "GcReport",
    "Orphan",
    "evidence_key",
    "lease_key",
    "manifest_key",
    "object_key",
    "retention_facts",
]

_READ_BACK = 4
"""Objects that are read back at a time: one alone leaves processors and a far repository idle."""


class Catalog:
    """What one repository holds of one target.

    Args:
        keyring: Whose signatures on manifests count.
        clock: Decides which leases still live.
    """

    def __init__(self, storage: Storage, target: str, keyring: Keyring, *, clock: Clock = utc_now) -> None:
        self.storage = storage
        self.target = target
        self._keyring = keyring
        self._clock = clock

    # -- reading -----------------------------------------------------------------------------------

    def backups(self) -> list[BackupEntry]:
        """All committed backups, newest id first. One that cannot be read is there, with its error.

        Raises:
            StorageError: The repository cannot be listed.
        """
        read = side_by_side(self._entry, sorted(self.committed(), reverse=True))
        return [entry for entry in read if entry is not None]

    def _entry(self, backup_id: str) -> BackupEntry | None:
        """None: it has expired between listing and reading."""
        try:
            return BackupEntry(backup_id, self.load(backup_id))
        except NotFoundError:
            return None
        except PraError as error:
            return BackupEntry(backup_id, None, error)

    def load(self, backup_id: str, *, accept_unverified: bool = False) -> Manifest:
        """One backup's manifest, verified.

        Raises:
            NotFoundError: No such backup here.
            IntegrityError, SignatureError: See ``pra.manifest.read``.
        """
        return manifests.read(
            self.manifest_bytes(backup_id),
            self._keyring,
            target=self.target,
            backup_id=backup_id,
            accept_unverified=accept_unverified,
        )

    @contextmanager
    def open_object(self, backup_id: str, name: str) -> Iterator[BinaryIO]:
        """The stored bytes of one object. Raises IntegrityError where a committed object is missing."""
        key = object_key(self.target, backup_id, name)
        with ExitStack() as stack:
            try:
                source = stack.enter_context(self.storage.open(key))
            except ObjectMissing as error:
                raise IntegrityError(
                    f"{key} is missing in {self.storage.name}",
                    op="read object",
                    hint="Use another repository's copy of this backup.",
                ) from error
            yield source

    # -- writing -----------------------------------------------------------------------------------

    def publish_object(
        self, backup_id: str, stored: StoredObject, path: Path, retain_until: datetime | None = None
    ) -> None:
        """Upload one object. Repeating it is harmless; it counts for nothing before ``commit``."""
        key = object_key(self.target, backup_id, stored.name)
        self.storage.put(key, path, sha256=stored.sha256, retain_until=retain_until)

    def commit(self, manifest_bytes: bytes, manifest: Manifest, retain_until: datetime | None = None) -> None:
        """Make the backup exist here: read every object back, list again, then create the manifest.

        Under a lock, what it stands upon is locked for as long as itself. Repeating a commit with the same
        bytes is harmless.

        Raises:
            IntegrityError: An object, a parent or a WAL segment is missing or not what the manifest says, or
                another manifest has this id.
            SignatureError: The manifest is not signed by a key we trust: nobody could restore from it.
            StorageError: The repository failed, or the lock on a parent could not be prolonged.
        """
        backup_id = manifest.backup_id
        signed = manifests.read(manifest_bytes, self._keyring, target=self.target, backup_id=backup_id)
        if (signed.objects, signed.parents, signed.physical) != (
            manifest.objects,
            manifest.parents,
            manifest.physical,
        ):
            raise IntegrityError("the signed manifest is not the one given", op="commit backup")
        side_by_side(lambda stored: self._read_back(backup_id, stored), signed.objects, _READ_BACK)
        missing_parents = set(signed.parents) - self.committed() if signed.parents else set()
        if missing_parents:
            raise IntegrityError(
                f"{backup_id} needs {', '.join(sorted(missing_parents))}, not in {self.storage.name}",
                op="commit backup",
                hint="Copy the parents there first, or take a full backup.",
            )
        self._require_listed(signed)
        if lacking := missing_wal(self.storage, signed):
            raise IntegrityError(
                f"{backup_id} needs WAL segment {lacking[0].name}, not in {self.storage.name}",
                op="commit backup",
                hint="Run the backup again.",
            )
        if retain_until is not None:
            prolong_parents(self, signed, retain_until)
        key = manifest_key(self.target, backup_id)
        try:
            self.storage.create(key, manifest_bytes, retain_until=retain_until)
        except ObjectExists:
            if self.storage.read(key) != manifest_bytes:
                raise IntegrityError(
                    f"{self.storage.name} holds another manifest for {backup_id}", op="commit backup"
                ) from None
            if retain_until is not None:
                self.storage.prolong(key, retain_until)
        if self.storage.read(key) != manifest_bytes:
            raise IntegrityError(
                f"the manifest of {backup_id} in {self.storage.name} reads back differently",
                op="commit backup",
            )

    def _read_back(self, backup_id: str, stored: StoredObject) -> None:
        with self.open_object(backup_id, stored.name) as source:
            verify_stored(source, stored)

    def copy_from(
        self, other: Catalog, backup_id: str, staging: Path, retain_until: datetime | None = None
    ) -> tuple[str, ...]:
        """Catch up: bring a backup, and the parents it needs, here from another repository.

        The same bytes under the same keys, verified on the way and read back before the commit.

        Args:
            staging: A directory of ours for one object at a time; it is left empty.

        Returns:
            The ids copied, parents first; empty when all was here.

        Raises:
            NotFoundError, IntegrityError, StorageError: The other repository's copy is not whole.
            SpaceError: An object does not fit into ``staging``.
        """
        return copy_backup(other, self, backup_id, staging, self._clock, retain_until)

    def delete_backup(self, backup_id: str) -> None:
        """Remove a backup: manifest first, then its objects. What retention and parents allow is
        ``pra.retention``'s business; here only a live lease stands in the way.

        Raises:
            BusyError: A lease covers it: somebody is reading or building upon it.
            StorageError: It is still under an object lock, or the repository failed.
        """
        for lease in leases.live(self.storage, self.target, self._clock()):
            if lease.protects(backup_id):
                raise BusyError(
                    f"{backup_id} is in use in {self.storage.name} by {lease.holder or lease.key}",
                    op="delete backup",
                    hint="It goes with the next expiry.",
                    transient=True,
                )
        self.storage.delete(manifest_key(self.target, backup_id))
        for stat in list(self.storage.list(backup_prefix(self.target, backup_id))):
            self.storage.delete(stat.key)

    # -- garbage -----------------------------------------------------------------------------------

    def orphans(self, now: datetime, min_age: timedelta) -> list[Orphan]:
        """What belongs to no backup and has not been touched for ``min_age``. Deletes nothing."""
        return find_orphans(self.storage, self.target, now, min_age)

    def gc(self, now: datetime, min_age: timedelta, dry_run: bool = False) -> GcReport:
        """Remove orphans and unfinished uploads; see ``pra.garbage.collect``."""
        return collect(self.storage, self.target, now, min_age, dry_run=dry_run, clock=self._clock)

    # -- pieces ------------------------------------------------------------------------------------

    def committed(self) -> set[str]:
        """Ids that have a manifest, readable or not."""
        return set(self.publications())

    def publications(self) -> dict[str, datetime]:
        """When each backup's manifest landed, by the repository's own clock."""
        return {backup_id: stat.modified for backup_id, stat in self.manifests().items()}

    def manifests(self) -> dict[str, ObjectStat]:
        """Each backup's manifest as listed, unread."""
        found = {}
        for stat in self.storage.list(backups_prefix(self.target)):
            place = split_backup_key(self.target, stat.key)
            if place and place[1] == MANIFEST:
                found[place[0]] = stat
        return found

    def manifest_bytes(self, backup_id: str) -> bytes:
        """The manifest as stored, not yet verified. Raises NotFoundError."""
        key = manifest_key(self.target, backup_id)
        try:
            return self.storage.read(key)
        except ObjectMissing as error:
            raise NotFoundError(
                f"no backup {backup_id} of {self.target} in {self.storage.name}",
                op="load backup",
                hint=f"List what there is with: pra backups {self.target}",
            ) from error

    def _require_listed(self, manifest: Manifest) -> None:
        prefix = objects_prefix(self.target, manifest.backup_id)
        listed = {stat.key: stat.bytes for stat in self.storage.list(prefix)}
        for stored in manifest.objects:
            size = listed.get(f"{prefix}{stored.name}")
            if size != stored.bytes:
                seen = "is not listed" if size is None else f"is listed with {size} bytes"
                raise IntegrityError(
                    f"{stored.name} of {manifest.backup_id} {seen} in {self.storage.name}, "
                    f"expected {stored.bytes} bytes",
                    op="commit backup",
                )
