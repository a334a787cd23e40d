"""``pra backups``"""

from __future__ import annotations

from datetime import datetime

import typer
from rich.markup import escape

from deployments.cli.output import Output, coloured, size
from deployments.cli.session import JsonOption, TargetArgument, start
from pra.proc import Scope
from pra.procedures.context import Context
from pra.procedures.inventory import BackupRow, Inventory, take_stock
from pra.timing import format_duration, to_iso, utc_now


def command(context: typer.Context, target: TargetArgument = None, json: JsonOption = False) -> int:
    """List the backups: what, how old, how large, where, proven when, with which verdict."""
    session = start(context, json=json)
    chosen = session.settings.target(target)
    with Scope() as scope:
        inventory = take_stock(Context(session.settings, chosen, scope))
    _show(session.out, inventory, utc_now())
    return 2 if inventory.problems else 0


def _show(out: Output, inventory: Inventory, now: datetime) -> None:
    for place, message in inventory.problems:
        out.note(f"warning: {place}: {message}")
    if out.result("pra/backups/1", {"items": [_item(row) for row in inventory.rows]}):
        return
    _ = out.translate
    if not inventory.rows:
        out.text(_("There is no backup yet. Take one with: pra backup"))
        return
    columns = [_("Backup"), _("Kind"), _("Age"), _("Size"), _("Repositories"), _("Proven"), _("Verdict")]
    out.table(columns, [_cells(row, now) for row in inventory.rows])


def _item(row: BackupRow) -> dict[str, object]:
    return {
        "backup_id": row.backup_id,
        "target": row.target,
        "kind": row.kind,
        "taken_at": to_iso(row.taken_at) if row.taken_at else None,
        "bytes": row.bytes,
        "repositories": list(row.repositories),
        "proven_at": to_iso(row.proven_at) if row.proven_at else None,
        "verdict": row.verdict,
        "error": row.error,
    }


def _cells(row: BackupRow, now: datetime) -> list[str]:
    return [
        escape(row.backup_id),
        row.kind or "?",
        _age(row.taken_at, now),
        size(row.bytes),
        escape(", ".join(row.repositories)),
        _age(row.proven_at, now) if row.proven_at else "-",
        f"[red]{escape(row.error)}[/]" if row.error else coloured(row.verdict or "-"),
    ]


def _age(moment: datetime | None, now: datetime) -> str:
    return "?" if moment is None else format_duration(max((now - moment).total_seconds(), 0))
