"""``pra restore``"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.markup import escape

from checks import Checks
from deployments.cli.alerting import alerting, tell_proof
from deployments.cli.output import Output, size
from deployments.cli.proof import proof_json, show_proof
from deployments.cli.session import JsonOption, Session, start
from pra.errors import UsageError
from pra.proc import Scope
from pra.procedures import restore, tables
from pra.procedures.context import Context
from pra.procedures.destination import Destination
from pra.procedures.judging import VerifyReport
from pra.procedures.session import Choice, choose
from pra.settings import Target
from pra.settings_model import dsn_fault
from pra.timing import format_duration


def command(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Whose backup to restore.")],
    into: Annotated[
        str,
        typer.Option(
            "--into",
            metavar="DSN|DIR",
            help="An empty database, or a data directory to create. Password: PGPASSWORD or PGPASSFILE.",
        ),
    ],
    backup: Annotated[str, typer.Option("--backup", metavar="newest|ID", help="Which backup.")] = "newest",
    repository: Annotated[
        str | None, typer.Option("--repository", metavar="NAME", help="Where to read it from.")
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(
            "--table", metavar="NAME", help="Only this table, into a schema of its own. Repeatable."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and restore nothing.")] = False,
    json: JsonOption = False,
) -> int:
    """Restore for real, into an empty database or a new data directory; checked and recorded."""
    session = start(context, json=json)
    out, chosen = session.out, session.settings.target(target)
    destination = read_destination(into, chosen)
    if table and destination.server is None:
        raise UsageError(
            "--table needs a database",
            op="read destination",
            hint="Give --into the DSN of the live database.",
        )
    with _alerting(session, chosen, dry_run=dry_run), Scope() as scope, out.follow() as report:
        work = Context(session.settings, chosen, scope, report=report)
        choice = choose(work, backup, repository)
        if dry_run:
            plan = restore.plan(work, choice, destination)
        else:
            done = _carry_out(work, choice, destination, table or [])
    if dry_run:
        show_plan(out, plan)
        return 0
    tell_proof(session, "restore", done.report)
    document = {
        **proof_json(done.report),
        "destination": destination.text,
        "tables_schema": done.schema,
        "roles_created": done.roles,
    }
    if not out.result("pra/restore/1", document):
        show_proof(out, done.report)
        _show_afterwards(out, done)
    return done.report.verdict.exit_code


def _alerting(session: Session, target: Target, *, dry_run: bool) -> AbstractContextManager[None]:
    return nullcontext() if dry_run else alerting(session, "restore", target.name, typed=True)


@dataclass(frozen=True)
class _Done:
    report: VerifyReport
    roles: list[str]
    schema: str | None


def _carry_out(work: Context, choice: Choice, destination: Destination, names: list[str]) -> _Done:
    if names and destination.server is not None:
        report, schema = tables.run(work, choice, destination.server, names)
        return _Done(report, [], schema)
    report, undertaking = restore.run(work, Checks(), choice, destination)
    return _Done(report, undertaking.roles_created, None)


def read_destination(text: str, target: Target) -> Destination:
    """Read ``--into``. A password does not belong on a command line: every account here could see it.

    Raises:
        UsageError: It holds one, is no DSN, or leaves this machine without TLS.
    """
    if "://" in text or "=" in text:
        fault = dsn_fault(
            text,
            allow_plaintext=target.allow_plaintext,
            password_belongs="set PGPASSWORD or use PGPASSFILE",
        )
        if fault is not None:
            raise UsageError(f"--into {fault[0]}", op="read destination", hint=fault[1])
    return Destination.parse(text, os.environ.get("PGPASSWORD"))


def show_plan(out: Output, plan: restore.RestorePlan) -> None:
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
    sentence = _("{tables} tables, {rows} rows; {size} to read, {database_size} when restored")
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


def _show_afterwards(out: Output, done: _Done) -> None:
    """What is left to do. Roles come back without passwords where the backup role could not read them."""
    _ = out.translate
    if done.schema:
        out.text(_("The tables are in the schema {schema}.").format(schema=escape(done.schema)))
    if done.roles:
        out.text(_("These roles were created; give each its password:"))
    for role in done.roles:
        quoted = '"' + role.replace('"', '""') + '"'
        out.text(escape(f"  ALTER ROLE {quoted} PASSWORD '…';"))
