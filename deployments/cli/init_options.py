"""The options of ``pra init``, and what they amount to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pra.errors import UsageError
from pra.setup.answers import named_values

_DATABASE, _PLACE, _ROLE = "Database", "Repositories", "The role's SQL"

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; what is missing is an error.")]
AddTargetOption = Annotated[
    bool, typer.Option("--add-target", help="Add a database to the pra.toml that is there.")
]
DsnOption = Annotated[
    str | None,
    typer.Option(
        "--dsn",
        metavar="DSN",
        rich_help_panel=_DATABASE,
        help="postgresql://role@host:5432/database, without a password: that comes from PGPASSFILE, "
        "PGPASSWORD or PRA_TARGETS__NAME__PASSWORD.",
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option("--name", rich_help_panel=_DATABASE, help="Of the target; default: the database's."),
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="auto|logical|physical",
        rich_help_panel=_DATABASE,
        help="auto: physical where the server allows it.",
    ),
]
RpoOption = Annotated[
    str | None, typer.Option("--rpo", metavar="DURATION", rich_help_panel=_DATABASE, help="Default 1h.")
]
RtoOption = Annotated[
    str | None, typer.Option("--rto", metavar="DURATION", rich_help_panel=_DATABASE, help="Default 30min.")
]
RulesOption = Annotated[
    bool, typer.Option("--rules/--no-rules", rich_help_panel=_DATABASE, help="Propose business rules.")
]
BindirOption = Annotated[
    str | None,
    typer.Option(
        "--bindir",
        metavar="DIR",
        rich_help_panel=_DATABASE,
        help="PostgreSQL's programs; {major} is replaced. Default: found on the system.",
    ),
]
FastOption = Annotated[
    bool,
    typer.Option(
        "--fast", rich_help_panel=_DATABASE, help="Physical: begin the first backup at once, in a burst."
    ),
]
RepositoryOption = Annotated[
    list[str] | None,
    typer.Option(
        "--repository",
        metavar="NAME=URL",
        rich_help_panel=_PLACE,
        help="file:///directory or s3://bucket/prefix; again for each. With --add-target, NAME alone for "
        "one that is there.",
    ),
]
EndpointOption = Annotated[
    list[str] | None,
    typer.Option("--endpoint", metavar="NAME=URL", rich_help_panel=_PLACE, help="Servers other than AWS."),
]
RegionOption = Annotated[
    list[str] | None,
    typer.Option("--region", metavar="NAME=REGION", rich_help_panel=_PLACE, help="Of its bucket."),
]
AccessKeyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--access-key-id",
        metavar="NAME=ID",
        rich_help_panel=_PLACE,
        help="Its secret: PRA_REPOSITORIES__NAME__SECRET_ACCESS_KEY.",
    ),
]
ObjectLockOption = Annotated[
    list[str] | None,
    typer.Option("--object-lock", metavar="NAME", rich_help_panel=_PLACE, help="Its bucket has Object Lock."),
]
LanguageOption = Annotated[
    str | None, typer.Option("--language", metavar="en|fr", help="Of what people read; default: LANG's.")
]
SlackChannelOption = Annotated[
    str | None,
    typer.Option(
        "--slack-channel", metavar="CHANNEL", help="With PRA_ALERTS__SLACK_TOKEN in the environment."
    ),
]
SheetOption = Annotated[
    Path | None,
    typer.Option("--sheet", metavar="FILE", help="Where the recovery sheet is written: take it away."),
]
SendOption = Annotated[
    bool, typer.Option("--send/--no-send", help="A test message through each alert channel.")
]
BackupOption = Annotated[
    bool, typer.Option("--backup/--no-backup", help="Take the first backup and prove it.")
]
SqlOption = Annotated[
    bool, typer.Option("--sql", rich_help_panel=_ROLE, help="Print the SQL that makes the role, and leave.")
]
RoleOption = Annotated[
    str | None,
    typer.Option("--role", rich_help_panel=_ROLE, help="Its name; else the one in --dsn, or backup."),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option("--database", rich_help_panel=_ROLE, help="The database it backs up; else that of --dsn."),
]


def repositories_of(given: list[str], *, add_target: bool) -> dict[str, str]:
    """URLs by name; of a target that is added, a bare name is one that is there. Raises UsageError."""
    bare = [text for text in given if add_target and "=" not in text]
    full = [text for text in given if text not in bare]
    return dict.fromkeys(bare, "") | named_values("--repository", full)


def check_language(asked: str | None) -> str | None:
    """Raises UsageError for a language that there is not."""
    if asked is not None and asked not in ("en", "fr"):
        raise UsageError(f"no such language: {asked[:20]!r}", op="read options", hint="en or fr.")
    return asked
