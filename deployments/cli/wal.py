"""``pra wal stream`` and ``pra wal check``: a target's WAL on its way, and whether all of it is there."""

from __future__ import annotations

import logging
import threading
from typing import Annotated, Any

import typer
from rich.markup import escape

from deployments.cli.output import Output, size
from deployments.cli.session import JsonOption, TargetArgument, start
from pra.postgres.wal import format_lsn
from pra.proc import Scope
from pra.procedures import wal, wal_check
from pra.procedures.context import Context
from pra.procedures.wal_check import RepositoryWal, WalCheck
from pra.timing import format_duration, to_iso

app = typer.Typer(
    no_args_is_help=True, help="Stream a server's WAL into the repositories, and check it there."
)

NewServer = Annotated[
    bool, typer.Option("--accept-new-server", help="The server was rebuilt or restored on purpose.")
]


@app.command("stream")
def stream(
    context: typer.Context, target: TargetArgument = None, accept_new_server: NewServer = False
) -> int:
    """Ship the server's WAL to every repository until stopped; one streamer a target."""
    session = start(context, json=False)
    # What happens over days is told by the log, on stderr; nothing else is said.
    logging.getLogger("pra.wal").setLevel(logging.INFO)
    chosen = session.settings.target(target)
    with Scope() as scope:
        work = Context(session.settings, chosen, scope)
        wal.stream(work, threading.Event(), accept_new_server=accept_new_server)
    return 0


@app.command("check")
def check(context: typer.Context, target: TargetArgument = None, json: JsonOption = False) -> int:
    """Look for gaps, forks, missing segments and lag, by repository and timeline."""
    session = start(context, json=json)
    chosen = session.settings.target(target)
    with Scope() as scope:
        found = wal_check.check(Context(session.settings, chosen, scope))
    document = {
        "target": chosen.name,
        "items": [_as_json(item) for item in found.items],
        "critical": list(found.critical),
        "warnings": list(found.warnings),
    }
    if not session.out.result("pra/wal-check/1", document):
        _show(session.out, chosen.name, found)
    return found.exit_code


def _as_json(item: RepositoryWal) -> dict[str, Any]:
    return {
        "repository": item.repository,
        "system_id": item.system_id,
        "timelines": list(item.timelines),
        "segments": item.segments,
        "bytes": item.bytes,
        "kept_from": format_lsn(item.kept_from),
        "gaps": [
            {"timeline": gap.timeline, "first": gap.first, "last": gap.last, "segments": gap.segments}
            for gap in item.gaps
        ],
        "forks": list(item.forks),
        "faults": list(item.faults),
        "missing": [{"backup_id": backup_id, "segment": name} for backup_id, name in item.missing],
        "streamed_until": to_iso(item.streamed_until) if item.streamed_until else None,
        "lag_seconds": None if item.lag_seconds is None else round(item.lag_seconds, 3),
        "streaming": item.streaming,
    }


def _show(out: Output, target: str, found: WalCheck) -> None:
    _ = out.translate
    columns = [
        _("Repository"),
        _("Timelines"),
        _("Segments"),
        _("Size"),
        _("Whole from"),
        _("Gaps"),
        _("Lag"),
    ]
    rows = [
        [
            escape(item.repository),
            ", ".join(str(timeline) for timeline in item.timelines),
            str(item.segments),
            size(item.bytes),
            format_lsn(item.kept_from),
            str(sum(gap.segments for gap in item.gaps)),
            "?" if item.lag_seconds is None else format_duration(item.lag_seconds),
        ]
        for item in found.items
    ]
    out.table(columns, rows, title=escape(target))
    for line in found.critical:
        out.text(f"[red]✗[/] {escape(line)}")
    for line in found.warnings:
        out.text(f"[yellow]![/] {escape(line)}")
    if not found.critical and not found.warnings:
        out.text("[green]✓[/] " + _("The WAL is whole in every repository."))
