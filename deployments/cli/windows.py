"""``pra windows``"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

import typer
from rich.markup import escape

from deployments.cli.moments import local_zone
from deployments.cli.output import Output
from deployments.cli.session import JsonOption, TargetArgument, start
from pra.engines.recovery_target import say
from pra.messages import Translate
from pra.postgres.wal import format_lsn
from pra.proc import Scope
from pra.procedures.context import Context
from pra.procedures.windows import Window, Windows, windows
from pra.timing import to_iso

LAST_MICROSECOND = timedelta(microseconds=999_999)


def command(context: typer.Context, target: TargetArgument = None, json: JsonOption = False) -> int:
    """Say which moments can be recovered, per repository: from, about until, gaps, timeline."""
    session = start(context, json=json)
    chosen = session.settings.target(target)
    with Scope() as scope:
        found = windows(Context(session.settings, chosen, scope))
    _show(session.out, chosen.name, found)
    return 2 if found.problems else 0


def _show(out: Output, target: str, found: Windows) -> None:
    for place, message in found.problems:
        out.note(f"warning: {place}: {message}")
    document = {
        "target": target,
        "items": [_item(window) for window in found.items],
        "problems": [{"repository": place, "message": message} for place, message in found.problems],
    }
    if out.result("pra/windows/1", document):
        return
    _ = out.translate
    if not found.items:
        out.text(_("No moment can be recovered: there is no base backup yet. Take one with: pra backup"))
        return
    zone = local_zone()
    columns = [_("Repository"), _("From"), _("Until about"), _("Timeline"), _("Backups"), _("Ends with")]
    out.table(columns, [_cells(window, zone, _) for window in found.items])


def _cells(window: Window, zone: tzinfo, _: Translate) -> list[str]:
    ends = {
        "streamed": _("now: it is being streamed"),
        "wal": _("the last WAL"),
        "backup": _("the backup: no WAL after it"),
        "gap": _("a gap: {segment} is missing").format(segment=window.missing),
        "left": _("the next timeline"),
    }
    return [
        escape(window.repository),
        f"{say(_second(window.from_time + LAST_MICROSECOND), zone)}\nLSN {format_lsn(window.from_lsn)}",
        f"{say(_second(window.to_time), zone)}\nLSN {format_lsn(window.to_lsn)}",
        str(window.timeline),
        str(len(window.backups)),
        ends[window.end],
    ]


def _second(moment: datetime) -> datetime:
    """Whole seconds, which a person can type again."""
    return moment.replace(microsecond=0)


def _item(window: Window) -> dict[str, object]:
    return {
        "repository": window.repository,
        "system_id": window.system_id,
        "timeline": window.timeline,
        "from": to_iso(window.from_time),
        "from_lsn": format_lsn(window.from_lsn),
        "to": to_iso(window.to_time),
        "to_lsn": format_lsn(window.to_lsn),
        "end": window.end,
        "missing": window.missing or None,
        "backups": list(window.backups),
    }
