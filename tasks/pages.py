"""What a run shows to people: Markdown and table rows, in their language. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pra.messages import Translate
from pra.model import CheckResult, Status
from pra.procedures.backup import BackupReport
from pra.procedures.judging import VerifyReport
from pra.procedures.recovered import recovery_sentence
from pra.timing import Objective, Phase, format_duration

_WRONG = (Status.FAILED, Status.SKIPPED)
_ORDER = (Status.FAILED, Status.SKIPPED, Status.PASSED, Status.NOT_APPLICABLE)

Row = dict[str, Any]


def phase_rows(phases: Sequence[Phase], objective_seconds: float, _: Translate, **more: str) -> list[Row]:
    """One row a phase: seconds, and the share of the objective that it used. ``more`` comes before."""
    return [
        {
            **more,
            _("Phase"): phase.name,
            _("Seconds"): round(phase.seconds, 2),
            _("Share of the objective"): f"{phase.seconds / objective_seconds:.2%}",
        }
        for phase in phases
    ]


def backup_page(report: BackupReport, _: Translate) -> str:
    """What was taken, where it arrived, and what did not go as it should."""
    heading = _("Backup {backup_id} of {target}: {size} in {duration}").format(
        backup_id=report.backup_id,
        target=report.target,
        size=_megabytes(report.bytes),
        duration=format_duration(report.seconds),
    )
    rows = [
        [each.name, _("published") if each.ok else f"**{_('failed')}**", _cell(each.error), _cell(each.hint)]
        for each in report.repositories
    ]
    table = _table([_("Repository"), _("State"), _("Error"), _("What to do")], rows)
    return "\n\n".join(
        [
            f"## {heading}",
            table,
            *_listed(_("Copied from another repository"), report.caught_up),
            *_listed(_("Expired"), report.expired),
            *_listed(_("Gaps"), report.gaps),
            *_listed(_("Warnings"), report.warnings),
        ]
    )


def proof_page(reports: Sequence[VerifyReport], _: Translate) -> str:
    """The verdicts of one run, each with its objectives, its checks and its evidence."""
    return "\n\n---\n\n".join("\n\n".join(_proof(report, _)) for report in reports)


def _proof(report: VerifyReport, _: Translate) -> Iterator[str]:
    heading = _("{verdict}: backup {backup_id} of {target}, read from {repository}").format(
        verdict=report.verdict.value,
        backup_id=report.backup_id,
        target=report.target,
        repository=report.repository,
    )
    yield f"## {heading}"
    ordered = sorted(report.checks, key=lambda each: _ORDER.index(each.status))
    # Above the table, which is wider than the page: what is wrong must not need scrolling.
    wrong = [each for each in ordered if each.status in _WRONG]
    if wrong:
        yield "\n".join(_complaint(each, _) for each in wrong)
    yield _table(
        [_("Objective"), _("Measured"), _("Target"), _("Kept")],
        [_objective(objective, _) for objective in report.objectives],
    )
    if report.recovery is not None:
        yield _cell(recovery_sentence(report.recovery, _))
    yield _table(
        [_("Check"), _("State"), _("Expected"), _("Observed"), _("Why")], [_check(each) for each in ordered]
    )
    if report.evidence:
        yield _("Recorded as {evidence}.").format(evidence=f"`{report.evidence}`")
    if report.head is not None:
        yield _("Evidence head: {head}").format(head=f"`{report.head.short}`")


def _complaint(check: CheckResult, _: Translate) -> str:
    why = "" if check.reason in check.details else check.reason
    facts = ((_("Expected"), check.expected), (_("Observed"), check.observed), (_("Why"), why))
    lines = [f"- **{_cell(check.name)}** {check.status}"]
    lines += [f"  - {heading}: {_cell(fact)}" for heading, fact in facts if fact]
    return "\n".join([*lines, *(f"  - {_cell(detail)}" for detail in check.details)])


def _objective(objective: Objective, _: Translate) -> list[str]:
    measured = "?" if objective.seconds is None else format_duration(objective.seconds)
    kept = {True: _("yes"), False: f"**{_('no')}**", None: "?"}[objective.met]
    return [objective.name, measured, format_duration(objective.target_seconds), kept]


def _check(check: CheckResult) -> list[str]:
    status = f"**{check.status}**" if check.status in _WRONG else str(check.status)
    return [_cell(check.name), status, _cell(check.expected), _cell(check.observed), _cell(check.reason)]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are Markdown: what comes from outside goes through `_cell` first."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _listed(heading: str, lines: Sequence[str]) -> list[str]:
    return [f"**{heading}**\n\n" + "\n".join(f"- {_cell(line)}" for line in lines)] if lines else []


def _cell(text: str) -> str:
    """Names of tables and columns are the users' own: none may break a table or become markup."""
    plain = " ".join(text.split())
    for character in "\\|<>*_`[]":
        plain = plain.replace(character, f"\\{character}")
    return plain


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
