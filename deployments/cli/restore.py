"""``pra restore``"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated

import typer

from checks import Checks
from deployments.cli.alerting import alerting, tell_proof
from deployments.cli.output import Output
from deployments.cli.proof import proof_json, show_proof
from deployments.cli.restore_words import show_afterwards, show_plan
from deployments.cli.session import JsonOption, Session, start
from pra.errors import NotFoundError, PraError, StorageError, UsageError
from pra.proc import Scope
from pra.procedures import restore, tables
from pra.procedures.context import Context
from pra.procedures.destination import Destination, check_destination
from pra.procedures.judging import VerifyReport
from pra.procedures.session import Choice, choose
from pra.procedures.session import accept_unverified as accept
from pra.settings import Target
from pra.settings_model import dsn_fault


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
        str | None,
        typer.Option("--repository", metavar="NAME", help="Read it from here, else the first with it."),
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(
            "--table", metavar="NAME", help="Only this table, into a schema of its own. Repeatable."
        ),
    ] = None,
    accept_unverified: Annotated[
        str | None,
        typer.Option(
            "--accept-unverified",
            metavar="TARGET",
            help="Restore although the signature is bad or missing: type the target's name again. Recorded.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and restore nothing.")] = False,
    json: JsonOption = False,
) -> int:
    """Restore for real, into an empty database or a new data directory; checked and recorded."""
    session = start(context, json=json)
    out, chosen = session.out, session.settings.target(target)
    destination = read_destination(into, chosen)
    _check_usage(chosen, destination, table, accept_unverified)
    with _alerting(session, chosen, dry_run=dry_run), Scope() as scope, out.follow() as report:
        work = Context(session.settings, chosen, scope, report=report)
        choice = _choose(out, work, backup, repository)
        if accept_unverified is not None:
            choice = accept(work, choice)
        if dry_run:
            plan = restore.plan(work, choice, destination)
        else:
            done = _carry_out(work, choice, destination, table or [])
    if dry_run:
        refused = None if table else _refusal(destination, choice)
        if refused is None or not out.json:
            show_plan(out, plan)
        if refused is not None:
            raise refused
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
        show_afterwards(out, done.schema, done.roles)
    return done.report.verdict.exit_code


def _check_usage(
    target: Target, destination: Destination, names: list[str] | None, accept_unverified: str | None
) -> None:
    if accept_unverified not in (None, target.name):
        raise UsageError(
            f"--accept-unverified names {accept_unverified!r}, not the target",
            op="accept backup",
            hint=f"Type the target's name: --accept-unverified {target.name}",
        )
    if names and destination.server is None:
        raise UsageError(
            "--table needs a database",
            op="read destination",
            hint="Give --into the DSN of the live database.",
        )


def _refusal(destination: Destination, choice: Choice) -> PraError | None:
    """Why the destination could not receive this backup as it stands now."""
    try:
        if choice.manifest is not None:
            check_destination(destination, choice.manifest)
    except PraError as error:
        return error
    return None


def _choose(out: Output, work: Context, backup: str, repository: str | None) -> Choice:
    """In the order in which the target lists its repositories: one that is lost must not stop a recovery.

    Raises:
        PraError: None of them can give it; the last one's error.
    """
    *others, last = [repository] if repository else work.repositories
    for name in others:
        try:
            return choose(work, backup, name)
        except (StorageError, NotFoundError) as error:
            out.note(f"warning: {name}: {error.message}; trying the next repository")
    return choose(work, backup, last)


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
