"""``pra drill``"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from checks import Checks
from deployments.cli import completion
from deployments.cli.alerting import alerting, tell_drill
from deployments.cli.output import Output, coloured
from deployments.cli.session import JsonOption, TargetArgument, start
from pra.drill.record import DrillRecord
from pra.drill.scenarios import SCENARIOS, scenario
from pra.drill.state import Answer, Approve, Drill, Order
from pra.errors import UsageError
from pra.evidence_body import account_and_host
from pra.messages import Translate
from pra.model import Status, Verdict
from pra.proc import Scope
from pra.procedures import drill
from pra.procedures.context import Context
from pra.procedures.drill import DrillReport
from pra.timing import format_duration

ScenarioOption = Annotated[
    str,
    typer.Option(
        "--scenario",
        metavar="NAME",
        help=f"One of: {', '.join(s.name for s in SCENARIOS)}.",
        autocompletion=completion.scenarios,
    ),
]
IntensityOption = Annotated[
    Literal["light", "heavy"],
    typer.Option(
        "--intensity", help="light: mend the live server where the runbook does; heavy: recover it."
    ),
]
BackupOption = Annotated[
    str, typer.Option("--backup", metavar="newest|ID", help="What the rehearsed server is made from.")
]
RepositoryOption = Annotated[
    str | None, typer.Option("--repository", metavar="NAME", help="Where that backup is read.")
]
ApproveOption = Annotated[
    bool, typer.Option("--approve", help="Ask at this terminal before recovering, as on the real day.")
]
SabotageOption = Annotated[
    Literal["missing-row", "switch-nowhere", "api-error", "stops-early", "slow"] | None,
    typer.Option("--sabotage", help="Break the recovery on purpose, to see that the drill notices."),
]
ReportOption = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Write the report there, one HTML page.")
]


def command(
    context: typer.Context,
    named: ScenarioOption,
    target: TargetArgument = None,
    intensity: IntensityOption = "heavy",
    backup: BackupOption = "newest",
    repository: RepositoryOption = None,
    approve: ApproveOption = False,
    sabotage: SabotageOption = None,
    report: ReportOption = None,
    json: JsonOption = False,
) -> int:
    """Rehearse a disaster on a server made from a backup: break it, recover it, time it, prove it."""
    session = start(context, json=json)
    chosen = session.settings.target(target)
    if approve and not sys.stdin.isatty():
        raise UsageError(
            "--approve needs a terminal", op="run drill", hint="Run it at one, or leave --approve out."
        )
    order = Order(scenario(named), intensity, backup, repository, sabotage)
    ask = _asker(session.out) if approve else drill.automatically
    with (
        alerting(session, "drill", chosen.name, typed=True),
        Scope() as scope,
        session.out.follow() as follow,
    ):
        work = Context(session.settings, chosen, scope, report=follow)
        done = drill.run(work, Checks(), order, ask)
    tell_drill(session, done.record, done.evidence.head)
    if report is not None:
        _write(report, done, session.settings.language)
    if not session.out.result("pra/drill/1", _as_json(done)):
        _show(session.out, done)
    return done.verdict.exit_code if isinstance(done.verdict, Verdict) else 2


def _asker(out: Output) -> Approve:
    def ask(this: Drill) -> Answer:
        out.note(f"{this.scenario.title}. Detected: {this.detected or 'nothing'}.")
        said = typer.prompt("Recover? Type proceed or abort", default="abort", err=True).strip().lower()
        comment = typer.prompt("Comment", default="", show_default=False, err=True)
        return Answer("proceed" if said == "proceed" else "abort", account_and_host(), comment[:200])

    return ask


def _as_json(done: DrillReport) -> dict[str, Any]:
    record = done.record
    return {
        **record.as_json(),
        "evidence": done.evidence.key,
        "evidence_head": done.evidence.head.as_json(),
    }


def _show(out: Output, done: DrillReport) -> None:
    _, record = out.translate, done.record
    sentence = _("{verdict}: drill {scenario} on {target}")
    out.text(
        sentence.format(
            verdict=f"[bold]{coloured(str(record.verdict))}[/]",
            scenario=escape(record.scenario),
            target=escape(record.target),
        )
    )
    out.text(escape(_(record.title)))
    out.table(drill_columns(_), [drill_row(record)])
    for event in record.events:
        seconds = (event.at - record.events[0].at).total_seconds()
        out.text(
            f"  [dim]{format_duration(max(seconds, 0)):>12}[/]  {escape(event.name)}  {escape(event.what)}"
        )
    bad = [check for check in record.checks if check.status in (Status.FAILED, Status.SKIPPED)]
    for check in bad:
        words = check.reason or check.observed
        out.text(f"  {coloured(check.status.value)} {escape(check.name)}: {escape(words)}")
    passed = sum(check.status is Status.PASSED for check in record.checks)
    out.text(_("{count} checks passed.").format(count=passed))
    for line in (*record.deviations, *record.findings):
        out.text(f"  [yellow]![/] {escape(line)}")
    out.text(_("Recorded as {evidence}.").format(evidence=escape(done.evidence.key)))
    out.text(_("Evidence head: {head}").format(head=done.evidence.head.short))


def drill_columns(_: Translate) -> list[str]:
    return [
        _("Scenario"), _("Detected"), _("Recovered"), _("Service answers"), _("Proven"), _("Rows lost"),
        _("Verdict"),
    ]  # fmt: skip


def drill_row(record: DrillRecord) -> list[str]:
    rows = "?" if record.rows is None else f"{record.rows.lost} / {record.rows.committed}"
    return [
        escape(record.scenario),
        _duration(record.detect_seconds),
        _duration(record.recover_seconds),
        _duration(record.service_seconds),
        _duration(record.proven_seconds),
        rows,
        coloured(str(record.verdict)),
    ]


def _duration(seconds: float | None) -> str:
    return "?" if seconds is None else format_duration(seconds)


def _write(path: Path, done: DrillReport, language: str) -> None:
    from pra.report import html  # Jinja2 is needed for a page alone
    from pra.report.output import write_report
    from pra.report.stamp import Stamp

    write_report(path, html.render(done.record, Stamp.of(done.evidence), done.earlier, language))
