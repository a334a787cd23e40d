"""Retention carried out, and the removal of what no backup owns."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from pra.catalog import GcReport
from pra.errors import PraError, StorageError
from pra.leases import hold
from pra.procedures.context import Context
from pra.retention import BackupFacts, Policy, RetentionPlan, plan

LONGEST_BACKUP = timedelta(hours=24)
"""Longer than any backup may run (``longest_snapshot`` and its publication): younger orphans are left alone."""


@dataclass(frozen=True)
class ExpiryReport:
    """What retention decided in one repository, and what was removed. ``retained`` are still locked."""

    repository: str
    plan: RetentionPlan
    removed: tuple[str, ...] = ()
    retained: tuple[str, ...] = field(default=())


def policy(context: Context) -> Policy:
    retention = context.settings.retention
    return Policy(
        hourly=retention.hourly, daily=retention.daily, weekly=retention.weekly, monthly=retention.monthly
    )


def plan_for(context: Context, repository: str) -> RetentionPlan:
    """Decide, without touching anything: what `--dry-run` prints.

    A manifest that cannot be read keeps its place: it is neither counted nor removed.
    """
    proofs = context.evidence.proofs()
    facts = [
        BackupFacts(
            backup_id=entry.backup_id,
            taken_at=entry.manifest.taken_at,
            parents=entry.manifest.parents,
            proven=entry.backup_id in proofs and proofs[entry.backup_id].verdict == "PASS",
        )
        for entry in context.catalog(repository).backups()
        if entry.manifest is not None
    ]
    return plan(facts, policy(context), context.clock())


def expire(context: Context, repository: str, *, dry_run: bool = False) -> ExpiryReport:
    """Remove what retention no longer keeps, manifest first, and record it.

    Raises:
        StorageError: The repository does not answer.
    """
    decided = plan_for(context, repository)
    if dry_run or not decided.expire:
        return ExpiryReport(repository, decided)
    removed: list[str] = []
    retained: list[str] = []
    catalog = context.catalog(repository)
    with hold(context.storage(repository), context.target.name, "expire", context.clock):
        for expired in decided.expire:
            try:
                catalog.delete_backup(expired.backup_id)
                removed.append(expired.backup_id)
            except StorageError as error:
                if error.transient:
                    raise
                retained.append(expired.backup_id)
    if removed:
        context.evidence.append("expiry", {"repository": repository, "removed": removed, "reason": "retention"})
    return ExpiryReport(repository, decided, tuple(removed), tuple(retained))


def expire_names(context: Context, repository: str) -> list[str]:
    """`expire` as one line a backup, for the report of a backup run."""
    report = expire(context, repository)
    if report.plan.refused:
        raise PraError(report.plan.refused, op="expire")
    return [f"{backup_id} ({repository})" for backup_id in report.removed]


def gc(context: Context, repository: str, *, dry_run: bool = False) -> GcReport:
    """Remove objects without a manifest and unfinished uploads, older than any backup could run."""
    return context.catalog(repository).gc(context.clock(), LONGEST_BACKUP, dry_run=dry_run)
