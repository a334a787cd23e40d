"""One backup into one repository: objects, read back, list again, manifest last."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pra import ephemeral
from pra.catalog import Catalog
from pra.disk import disk_errors
from pra.engines.basebackup import HISTORY_OBJECT
from pra.errors import BusyError, IntegrityError, NotFoundError, PraError, RepositoryFull, StorageError
from pra.leases import hold
from pra.listing import BackupEntry, retention_facts, unread
from pra.manifest import Manifest, read
from pra.model import PublishResult, StoredObject, backup_moment
from pra.procedures.context import Context
from pra.procedures.expiry import policy
from pra.prolonging import prolong_contents
from pra.retention import gfs_end, plan
from pra.storage.base import Storage
from pra.storage.spool import Abandoned, Begun, ObjectReady, Sealed, Spool
from pra.wal.shipping import sealed_from, ship, ship_history


def publish(context: Context, spool: Spool, repository: str) -> PublishResult:
    """Drain the spool into a repository. Never raises for what the repository does: it reports.

    The manifest is written only when every object has been read back from the repository itself. Once the
    work is stopped nothing more is sent, and what was sent is removed.
    """
    start = time.monotonic()
    try:
        with _Publisher(context, repository) as publisher, publisher.making_room():
            for event in spool.follow(repository):
                match event:
                    case Begun():
                        publisher.begin(event.backup_id, event.parents)
                    case ObjectReady():
                        if not context.scope.closed:
                            publisher.put(event.backup_id, event.object, event.path)
                        spool.done(repository, event.object.name)
                    case Abandoned():
                        publisher.forget(event.backup_id)
                    case Sealed() if context.scope.closed:
                        publisher.forget(event.backup_id)
                    case Sealed():
                        publisher.commit(event.backup_id, event.manifest)
            manifest = publisher.committed
    except PraError as error:
        spool.leave(repository, error.message)
        return PublishResult(repository, False, error.message, error.hint, 0, time.monotonic() - start)
    except BaseException as error:
        spool.leave(repository, f"unexpected {type(error).__name__}")  # or the producer would wait for us
        raise
    return PublishResult(repository, True, bytes=manifest.bytes, seconds=time.monotonic() - start)


@dataclass
class _Publisher:
    """Writes attempts into one repository, under a lease that covers the attempt being written."""

    context: Context
    repository: str
    _manifest: Manifest | None = None
    _lease: ExitStack = field(default_factory=ExitStack)
    _covered: str = ""
    _until: datetime | None = None

    def __enter__(self) -> _Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self._lease.close()

    @property
    def catalog(self) -> Catalog:
        return self.context.catalog(self.repository)

    @property
    def committed(self) -> Manifest:
        if self._manifest is None:
            raise StorageError(
                "nothing was published: the backup was not finished",
                op=f"publish to {self.repository}",
                transient=False,
            )
        return self._manifest

    @property
    def storage(self) -> Storage:
        return self.context.storage(self.repository)

    def _cover(self, backup_id: str, parents: tuple[str, ...] = ()) -> None:
        if self._covered == backup_id:
            return
        self._lease.close()
        covers = (backup_id, *parents)
        self._lease.enter_context(
            hold(self.storage, self.context.target.name, "backup", self.context.clock, covers=covers)
        )
        self._covered = backup_id
        self._until = retain_until(self.context, self.repository, backup_moment(backup_id))

    def begin(self, backup_id: str, parents: tuple[str, ...]) -> None:
        """Nobody may remove the parents from now on; those that are missing here are brought first.

        Raises:
            IntegrityError: No other repository has one of them whole.
        """
        self._cover(backup_id, parents)
        bring(self.context, self.repository, parents)

    def put(self, backup_id: str, stored: StoredObject, path: Path) -> None:
        self._cover(backup_id)
        target = self.context.target.name
        if segment := sealed_from(path, stored):
            ship(self.storage, target, segment, retain_until=self._until)
        elif history := HISTORY_OBJECT.fullmatch(path.name):
            timeline, data = int(history[2], 16), path.read_bytes()
            ship_history(self.storage, target, history[1], timeline, data, retain_until=self._until)
        else:
            self.catalog.publish_object(backup_id, stored, path, retain_until=self._until)

    def commit(self, backup_id: str, data: bytes) -> None:
        self._cover(backup_id)
        manifest = read(data, self.context.keyring, target=self.context.target.name, backup_id=backup_id)
        self._prolong(manifest)
        with self.context.timeline.phase(f"read back {self.repository}"):
            self.catalog.commit(data, manifest, retain_until=self._until)
        self._manifest = manifest

    def _prolong(self, manifest: Manifest) -> None:
        """Only now it is known when it was taken, and of which server: it may be needed for longer."""
        entry = BackupEntry(manifest.backup_id, manifest)
        until = retain_until(self.context, self.repository, entry.taken_at, entry.system_id)
        if until is not None and self._until is not None and until > self._until:
            prolong_contents(self.storage, manifest, until)
            self._until = until

    @contextmanager
    def making_room(self) -> Iterator[None]:
        """What filled a repository in vain must not keep it full until gc may look: the next run is due."""
        try:
            yield
        except RepositoryFull:
            if self._covered and self._manifest is None:
                self.forget(self._covered)
            raise

    def forget(self, backup_id: str) -> None:
        """Remove an abandoned attempt's objects now; what cannot be removed is left to gc."""
        self._lease.close()
        self._covered = ""
        try:
            self.catalog.delete_backup(backup_id)
        except (StorageError, BusyError):
            return  # locked, in use or unreachable: gc removes it when it may


def bring(context: Context, repository: str, parents: Sequence[str]) -> None:
    """Copy here what an incremental backup stands upon, from whichever other repository has it.

    Raises:
        IntegrityError: One of them is here no more, and could not be copied.
        StorageError: This repository does not answer.
    """
    missing = [parent for parent in parents if parent not in context.catalog(repository).committed()]
    if not missing:
        return
    root = context.folder("work")
    reasons: list[str] = []
    with disk_errors("copy backup", root), ephemeral.ephemeral(root, "copy-") as staging:
        for other in context.repositories:
            if missing and other != repository:
                try:
                    source = context.catalog(other)
                    for parent in list(missing):
                        entry = BackupEntry(parent, source.load(parent))
                        until = retain_until(context, repository, entry.taken_at, entry.system_id)
                        context.catalog(repository).copy_from(source, parent, staging, retain_until=until)
                        missing.remove(parent)
                except PraError as error:
                    reasons.append(f"{other}: {error.message}")
    if missing:
        raise IntegrityError(
            f"the parent {missing[0]} is missing in {repository} and could not be copied "
            f"({'; '.join(reasons) or 'there is no other repository'})",
            op=f"publish to {repository}",
            hint=f"Take a full backup: pra backup {context.target.name} --full",
        )


def retain_until(
    context: Context,
    repository: str,
    taken_at: datetime,
    system_id: str | None = None,
    others: Sequence[BackupEntry] | None = None,
) -> datetime | None:
    """Under Object Lock a backup is locked until retention lets go of it; elsewhere None.

    Args:
        others: What is here, or will be, newest first; looked up unless given.
        system_id: Of the server that a base backup is from, empty for a logical backup. None while there is
            no manifest yet: the one that the newest base backup here is from.
    """
    if not context.settings.repositories[repository].object_lock:
        return None
    known_here = context.catalog(repository).backups() if others is None else others
    entries = [entry for entry in known_here if entry.taken_at < taken_at]
    if system_id is None:
        known = (entry.system_id for entry in entries if entry.system_id)
        system_id = next(known, "new") if context.target.engine == "physical" else ""
    same = [entry.taken_at for entry in entries if entry.system_id == system_id] if system_id else None
    return gfs_end(taken_at, policy(context), [entry.taken_at for entry in entries], same)


def catch_up(context: Context, repository: str) -> list[str]:
    """Copy here what others hold, this one misses and its own retention would keep. Returns the ids.

    Raises:
        StorageError, SpaceError, IntegrityError: A copy could not be made whole; nothing half-copied is
            visible. One that is damaged where it comes from does not keep the others from being copied.
    """
    root = context.folder("work")
    with disk_errors("copy backup", root), ephemeral.ephemeral(root, "copy-") as staging:
        return _catch_up(context, repository, staging)


def _catch_up(context: Context, repository: str, staging: Path) -> list[str]:
    catalog = context.catalog(repository)
    ours = catalog.backups()
    here = {entry.backup_id for entry in ours}
    copied: list[str] = []
    damaged: list[PraError] = unread(ours)
    for other in context.repositories:
        if other == repository:
            continue
        source = context.catalog(other)
        listed = source.backups()
        damaged += unread(listed)
        # A copy that cannot be believed there cannot be brought here; it is that repository's own finding.
        missing = {e.backup_id: e for e in listed if e.backup_id not in here and e.manifest is not None}
        decided = plan(retention_facts([*ours, *missing.values()]), policy(context), context.clock())
        stays = {kept.backup_id for kept in decided.keep}
        wanted = stays - here
        others = [entry for entry in (*ours, *missing.values()) if entry.backup_id in stays]
        for backup_id in sorted(wanted, reverse=True):
            # Each for itself, parents first: a parent's own lock may last longer than this one's.
            for each in (*_chain(missing[backup_id]), backup_id):
                entry = missing.get(each)
                if each in here or entry is None:
                    continue
                until = retain_until(context, repository, entry.taken_at, entry.system_id, others)
                try:
                    new = catalog.copy_from(source, each, staging, retain_until=until)
                except (IntegrityError, NotFoundError) as error:
                    damaged.append(error)
                    break
                here.update(new)
                copied += new
    if damaged:
        raise damaged[0]
    return copied


def _chain(entry: BackupEntry) -> tuple[str, ...]:
    return entry.manifest.parents if entry.manifest is not None else ()
