"""A verdict with what it rests on, for people and for machines."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from deployments.cli.output import Output, coloured
from deployments.cli.phases import phases_json, show_phases
from pra.messages import Translate
from pra.model import CheckResult, Status
from pra.procedures.judging import VerifyReport
from pra.procedures.recovered import recovery_sentence
from pra.timing import Objective, format_duration

_ORDER = (Status.FAILED, Status.SKIPPED, Status.PASSED, Status.NOT_APPLICABLE)


def proof_json(done: VerifyReport) -> dict[str, Any]:
    return {
        "verdict": done.verdict.value,
        "target": done.target,
        "backup_id": done.backup_id,
        "repository": done.repository,
        "rto_seconds": _rounded(done.rto_seconds),
        "proof_seconds": _rounded(done.proof_seconds),
        "rpo_seconds": _rounded(done.rpo_seconds),
        "checks": [check.as_json() for check in done.checks],
        "phases": phases_json(done.phases),
        "recovery": done.recovery.as_json() if done.recovery else None,
        "evidence": done.evidence or None,
        "evidence_head": done.head.as_json() if done.head is not None else None,
    }


def show_proof(out: Output, done: VerifyReport) -> None:
    """Verdict first, then the objectives, then each check, the worst on top."""
    _ = out.translate
    sentence = _("{verdict}: backup {backup_id} of {target}, read from {repository}")
    out.text(
        sentence.format(
            verdict=f"[bold]{coloured(done.verdict.value)}[/]",
            backup_id=escape(done.backup_id),
            target=escape(done.target),
            repository=escape(done.repository),
        )
    )
    out.table(
        [_("Objective"), _("Measured"), _("Target"), _("Kept")],
        [_objective(objective, _) for objective in done.objectives],
    )
    if done.recovery is not None:
        out.text(escape(recovery_sentence(done.recovery, _)))
    rto = next((each.target_seconds for each in done.objectives if each.name == "RTO"), None)
    show_phases(out, done.phases, rto)
    ordered = sorted(done.checks, key=lambda check: _ORDER.index(check.status))
    columns = [_("Check"), _("State"), _("Expected"), _("Observed"), _("Why")]
    out.table(columns, [_check(check) for check in ordered])
    for check in ordered:
        for detail in check.details:
            out.text(f"  {escape(check.name)}: {escape(detail)}")
    if done.evidence:
        out.text(_("Recorded as {evidence}.").format(evidence=escape(done.evidence)))
    if done.head is not None:
        out.text(_("Evidence head: {head}").format(head=done.head.short))


def _objective(objective: Objective, _: Translate) -> list[str]:
    measured = "?" if objective.seconds is None else format_duration(objective.seconds)
    kept = {True: f"[green]{_('yes')}[/]", False: f"[red]{_('no')}[/]", None: "?"}[objective.met]
    return [objective.name, measured, format_duration(objective.target_seconds), kept]


def _check(check: CheckResult) -> list[str]:
    return [
        escape(check.name),
        coloured(check.status.value),
        escape(check.expected),
        escape(check.observed),
        escape(check.reason),
    ]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
