"""``pra init``: from a DSN to a first proof, asked step by step, or with ``--yes`` from options."""

from __future__ import annotations

import typer

from deployments.cli import init_options as options
from deployments.cli.init_ask import Given
from deployments.cli.init_run import run
from deployments.cli.output import Output
from deployments.cli.session import Globals, JsonOption
from pra.errors import UsageError
from pra.messages import translator
from pra.model import Engine
from pra.postgres.connect import Server
from pra.settings import settings_file
from pra.setup.answers import named_values
from pra.setup.grants import role_sql


def command(
    context: typer.Context,
    yes: options.YesOption = False,
    add_target: options.AddTargetOption = False,
    dsn: options.DsnOption = None,
    name: options.NameOption = None,
    engine: options.EngineOption = "auto",
    rpo: options.RpoOption = None,
    rto: options.RtoOption = None,
    rules: options.RulesOption = True,
    bindir: options.BindirOption = None,
    fast: options.FastOption = False,
    repository: options.RepositoryOption = None,
    endpoint: options.EndpointOption = None,
    region: options.RegionOption = None,
    access_key_id: options.AccessKeyOption = None,
    object_lock: options.ObjectLockOption = None,
    language: options.LanguageOption = None,
    slack_channel: options.SlackChannelOption = None,
    sheet: options.SheetOption = None,
    send: options.SendOption = True,
    backup: options.BackupOption = True,
    sql: options.SqlOption = False,
    role: options.RoleOption = None,
    database: options.DatabaseOption = None,
    json: JsonOption = False,
) -> int:
    """Set up backups of a database, step by step, to a first backup and its proof; writes pra.toml and .env.

    Everything is tested as it is named: database, rights, repositories, alerts.
    What was interrupted goes on when the same command is run again.
    With --sql it prints the SQL that makes the role, and does nothing else.
    """
    if sql:
        named = Server.parse(dsn).words() if dsn else {}
        role, database = role or named.get("user", "backup"), database or named.get("dbname")
        return _print_sql(Output(json, translator("en")), role, database, engine)
    given = Given(
        yes=yes or json,
        add_target=add_target,
        target=name,
        dsn=dsn,
        engine=engine,
        repositories=options.repositories_of(repository or [], add_target=add_target),
        endpoints=named_values("--endpoint", endpoint or []),
        regions=named_values("--region", region or []),
        access_keys=named_values("--access-key-id", access_key_id or []),
        object_lock=tuple(object_lock or []),
        rpo=rpo,
        rto=rto,
        language=options.check_language(language),
        slack_channel=slack_channel,
        rules=rules,
        sheet=sheet.absolute() if sheet else None,
        bindir=bindir,
        fast=fast,
        backup=backup,
        send=send,
    )
    before = context.find_object(Globals) or Globals()
    return run(given, settings_file(before.config), json=json)


def _print_sql(out: Output, role: str, database: str | None, engine: str) -> int:
    """Raises UsageError without a database, or for an engine that is none."""
    if not database:
        hint = "Name the database that is to be backed up: pra init --sql --database NAME, or --dsn DSN"
        raise UsageError("--database is missing", op="print SQL", hint=hint)
    if engine not in ("auto", "logical", "physical"):
        raise UsageError(
            f"no such engine: {engine[:40]!r}", op="print SQL", hint="One of: logical, physical."
        )
    chosen: Engine = "physical" if engine == "physical" else "logical"
    text = role_sql(role, database, chosen)
    document = {"role": role, "database": database, "engine": chosen, "sql": text}
    if not out.result("pra/role-sql/1", document):
        typer.echo(text, nl=False)
    return 0
