"""``pra backups``"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import typer
from rich.markup import escape

from deployments.cli.output import Output, coloured, size
from deployments.cli.session import JsonOption, TargetArgument, start
from deployments.cli.status import AllOption, chosen
from pra.proc import Scope
from pra.procedures.context import Context
from pra.procedures.inventory import BackupRow, Inventory, take_all, take_stock
from pra.timing import format_duration, to_iso, utc_now


def command(
    context: typer.Context,
    target: TargetArgument = None,
    every_target: AllOption = False,
    json: JsonOption = False,
) -> int:
    """List the backups: what, how old, how large, where, proven when, with which verdict.

    With --all one line for each target, the one whose newest backup is oldest first.
    """
    session = start(context, json=json)
    targets = chosen(session, target, every_target=every_target)
    with Scope() as scope:
        if every_target:
            found = take_all(session.settings, targets, scope)
        else:
            found = [take_stock(Context(session.settings, targets[0], scope))]
    _say_problems(session.out, found)
    if not session.out.result(
        "pra/backups/1", {"items": [_item(row) for each in found for row in each.rows]}
    ):
        if every_target:
            _show_all(session.out, found, utc_now())
        else:
            _show(session.out, found[0], utc_now())
    return 2 if any(each.problems for each in found) else 0


def _say_problems(out: Output, found: Sequence[Inventory]) -> None:
    """What is wrong for many targets is one line."""
    whose: dict[tuple[str, str], list[str]] = {}
    for each in found:
        for problem in each.problems:
            whose.setdefault(problem, []).append(each.target)
    for (place, message), targets in whose.items():
        names = ", ".join(targets[:_NAMES]) + (
            f" and {len(targets) - _NAMES} more" if targets[_NAMES:] else ""
        )
        out.note(f"warning: {place}: {message}" + (f" ({names})" if len(found) > 1 else ""))


_NAMES = 5


def _show(out: Output, inventory: Inventory, now: datetime) -> None:
    _ = out.translate
    if not inventory.rows:
        out.text(_("There is no backup yet. Take one with: pra backup"))
        return
    columns = [_("Backup"), _("Kind"), _("Age"), _("Size"), _("Repositories"), _("Proven"), _("Verdict")]
    out.table(columns, [_cells(row, now) for row in inventory.rows])


def _show_all(out: Output, found: Sequence[Inventory], now: datetime) -> None:
    _ = out.translate
    columns = [
        _("Target"),
        _("Backups"),
        _("Newest"),
        _("Oldest"),
        _("Size"),
        _("Repositories"),
        _("Proven"),
        _("Verdict"),
    ]
    out.table(columns, [_line(each, now) for each in sorted(found, key=_newest)])


def _newest(inventory: Inventory) -> tuple[str, str]:
    """What has no backup comes first, and then the one without a recent one: ids begin with their moment."""
    return (inventory.rows[0].backup_id if inventory.rows else "", inventory.target)


def _line(inventory: Inventory, now: datetime) -> list[str]:
    rows = inventory.rows
    if not rows:
        why = "; ".join(message for _place, message in inventory.problems)
        return [
            escape(inventory.target),
            "?" if why else "0",
            "-",
            "-",
            "-",
            "-",
            "-",
            f"[red]{escape(why)}[/]",
        ]
    proven = next((row for row in rows if row.proven_at is not None), None)
    places = dict.fromkeys(name for row in rows for name in row.repositories)
    errors = [row.error for row in rows if row.error]
    verdict = coloured((proven.verdict if proven else None) or "-")
    return [
        escape(inventory.target),
        str(len(rows)),
        _age(rows[0].taken_at, now),
        _age(rows[-1].taken_at, now),
        size(sum(row.bytes or 0 for row in rows)),
        escape(", ".join(places)),
        _age(proven.proven_at, now) if proven else "-",
        f"[red]{escape(errors[0])}{_more(len(errors) - 1)}[/]" if errors else verdict,
    ]


def _more(count: int) -> str:
    return f" (and {count} more)" if count else ""


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
