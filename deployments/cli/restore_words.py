"""What ``pra restore`` says beforehand and afterwards."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from deployments.cli.output import Output, size
from pra.procedures.restore import RestorePlan
from pra.timing import format_duration


def show_plan(out: Output, plan: RestorePlan) -> None:
    document: dict[str, Any] = {
        "backup_id": plan.backup_id,
        "repository": plan.repository,
        "destination": plan.destination,
        "bytes": plan.bytes,
        "database_bytes": plan.database_bytes,
        "objects": plan.objects,
        "tables": plan.tables,
        "rows": plan.rows,
        "loses_seconds": round(plan.loses_seconds, 3),
        "steps": list(plan.steps),
        "gaps": list(plan.gaps),
    }
    if out.result("pra/restore-plan/1", document):
        return
    _ = out.translate
    sentence = _("Backup {backup_id} from {repository} into {destination}")
    out.text(
        sentence.format(
            backup_id=escape(plan.backup_id),
            repository=escape(plan.repository),
            destination=escape(plan.destination),
        )
    )
    sentence = _("Tables: {tables}, rows: {rows}; {size} to read, {database_size} when restored")
    out.text(
        sentence.format(
            tables=plan.tables,
            rows=plan.rows,
            size=size(plan.bytes),
            database_size=size(plan.database_bytes),
        )
    )
    out.text(
        _("What happened in the last {duration} will be missing.").format(
            duration=format_duration(plan.loses_seconds)
        )
    )
    for number, step in enumerate(plan.steps, 1):
        out.text(f"  {number}. {escape(step)}")
    for gap in plan.gaps:
        out.note(f"gap: {gap}")


def show_afterwards(out: Output, schema: str | None, roles: list[str]) -> None:
    """What is left to do. Roles come back without passwords where the backup role could not read them."""
    _ = out.translate
    if schema:
        out.text(_("The tables are in the schema {schema}.").format(schema=escape(schema)))
    if roles:
        out.text(_("These roles were created; give each its password:"))
    for role in roles:
        quoted = '"' + role.replace('"', '""') + '"'
        out.text(escape(f"  ALTER ROLE {quoted} PASSWORD '…';"))
