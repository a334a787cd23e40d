"""``pra backup``"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from deployments.cli.alerting import alerting, tell_backup
from deployments.cli.output import Output, coloured, size
from deployments.cli.phases import phases_json, show_phases
from deployments.cli.session import FlowOption, JsonOption, TargetArgument, start
from deployments.cli.through_flow import follow_flow
from pra.proc import Scope
from pra.procedures import backup
from pra.procedures.context import Context
from pra.timing import format_duration, to_iso


def command(
    context: typer.Context,
    target: TargetArgument = None,
    flow: FlowOption = False,
    accept_new_server: Annotated[
        bool, typer.Option("--accept-new-server", help="The server was rebuilt or restored on purpose.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Take a full backup where an incremental one would do.")
    ] = False,
    json: JsonOption = False,
) -> int:
    """Take a backup, publish it to every repository, expire what is due."""
    session = start(context, json=json)
    chosen = session.settings.target(target)
    if flow:
        given = {"accept_new_server": True} if accept_new_server else {}
        given |= {"full": True} if full else {}
        return follow_flow(session, f"backup/{chosen.name}", given)
    with alerting(session, "backup", chosen.name), Scope() as scope, session.out.follow() as report:
        work = Context(session.settings, chosen, scope, report=report)
        done = backup.run(work, accept_new_server=accept_new_server, full=full)
    tell_backup(session, done)
    _show(session.out, done)
    return done.exit_code


def _show(out: Output, done: backup.BackupReport) -> None:
    for gap in done.gaps:
        out.note(f"gap: {gap}")
    for warning in done.warnings:
        out.note(f"warning: {warning}")
    document = {
        "backup_id": done.backup_id,
        "target": done.target,
        "kind": done.kind,
        "parents": list(done.parents),
        "full_reason": done.full_reason or None,
        "taken_at": to_iso(done.taken_at),
        "bytes": done.bytes,
        "seconds": round(done.seconds, 3),
        "phases": phases_json(done.phases),
        "repositories": [
            {"name": each.name, "ok": each.ok, "error": each.error or None} for each in done.repositories
        ],
        "gaps": list(done.gaps),
        "warnings": list(done.warnings),
        "caught_up": list(done.caught_up),
        "expired": list(done.expired),
    }
    if out.result("pra/backup/1", document):
        return
    _ = out.translate
    out.text(
        _("Backup {backup_id} of {target}: {size} in {duration}").format(
            backup_id=escape(done.backup_id),
            target=escape(done.target),
            size=size(done.bytes),
            duration=format_duration(done.seconds),
        )
    )
    if done.parents:
        out.text(
            _("Incremental, {number} in its chain; it stands upon {full}").format(
                number=len(done.parents), full=escape(done.parents[0])
            )
        )
    elif done.full_reason:
        out.text(_("Full, since {reason}").format(reason=escape(done.full_reason)))
    show_phases(out, done.phases)
    rows = [
        [escape(each.name), coloured("ok" if each.ok else "failed"), escape(each.error), escape(each.hint)]
        for each in done.repositories
    ]
    out.table([_("Repository"), _("State"), _("Error"), _("What to do")], rows)
