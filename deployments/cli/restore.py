"""``pra restore``"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

import typer

from deployments.cli import restore_logical, restore_physical
from deployments.cli.alerting import alerting, tell_proof
from deployments.cli.moments import read_moment, read_target
from deployments.cli.output import Output
from deployments.cli.proof import proof_json, show_proof
from deployments.cli.restore_options import (
    AcceptOption,
    Asked,
    BackupOption,
    DisasterOption,
    DryRunOption,
    ExclusiveOption,
    IntoOption,
    NoProofOption,
    RepositoryOption,
    TableOption,
    TablespaceOption,
    TargetArgument,
    ToOption,
    check_accepted,
    check_way,
    read_tablespaces,
)
from deployments.cli.restore_way import Done, Way
from deployments.cli.session import JsonOption, Session, start
from pra.errors import UsageError
from pra.proc import Scope
from pra.procedures.context import Context
from pra.procedures.destination import Destination
from pra.settings import Target
from pra.settings_fields import dsn_fault


def command(
    context: typer.Context,
    target: TargetArgument,
    into: IntoOption,
    to: ToOption = None,
    exclusive: ExclusiveOption = False,
    backup: BackupOption = "newest",
    repository: RepositoryOption = None,
    table: TableOption = None,
    tablespace: TablespaceOption = None,
    disaster_at: DisasterOption = None,
    no_proof: NoProofOption = False,
    accept_unverified: AcceptOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> int:
    """Restore for real, into a new data directory or an empty database; checked and recorded."""
    session = start(context, json=json)
    chosen = session.settings.target(target)
    if exclusive and to is None:
        raise UsageError("--exclusive needs --to", op="plan restore", hint="Say what to stop before: --to …")
    asked = Asked(
        read_destination(into, chosen),
        backup=backup,
        to=None if to is None else read_target(to, exclusive=exclusive),
        repository=repository,
        tables=tuple(table or ()),
        tablespaces=read_tablespaces(tablespace),
        disaster_at=read_moment(disaster_at, "--disaster-at"),
        proof=not no_proof,
        accept_unverified=check_accepted(chosen, accept_unverified),
    )
    return _show_plan(session, chosen, asked) if dry_run else _carry_out(session, chosen, asked)


def _show_plan(session: Session, target: Target, asked: Asked) -> int:
    out = session.out
    with Scope() as scope, out.follow() as report:
        way = _way(out, Context(session.settings, target, scope, report=report), asked)
        shown, refused = way.plan(), way.refusal()
    if refused is None or not out.json:
        shown(out)
    if refused is not None:
        raise refused
    return 0


def _carry_out(session: Session, target: Target, asked: Asked) -> int:
    with _alerting(session, target), Scope() as scope, session.out.follow() as report:
        way = _way(session.out, Context(session.settings, target, scope, report=report), asked)
        done = way.carry_out()
    tell_proof(session, "restore", done.report)
    _show(session.out, asked, done)
    return done.report.verdict.exit_code


def _show(out: Output, asked: Asked, done: Done) -> None:
    document = {**proof_json(done.report), "destination": asked.destination.text, **done.document}
    if not out.result("pra/restore/1", document):
        show_proof(out, done.report)
        done.tell(out)


def _way(out: Output, work: Context, asked: Asked) -> Way:
    """By engine: what the options ask for, else what the chosen backup is, else the target's own.

    Raises:
        UsageError: The options do not fit it.
    """
    if asked.to is not None or (work.target.engine == "physical" and asked.backup == "newest"):
        check_way(asked, physical=True)
        return restore_physical.choose_way(out, work, asked)
    choice = restore_logical.choose_backup(out, work, asked)
    physical = choice.manifest is not None and choice.manifest.engine == "physical"
    check_way(asked, physical=physical)
    if physical:
        return restore_physical.choose_way(out, work, asked)
    return restore_logical.LogicalWay(work, asked, choice)


def _alerting(session: Session, target: Target) -> AbstractContextManager[None]:
    return alerting(session, "restore", target.name, typed=True)


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
