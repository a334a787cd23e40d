"""From what the steps and checks found to a verdict, a report and its evidence."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pra.evidence_record import Head
from pra.listing import unread
from pra.model import CheckResult, Status, Verdict, verdict_of
from pra.objectives import Point, longest_gap
from pra.procedures.context import Context
from pra.procedures.recording import body
from pra.procedures.recovered import RecoveryFacts, facts_of
from pra.procedures.session import Choice, Session
from pra.timing import Objective, Phase, format_duration
from pra.watch import backup_log


@dataclass(frozen=True)
class VerifyReport:
    """The outcome of one verification, as recorded in its evidence.

    Attributes:
        rto_seconds: From the start until the restored service answered, statistics included.
        proof_seconds: From the start until every check had passed or failed.
        rpo_seconds: Logical: the longest gap from a snapshot to the next publication since the last
            verification. Physical: how much would have been lost just then, with this repository alone.
        recovery: How a base backup came back; None for a logical one.
        evidence, head: Where its record lies, and that record as the head of the chain.
    """

    verdict: Verdict
    target: str
    backup_id: str
    repository: str
    rto_seconds: float | None
    proof_seconds: float | None
    rpo_seconds: float | None
    checks: tuple[CheckResult, ...]
    phases: tuple[Phase, ...]
    objectives: tuple[Objective, ...]
    evidence: str = ""
    taken_at: datetime | None = None
    recovery: RecoveryFacts | None = None
    head: Head | None = None


def conclude(
    this: Session,
    results: Sequence[CheckResult],
    *,
    required: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
) -> VerifyReport:
    """Judge, and leave the evidence."""
    context = this.context
    proof_seconds = time.monotonic() - this.started if results else None
    physical = this.choice.manifest is not None and this.choice.manifest.physical is not None
    rpo = this.rpo_seconds if physical else _rpo(context, this.choice.repository)
    objectives = (
        Objective("RTO", context.target.rto.total_seconds(), this.rto_seconds),
        Objective("RPO", context.target.rpo.total_seconds(), rpo),
    )
    everything = [*this.failures, *results]
    if this.choice.unverified:
        everything.append(unverified_check(this.choice))
    if this.rto_seconds is not None:
        everything.append(_rto_check(objectives[0]))
    verdict = verdict_of(everything, required=required)
    report = VerifyReport(
        verdict=verdict,
        target=context.target.name,
        backup_id=this.choice.backup_id,
        repository=this.choice.repository,
        rto_seconds=this.rto_seconds,
        proof_seconds=proof_seconds,
        rpo_seconds=rpo,
        checks=tuple(everything),
        phases=tuple(context.timeline.phases),
        objectives=objectives,
        taken_at=this.choice.manifest.taken_at if this.choice.manifest else None,
        recovery=facts_of(this.recovery) if this.recovery else None,
    )
    with context.timeline.phase("evidence"):
        record = context.evidence.append(this.kind, body(report, this, extra or {}))
    backup_log.proven(
        context.settings, report.target, this.kind, verdict, report.backup_id, report.repository
    )
    return replace(report, evidence=record.key, head=record.head, phases=tuple(context.timeline.phases))


def unverified_check(choice: Choice) -> CheckResult:
    """Nobody vouches for what such a backup holds: never PASS, and on record."""
    return CheckResult(
        "signature",
        Status.SKIPPED,
        expected="a manifest signed by a trusted key",
        observed=choice.error.message if choice.error else "",
        reason="an operator accepted the backup unverified",
    )


def _rto_check(objective: Objective) -> CheckResult:
    assert objective.seconds is not None
    return CheckResult(
        "rto",
        Status.PASSED if objective.met else Status.FAILED,
        expected=f"at most {format_duration(objective.target_seconds)}",
        observed=format_duration(objective.seconds),
    )


def _rpo(context: Context, repository: str) -> float | None:
    """Measured from what the repository holds, so that a broken schedule cannot hide."""
    catalog = context.catalog(repository)
    published = catalog.publications()
    entries = catalog.backups()
    if unread(entries):
        return None  # the gaps around what could not be read are not known
    points = [
        Point(entry.taken_at, published[entry.backup_id])
        for entry in entries
        if entry.manifest is not None and entry.backup_id in published
    ]
    since = context.last_proof(repository)
    gap = longest_gap(points, context.clock(), since)
    return None if gap is None else gap.total_seconds()
