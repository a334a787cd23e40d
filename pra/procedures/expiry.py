"""Retention carried out, and the removal of what no backup owns."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from pra.catalog import GcReport
from pra.errors import BusyError, PraError, StorageError
from pra.layout import manifest_key
from pra.leases import hold
from pra.listing import retention_facts, unread
from pra.model import Verdict
from pra.procedures.context import Context
from pra.retention import Policy, RetentionPlan, plan

LONGEST_BACKUP = timedelta(hours=24)
"""Longer than any backup runs, its publication included: younger orphans are left alone."""


@dataclass(frozen=True)
class ExpiryReport:
    """What retention decided in one repository, and what was removed.

    Attributes:
        retained: Backups that had to stay: locked, in use, or not ours to delete.
        reasons: Why, in the same order.
    """

    repository: str
    plan: RetentionPlan
    removed: tuple[str, ...] = ()
    retained: tuple[str, ...] = field(default=())
    reasons: tuple[str, ...] = ()


def policy(context: Context) -> Policy:
    retention = context.settings.retention
    return Policy(
        hourly=retention.hourly, daily=retention.daily, weekly=retention.weekly, monthly=retention.monthly
    )


def plan_for(context: Context, repository: str) -> RetentionPlan:
    """Decide, without touching anything: what `--dry-run` prints.

    A backup whose manifest cannot be read takes part with the moment in its id.

    Raises:
        StorageError: The repository, a manifest, or the evidence of what was proven, could not be read.
    """
    proofs = context.evidence.proofs(repository, strict=True)
    proven = [backup_id for backup_id, proof in proofs.items() if proof.verdict == Verdict.PASS]
    entries = context.catalog(repository).backups()
    for error in unread(entries):
        raise error
    facts = retention_facts(entries, proven)
    return plan(facts, policy(context), context.clock())


def expire(context: Context, repository: str, *, dry_run: bool = False) -> ExpiryReport:
    """Remove what retention no longer keeps, manifest first, and record it.

    Raises:
        StorageError: The repository does not answer. What was removed until then is recorded.
    """
    decided = plan_for(context, repository)
    if dry_run or not decided.expire:
        return ExpiryReport(repository, decided)
    removed: list[str] = []
    retained: dict[str, str] = {}
    try:
        with hold(context.storage(repository), context.target.name, "expire", context.clock):
            for expired in decided.expire:
                reason = _remove(context, repository, expired.backup_id, removed)
                if reason:
                    retained[expired.backup_id] = reason
    finally:
        if removed:
            context.evidence.append(
                "expiry", {"repository": repository, "removed": removed, "reason": "retention"}
            )
    return ExpiryReport(repository, decided, tuple(removed), tuple(retained), tuple(retained.values()))


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
