"""``pra loadtest``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from deployments.cli.alerting import alerting, tell_load_test
from deployments.cli.output import Output, coloured, size
from deployments.cli.session import JsonOption, TargetArgument, start
from pra.loadtest.measures import RoundKind, durable_ratio, of_kind, seconds_of
from pra.loadtest.record import LoadTestRecord
from pra.loadtest.state import Order
from pra.model import Status
from pra.proc import Scope
from pra.procedures import loadtest
from pra.procedures.context import Context
from pra.procedures.loadtest import MOST_CLIENTS, MOST_ROUNDS, MOST_SECONDS, LoadTestReport
from pra.timing import format_duration

RoundsOption = Annotated[
    int,
    typer.Option(
        "--rounds", metavar="N", min=1, max=MOST_ROUNDS, help="Of backup and of restore, each timed."
    ),
]
ClientsOption = Annotated[
    int, typer.Option("--clients", metavar="N", min=1, max=MOST_CLIENTS, help="Sessions at once under load.")
]
SecondsOption = Annotated[
    int, typer.Option("--seconds", metavar="N", min=1, max=MOST_SECONDS, help="How long each load lasts.")
]
NoBackupOption = Annotated[
    bool,
    typer.Option(
        "--no-backup", help="Leave the source alone: no backups, no copy of it; compare with earlier figures."
    ),
]
ScratchOption = Annotated[
    bool,
    typer.Option(
        "--scratch/--no-scratch", help="Backups go to a folder of their own, or to the real repositories."
    ),
]
RepositoryOption = Annotated[
    str | None, typer.Option("--repository", metavar="NAME", help="Where the backup is restored from.")
]
SabotageOption = Annotated[
    Literal["drop-index", "no-statistics"] | None,
    typer.Option("--sabotage", help="Break the restored database on purpose, to see that it is noticed."),
]
ReportOption = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Write the report there, one HTML page.")
]


def command(
    context: typer.Context,
    target: TargetArgument = None,
    rounds: RoundsOption = 3,
    clients: ClientsOption = 4,
    seconds: SecondsOption = 15,
    no_backup: NoBackupOption = False,
    scratch: ScratchOption = True,
    repository: RepositoryOption = None,
    sabotage: SabotageOption = None,
    report: ReportOption = None,
    json: JsonOption = False,
) -> int:
    """Time backups and restores, put load on the restored database, say whether it is as fast as before."""
    session = start(context, json=json)
    chosen = session.settings.target(target)
    order = Order(rounds, clients, seconds, not no_backup, scratch, repository, sabotage)
    with (
        alerting(session, "load-test", chosen.name, typed=True),
        Scope() as scope,
        session.out.follow() as follow,
    ):
        work = Context(session.settings, chosen, scope, report=follow)
        done = loadtest.run(work, order)
    tell_load_test(session, done)
    if report is not None:
        _write(report, done, session.settings.language)
    if not session.out.result("pra/load-test/1", _as_json(done)):
        _show(session.out, done, session.settings.language)
    return done.verdict.exit_code


def _as_json(done: LoadTestReport) -> dict[str, Any]:
    return {
        **done.record.as_json(),
        "evidence": done.evidence.key,
        "evidence_head": done.evidence.head.as_json(),
    }


def _show(out: Output, done: LoadTestReport, language: str) -> None:
    from pra.report import loadtest_advice
    from pra.report.words import Words

    _, record = out.translate, done.record
    sentence = _("{verdict}: load test of {target}")
    verdict = f"[bold]{coloured(str(record.verdict))}[/]"
    out.text(sentence.format(verdict=verdict, target=escape(record.target)))
    _rounds(out, record)
    _queries(out, record)
    if record.api is not None:
        line = _("Application: {requests} requests, {errors} errors, 95 % within {duration}.")
        out.text(
            line.format(
                requests=record.api.requests,
                errors=record.api.errors,
                duration=format_duration(record.api.p95),
            )
        )
    for check in record.checks:
        if check.status in (Status.FAILED, Status.SKIPPED):
            words = " ".join(part for part in (check.observed, check.reason) if part)
            out.text(f"  {coloured(check.status.value)} {escape(check.name)}: {escape(words)}")
    for line in record.deviations:
        out.text(f"  [yellow]![/] {escape(line)}")
    for line in loadtest_advice.sentences(record, Words(language)):
        out.text(f"  → {escape(line)}")
    out.text(_outlook(out, record))
    out.text(_("Recorded as {evidence}.").format(evidence=escape(done.evidence.key)))
    out.text(_("Evidence head: {head}").format(head=done.evidence.head.short))


def _rounds(out: Output, record: LoadTestRecord) -> None:
    _ = out.translate
    kinds: tuple[tuple[RoundKind, str], ...] = (
        ("backup", _("Backup, full")),
        ("restore", _("Restore, durable settings")),
        ("restore-fast", _("Restore, sandbox settings")),
    )
    rows = []
    for kind, said in kinds:
        spread = seconds_of(record.rounds, kind)
        if spread is not None:
            every = of_kind(record.rounds, kind)
            rates = [sorted(rate)[len(rate) // 2] for rate in _rates(record, kind)]
            rows.append(
                [
                    said,
                    format_duration(spread.median),
                    f"{format_duration(spread.least)} … {format_duration(spread.most)}",
                    *(f"{rate / 1e6:.1f} MB/s" for rate in rates),
                    f"{size(every[0].stored)} / {size(every[0].raw)}",
                ]
            )
    columns = [
        _("What"), _("Median"), _("Shortest … longest"), _("Stored bytes a second"), _("Raw bytes a second"),
        _("Size stored / raw"),
    ]  # fmt: skip
    out.table(columns, rows)
    ratio = durable_ratio(record.rounds)
    if ratio is not None:
        out.text(_("Durable settings take {ratio} times as long.").format(ratio=f"{ratio:.2f}"))


def _rates(record: LoadTestRecord, kind: RoundKind) -> tuple[list[float], list[float]]:
    every = of_kind(record.rounds, kind)
    return [each.stored_rate for each in every], [each.raw_rate for each in every]


def _queries(out: Output, record: LoadTestRecord) -> None:
    _, restored, other = out.translate, record.restored, record.original
    if restored is None:
        return
    slow = {each.name for each in record.slow}
    rows = []
    for query in restored.queries:
        beside = other.query(query.name) if other else None
        name = f"[red]{escape(query.name)}[/]" if query.name in slow else escape(query.name)
        times = [f"{value * 1000:.2f} ms" for value in (query.median, query.p95, query.p99)]
        rows.append([name, *times, f"{beside.median * 1000:.2f} ms" if beside else "?"])
    out.table([_("Query"), _("Median"), "95 %", "99 %", _("Median beside")], rows)
    line = _("{restored} transactions a second; beside ({note}): {beside}.")
    out.text(
        line.format(
            restored=f"{restored.tps:.0f}",
            note=escape(record.beside_note) or "?",
            beside=f"{other.tps:.0f}" if other else "?",
        )
    )


def _outlook(out: Output, record: LoadTestRecord) -> str:
    _, found = out.translate, record.forecast
    if found is None or found.state == "unknown":
        return _("Forecast: not known ({reason}).").format(reason=found.reason if found else "?")
    if found.state == "until" and found.at is not None:
        line = _("Forecast: the RTO holds until {day} (from {points} restores).")
        return line.format(day=f"{found.at:%Y-%m-%d}", points=found.points)
    if found.state == "holds":
        return _("Forecast: the RTO holds (from {points} restores).").format(points=found.points)
    return _("Forecast: the RTO does not hold today (from {points} restores).").format(points=found.points)


def _write(path: Path, done: LoadTestReport, language: str) -> None:
    from pra.report import html  # Jinja2 is needed for a page alone
    from pra.report.loadtest import load_report_of
    from pra.report.output import write_report
    from pra.report.stamp import Stamp

    stamp = Stamp.of(done.evidence)
    write_report(path, html.page(load_report_of(done.record, stamp, done.earlier, language)))
