"""Retention carried out, and the removal of what no backup owns."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from pra.catalog import GcReport
from pra.errors import BusyError, PraError, StorageError
from pra.leases import hold
from pra.listing import retention_facts
from pra.model import Verdict
from pra.procedures.context import Context
from pra.retention import Policy, RetentionPlan, plan

LONGEST_BACKUP = timedelta(hours=24)
"""Longer than any backup runs, its publication included: younger orphans are left alone."""


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

    A backup whose manifest cannot be read takes part with the moment in its id.
    """
    proven = [i for i, proof in context.evidence.proofs(repository).items() if proof.verdict == Verdict.PASS]
    facts = retention_facts(context.catalog(repository).backups(), proven)
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
            except (BusyError, StorageError) as error:
                if error.transient and not isinstance(error, BusyError):
                    raise
                retained.append(expired.backup_id)
    if removed:
        context.evidence.append(
            "expiry", {"repository": repository, "removed": removed, "reason": "retention"}
        )
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
