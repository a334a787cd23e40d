"""``pra metrics``"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from deployments.cli.metrics_words import show
from deployments.cli.output import Output
from deployments.cli.session import JsonOption, Session, TargetArgument, start
from deployments.cli.status import AllOption
from pra.errors import PraError, UsageError
from pra.settings import Target
from pra.timing import from_iso, parse_duration, utc_now
from pra.watch.metrics.document import SCHEMA, document
from pra.watch.metrics.reading import gather
from pra.watch.metrics.whole import MONTH, WEEK, TargetMetrics

WeekOption = Annotated[bool, typer.Option("--week", help="The last 7 days.")]
MonthOption = Annotated[bool, typer.Option("--month", help="The last 30 days (the default).")]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="From that day on: 2026-01-31, or how long ago, as 90d."),
]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write one page there that needs nothing else.")
]
PrometheusOption = Annotated[
    bool, typer.Option("--prometheus", help="Prometheus text: on stdout, or to --output or --listen.")
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="Where --prometheus writes, whole or not at all."),
]
ListenOption = Annotated[
    int | None,
    typer.Option("--listen", metavar="PORT", help="Serve --prometheus on 127.0.0.1 until stopped."),
]
TextOption = Annotated[bool, typer.Option("--text", help="The weekly report alone, ready to send.")]


def command(
    context: typer.Context,
    target: TargetArgument = None,
    every_target: AllOption = False,
    week: WeekOption = False,
    month: MonthOption = False,
    since: SinceOption = None,
    html: HtmlOption = None,
    prometheus: PrometheusOption = False,
    output: OutputOption = None,
    listen: ListenOption = None,
    text: TextOption = False,
    json: JsonOption = False,
) -> int:
    """Are we inside our objectives? From the records: exit 2 when some could not be read or believed."""
    session = start(context, json=json)
    targets = chosen(session, target, every_target=every_target)
    begin = beginning(utc_now(), week=week, month=month, since=since)
    if (output is not None or listen is not None) and not prometheus:
        raise UsageError(
            "--output and --listen go with --prometheus", op="show metrics", hint="Add --prometheus."
        )
    if listen is not None:
        return _serve(session, targets, begin, listen)
    metrics = gather(session.settings, targets, begin)
    if html is not None:
        _write_page(html, metrics, session.settings.language)
    if prometheus:
        _write_exposition(output, metrics, session.out)
    elif text:
        _write_letters(metrics, session.settings.language)
    elif not session.out.result(SCHEMA, document(metrics)):
        show(session.out, metrics, session.settings.language)
    for each in metrics:
        for line in each.problems[:_LINES]:
            session.out.note(f"warning: {each.target}: {line}")
        if len(each.problems) > _LINES:
            session.out.note(f"warning: {each.target}: and {len(each.problems) - _LINES} more")
    return 2 if any(each.problems for each in metrics) else 0


_LINES = 10


def chosen(session: Session, target: str | None, *, every_target: bool) -> list[Target]:
    """The named one, the only one, or all. Raises UsageError."""
    if not every_target:
        return [session.settings.target(target)]
    if target is not None:
        raise UsageError("--all and a target were given", op="choose target", hint="Give one of the two.")
    return list(session.settings.targets.values()) or [session.settings.target(None)]


def beginning(now: datetime, *, week: bool, month: bool, since: str | None) -> datetime:
    """Where the period begins.

    Raises:
        UsageError: Several were named, or no moment.
    """
    if week + month + (since is not None) > 1:
        raise UsageError(
            "more than one period was given", op="choose period", hint="Give --week, --month or --since."
        )
    if since is None:
        return now - timedelta(days=WEEK if week else MONTH)
    return _moment(since, now)


def _moment(text: str, now: datetime) -> datetime:
    try:
        return now - parse_duration(text)
    except (UsageError, OverflowError):
        pass
    try:
        moment = from_iso(text if "T" in text or " " in text else f"{text}T00:00:00Z")
    except (ValueError, OverflowError):
        raise UsageError(
            f"not a moment: {text[:40]!r}",
            op="read --since",
            hint="Write 2026-01-31, or 90d for so long ago.",
        ) from None
    if moment > now:
        raise UsageError(
            "--since lies in the future", op="read --since", hint="Metrics are about what has been."
        )
    return moment


def _write_page(path: Path, metrics: list[TargetMetrics], language: str) -> None:
    from pra.report import html  # Jinja2 is needed for a page alone
    from pra.report.metrics import metrics_report_of
    from pra.report.output import write_report

    write_report(path, html.page(metrics_report_of(metrics, language)))


def _write_letters(metrics: list[TargetMetrics], language: str) -> None:
    from pra.report.metrics_letter import letter
    from pra.report.words import Words

    typer.echo("\n\n".join(letter(each, Words(language)) for each in metrics))


def _write_exposition(path: Path | None, metrics: list[TargetMetrics], out: Output) -> None:
    from pra.watch.metrics.prometheus import exposition

    words = exposition(metrics)
    if path is None:
        typer.echo(words, nl=False, err=out.json)
        return
    from pra.report.output import write_report

    write_report(path, words)
    try:
        path.chmod(0o644)  # node_exporter's text-file collector runs as another account
    except OSError as error:
        raise PraError(f"{path} is not readable for others: {error.strerror}", op="write metrics") from error


def _serve(session: Session, targets: list[Target], begin: datetime, port: int) -> int:
    from deployments.cli.metrics_server import serve

    period = utc_now() - begin
    serve(lambda: gather(session.settings, targets, utc_now() - period), port, session.out.note)
    return 0
