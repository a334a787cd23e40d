"""One backup into one repository: objects, read back, list again, manifest last."""

from __future__ import annotations

import time
from datetime import datetime

from pra.catalog import Catalog
from pra.errors import PraError, StorageError
from pra.leases import hold
from pra.manifest import Manifest, parse_own
from pra.model import PublishResult, backup_moment
from pra.procedures.context import Context
from pra.procedures.expiry import plan_for, policy
from pra.retention import gfs_end
from pra.storage.spool import Abandoned, ObjectReady, Sealed, Spool


def publish(context: Context, spool: Spool, repository: str) -> PublishResult:
    """Drain the spool into a repository. Never raises for what the repository does: it reports.

    The manifest is written only when every object has been read back from the repository itself.
    """
    start = time.monotonic()
    catalog = context.catalog(repository)
    try:
        with hold(context.storage(repository), context.target.name, "backup", context.clock):
            manifest = _drain(context, spool, catalog, repository)
    except PraError as error:
        spool.leave(repository)
        return PublishResult(repository, False, error.message, error.hint, 0, time.monotonic() - start)
    return PublishResult(repository, True, bytes=manifest.bytes, seconds=time.monotonic() - start)


def _drain(context: Context, spool: Spool, catalog: Catalog, repository: str) -> Manifest:
    committed: Manifest | None = None
    for event in spool.follow(repository):
        match event:
            case ObjectReady():
                until = retain_until(context, repository, backup_moment(event.backup_id))
                catalog.publish_object(event.backup_id, event.object, event.path, retain_until=until)
                spool.done(repository, event.object.name)
            case Abandoned():
                _forget(catalog, event.backup_id)
            case Sealed():
                manifest = parse_own(event.manifest)
                with context.timeline.phase(f"read back {repository}"):
                    until = retain_until(context, repository, manifest.taken_at)
                    catalog.commit(event.manifest, manifest, retain_until=until)
                committed = manifest
    if committed is None:
        raise StorageError(
            "nothing was published: the backup was not finished",
            op=f"publish to {repository}",
            transient=False,
        )
    return committed


def _forget(catalog: Catalog, backup_id: str) -> None:
    """Remove an abandoned attempt's objects now; what cannot be removed is left to gc."""
    try:
        catalog.delete_backup(backup_id)
    except StorageError:
        return  # under Object Lock, or unreachable: gc removes it when it may


def retain_until(context: Context, repository: str, taken_at: datetime) -> datetime | None:
    """Under Object Lock a backup is locked until its own GFS end."""
    if not context.settings.repositories[repository].object_lock:
        return None
    return gfs_end(taken_at, policy(context))


def catch_up(context: Context, repository: str) -> list[str]:
    """Copy here what other repositories hold, this one misses and retention would keep. Returns the ids.

    Raises:
        StorageError, IntegrityError: A copy could not be made whole; nothing half-copied is visible.
    """
    catalog = context.catalog(repository)
    here = {entry.backup_id for entry in catalog.backups()}
    copied: list[str] = []
    for other in context.repositories:
        if other == repository:
            continue
        source = context.catalog(other)
        wanted = {kept.backup_id for kept in plan_for(context, other).keep} - here
        for backup_id in sorted(wanted, reverse=True):
            until = retain_until(context, repository, backup_moment(backup_id))
            with hold(context.storage(repository), context.target.name, "catch up", context.clock):
                catalog.copy_from(source, backup_id, context.folder("spool"), retain_until=until)
            here.add(backup_id)
            copied.append(backup_id)
    return copied
