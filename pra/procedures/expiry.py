"""Retention carried out, and the removal of what no backup owns."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from pra.catalog import GcReport
from pra.errors import BusyError, PraError, StorageError
from pra.evidence_body import common
from pra.layout import manifest_key
from pra.leases import Lease, hold, live
from pra.listing import BackupEntry, retention_facts, unread
from pra.model import Verdict
from pra.postgres.wal import SEGMENT_BYTES
from pra.procedures.context import Context
from pra.procedures.wal import locked_for, segment_sizes, wal_backups
from pra.retention import Policy, RetentionPlan, plan
from pra.wal import retention as wal_retention
from pra.wal.archive import read_archive, systems
from pra.wal.retention import Doomed, WalPlan

LONGEST_BACKUP = timedelta(hours=24)
"""Longer than any backup runs, its publication included: younger orphans are left alone."""


@dataclass(frozen=True)
class ExpiryReport:
    """What retention decided in one repository, and what was removed.

    Attributes:
        retained: Backups that had to stay: locked, in use, not ours to delete, or needed by one of those.
        reasons: Why, in the same order.
        wal: What is to become of the WAL here, by server.
        wal_removed: The WAL objects that went.
        wal_retained: Why others could not go yet: an object lock for instance.
    """

    repository: str
    plan: RetentionPlan
    removed: tuple[str, ...] = ()
    retained: tuple[str, ...] = field(default=())
    reasons: tuple[str, ...] = ()
    wal: tuple[WalPlan, ...] = ()
    wal_removed: tuple[Doomed, ...] = ()
    wal_retained: tuple[str, ...] = ()


def policy(context: Context) -> Policy:
    retention = context.settings.retention
    return Policy(
        hourly=retention.hourly,
        daily=retention.daily,
        weekly=retention.weekly,
        monthly=retention.monthly,
        window=retention.pitr_window,
    )


def plan_for(context: Context, repository: str) -> RetentionPlan:
    """Decide, without touching anything: what `--dry-run` prints.

    A backup whose manifest cannot be read takes part with the moment in its id.

    Raises:
        StorageError: The repository, a manifest, or the evidence of what was proven, could not be read.
    """
    return _plan(context, repository, _entries(context, repository))


def _entries(context: Context, repository: str) -> list[BackupEntry]:
    entries = context.catalog(repository).backups()
    for error in unread(entries):
        raise error
    return entries


def _plan(context: Context, repository: str, entries: Sequence[BackupEntry]) -> RetentionPlan:
    proofs = context.evidence.proofs(repository, strict=True)
    proven = [backup_id for backup_id, proof in proofs.items() if proof.verdict == Verdict.PASS]
    return plan(retention_facts(entries, proven), policy(context), context.clock())


def plan_wal(
    context: Context,
    repository: str,
    entries: Sequence[BackupEntry],
    kept: Collection[str],
    now: datetime | None = None,
) -> tuple[WalPlan, ...]:
    """Decide what the WAL here is still for, by server; touches nothing.

    Args:
        kept: Ids of the backups that stay.
        now: The present, where the repository's clock is known to be behind ours.

    Raises:
        StorageError: The repository does not answer.
    """
    storage, target = context.storage(repository), context.target.name
    present = now or context.clock()
    staying = wal_backups([entry for entry in entries if entry.backup_id in kept])
    alive = live(storage, target, present)
    backups = [replace(one, in_use=any(each.protects(one.backup_id) for each in alive)) for one in staying]
    sizes = segment_sizes(entries)
    window = context.settings.retention.pitr_window
    locked = context.settings.repositories[repository].object_lock
    return tuple(
        wal_retention.plan(
            read_archive(storage, target, system_id),
            backups,
            segment_bytes=sizes.get(system_id, SEGMENT_BYTES),
            window=window,
            longest_backup=LONGEST_BACKUP,
            now=present,
            locked=locked_for(window) if locked else timedelta(0),
        )
        for system_id in systems(storage, target)
    )


def expire(context: Context, repository: str, *, dry_run: bool = False) -> ExpiryReport:
    """Remove what retention no longer keeps, manifest first, then WAL that nothing needs; and record it.

    Raises:
        StorageError: The repository does not answer. What was removed until then is recorded.
    """
    entries = _entries(context, repository)
    decided = _plan(context, repository, entries)
    report = ExpiryReport(repository, decided)
    if decided.refused:
        return report
    staying = {kept.backup_id for kept in decided.keep}
    wal = plan_wal(context, repository, entries, staying)
    if dry_run or not (decided.expire or any(one.expire for one in wal)):
        return replace(report, wal=wal)
    removed: list[str] = []
    retained: dict[str, str] = {}
    swept = _Swept()
    try:
        with hold(context.storage(repository), context.target.name, "expire", context.clock) as lease:
            _remove_backups(context, repository, decided, entries, removed, retained)
            written = context.storage(repository).stat(lease.key)
            present = min(context.clock(), written.modified) if written else context.clock()
            wal = plan_wal(context, repository, entries, staying | set(retained), present)
            _remove_wal(context, repository, wal, swept, lease)
    finally:
        if removed or swept.removed:
            context.evidence.append("expiry", _record(context, repository, removed, swept.removed))
    return ExpiryReport(
        repository,
        decided,
        tuple(removed),
        tuple(retained),
        tuple(retained.values()),
        wal,
        tuple(swept.removed),
        tuple(swept.retained),
    )


@dataclass
class _Swept:
    removed: list[Doomed] = field(default_factory=list)
    retained: list[str] = field(default_factory=list)


def _remove_wal(
    context: Context, repository: str, plans: Sequence[WalPlan], swept: _Swept, lease: Lease
) -> None:
    """Oldest first, so that what a kill leaves is whole from some point on."""
    storage = context.storage(repository)
    for doomed in (one for each in plans for one in each.expire):
        lease.check()
        try:
            storage.delete(doomed.key)
        except StorageError as error:
            if error.transient:
                raise
            swept.retained.append(f"{doomed.name}: {error.message}")
        else:
            swept.removed.append(doomed)


def _record(context: Context, repository: str, removed: list[str], wal: Sequence[Doomed]) -> dict[str, Any]:
    record = common(context.settings, context.target, operator=context.operator)
    record |= {"repository": repository, "removed": removed, "reason": "retention"}
    if wal:
        size = sum(one.bytes for one in wal)
        record["wal"] = {"objects": len(wal), "bytes": size, "first": wal[0].name, "last": wal[-1].name}
    return record


def _remove_backups(
    context: Context,
    repository: str,
    decided: RetentionPlan,
    entries: Sequence[BackupEntry],
    removed: list[str],
    retained: dict[str, str],
) -> None:
    """Newest first, children before their parents: what one that had to stay stands upon stays with it."""
    parents = {facts.backup_id: facts.parents for facts in retention_facts(entries)}
    needed: dict[str, str] = {}
    for expired in decided.expire:
        backup_id = expired.backup_id
        child = needed.get(backup_id)
        if child is not None:
            reason = f"{child}, which had to stay, stands upon it"
        else:
            reason = _remove(context, repository, backup_id, removed)
        if not reason:
            continue
        retained[backup_id] = reason
        if backup_id not in removed:  # its manifest is still there
            for parent in parents[backup_id]:
                needed.setdefault(parent, backup_id)


def _remove(context: Context, repository: str, backup_id: str, removed: list[str]) -> str:
    """Delete one backup, noting it in ``removed`` once its manifest is gone. Returns why it had to stay."""
    try:
        context.catalog(repository).delete_backup(backup_id)
    except BusyError as error:
        return error.message
    except StorageError as error:
        if _is_gone(context, repository, backup_id):
            removed.append(backup_id)  # no backup any more; its remains are gc's
        if error.transient:
            raise
        return error.message
    removed.append(backup_id)
    return ""


def _is_gone(context: Context, repository: str, backup_id: str) -> bool:
    try:
        return context.storage(repository).stat(manifest_key(context.target.name, backup_id)) is None
    except StorageError:
        return False  # unknown: nothing is recorded as removed that may still be there


def expire_names(context: Context, repository: str) -> list[str]:
    """`expire` as one line a backup, for the report of a backup run.

    Raises:
        PraError: Retention refused, or something had to stay; what could go is gone all the same.
    """
    report = expire(context, repository)
    if report.plan.refused:
        raise PraError(report.plan.refused, op="expire", hint="Correct this machine's clock.")
    if report.retained:
        kept = "; ".join(f"{i}: {why}" for i, why in zip(report.retained, report.reasons, strict=True))
        raise PraError(f"{len(report.retained)} backups had to stay: {kept}", op="expire")
    return [f"{backup_id} ({repository})" for backup_id in report.removed]


def gc(context: Context, repository: str, *, dry_run: bool = False) -> GcReport:
    """Remove objects without a manifest and unfinished uploads, older than any backup could run."""
    return context.catalog(repository).gc(context.clock(), LONGEST_BACKUP, dry_run=dry_run)
