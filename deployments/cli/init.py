"""``pra init``: from a DSN to a first proof, asked step by step, or with ``--yes`` from options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deployments.cli.init_ask import Given
from deployments.cli.init_run import run
from deployments.cli.output import Output
from deployments.cli.session import Globals, JsonOption
from pra.errors import UsageError
from pra.messages import translator
from pra.model import Engine
from pra.settings import settings_file
from pra.setup.answers import named_values
from pra.setup.grants import role_sql

_DATABASE, _PLACE = "Database", "Repositories"
_ROLE = "The role's SQL"


def command(
    context: typer.Context,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing; what is missing is an error.")
    ] = False,
    add_target: Annotated[
        bool, typer.Option("--add-target", help="Add a database to the pra.toml that is there.")
    ] = False,
    dsn: Annotated[
        str | None,
        typer.Option(
            "--dsn",
            metavar="DSN",
            rich_help_panel=_DATABASE,
            help="postgresql://role@host:5432/database, without a password: that comes from PGPASSFILE, "
            "PGPASSWORD or PRA_TARGETS__NAME__PASSWORD.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", rich_help_panel=_DATABASE, help="Of the target; default: the database's."),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            metavar="auto|logical|physical",
            rich_help_panel=_DATABASE,
            help="auto: physical where the server allows it.",
        ),
    ] = "auto",
    rpo: Annotated[
        str | None,
        typer.Option("--rpo", metavar="DURATION", rich_help_panel=_DATABASE, help="Default 1h."),
    ] = None,
    rto: Annotated[
        str | None,
        typer.Option("--rto", metavar="DURATION", rich_help_panel=_DATABASE, help="Default 30min."),
    ] = None,
    rules: Annotated[
        bool,
        typer.Option("--rules/--no-rules", rich_help_panel=_DATABASE, help="Propose business rules."),
    ] = True,
    bindir: Annotated[
        str | None,
        typer.Option(
            "--bindir",
            metavar="DIR",
            rich_help_panel=_DATABASE,
            help="PostgreSQL's programs; {major} is replaced. Default: found on the system.",
        ),
    ] = None,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast", rich_help_panel=_DATABASE, help="Physical: begin the first backup at once, in a burst."
        ),
    ] = False,
    repository: Annotated[
        list[str] | None,
        typer.Option(
            "--repository",
            metavar="NAME=URL",
            rich_help_panel=_PLACE,
            help="file:///directory or s3://bucket/prefix; again for each. With --add-target, NAME alone for "
            "one that is there.",
        ),
    ] = None,
    endpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--endpoint", metavar="NAME=URL", rich_help_panel=_PLACE, help="Servers other than AWS."
        ),
    ] = None,
    region: Annotated[
        list[str] | None, typer.Option("--region", metavar="NAME=REGION", rich_help_panel=_PLACE)
    ] = None,
    access_key_id: Annotated[
        list[str] | None,
        typer.Option(
            "--access-key-id",
            metavar="NAME=ID",
            rich_help_panel=_PLACE,
            help="Its secret: PRA_REPOSITORIES__NAME__SECRET_ACCESS_KEY.",
        ),
    ] = None,
    object_lock: Annotated[
        list[str] | None,
        typer.Option(
            "--object-lock", metavar="NAME", rich_help_panel=_PLACE, help="Its bucket has Object Lock."
        ),
    ] = None,
    language: Annotated[
        str | None, typer.Option("--language", metavar="en|fr", help="Of what people read; default: LANG's.")
    ] = None,
    slack_channel: Annotated[
        str | None,
        typer.Option(
            "--slack-channel", metavar="CHANNEL", help="With PRA_ALERTS__SLACK_TOKEN in the environment."
        ),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="FILE", help="Where the recovery sheet is written: take it away."),
    ] = None,
    send: Annotated[
        bool, typer.Option("--send/--no-send", help="A test message through each alert channel.")
    ] = True,
    backup: Annotated[
        bool, typer.Option("--backup/--no-backup", help="Take the first backup and prove it.")
    ] = True,
    sql: Annotated[
        bool,
        typer.Option("--sql", rich_help_panel=_ROLE, help="Print the SQL that makes the role, and leave."),
    ] = False,
    role: Annotated[str, typer.Option("--role", rich_help_panel=_ROLE, help="Its name.")] = "backup",
    database: Annotated[
        str | None, typer.Option("--database", rich_help_panel=_ROLE, help="The database it backs up.")
    ] = None,
    json: JsonOption = False,
) -> int:
    """Set up backups of a database, step by step, to a first backup and its proof; writes pra.toml and .env.

    Everything is tested as it is named: database, rights, repositories, alerts.
    What was interrupted goes on when the same command is run again.
    With --sql it prints the SQL that makes the role, and does nothing else.
    """
    if sql:
        return _print_sql(Output(json, translator("en")), role, database, engine)
    given = Given(
        yes=yes or json,
        add_target=add_target,
        target=name,
        dsn=dsn,
        engine=engine,
        repositories=_repositories(repository or [], add_target=add_target),
        endpoints=named_values("--endpoint", endpoint or []),
        regions=named_values("--region", region or []),
        access_keys=named_values("--access-key-id", access_key_id or []),
        object_lock=tuple(object_lock or []),
        rpo=rpo,
        rto=rto,
        language=_language(language),
        slack_channel=slack_channel,
        rules=rules,
        sheet=sheet.absolute() if sheet else None,
        bindir=bindir,
        fast=fast,
        backup=backup,
        send=send,
    )
    options = context.find_object(Globals) or Globals()
    return run(given, settings_file(options.config), json=json)


def _print_sql(out: Output, role: str, database: str | None, engine: str) -> int:
    """Raises UsageError without a database, or for an engine that is none."""
    if not database:
        hint = "Name the database that is to be backed up: pra init --sql --database NAME"
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


def _repositories(given: list[str], *, add_target: bool) -> dict[str, str]:
    bare = [text for text in given if add_target and "=" not in text]
    return dict.fromkeys(bare, "") | named_values(
        "--repository", [text for text in given if text not in bare]
    )


def _language(asked: str | None) -> str | None:
    if asked is not None and asked not in ("en", "fr"):
        raise UsageError(f"no such language: {asked[:20]!r}", op="read options", hint="en or fr.")
    return asked
