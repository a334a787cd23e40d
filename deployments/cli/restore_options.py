"""What ``pra restore`` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from deployments.cli import completion
from pra.engines.recovery import LATEST, RecoveryTarget
from pra.errors import UsageError
from pra.procedures.destination import Destination
from pra.settings import Target

TargetArgument = Annotated[
    str,
    typer.Argument(metavar="TARGET", help="Whose backup to restore.", autocompletion=completion.targets),
]
IntoOption = Annotated[
    str,
    typer.Option(
        "--into",
        metavar="DSN|DIR",
        help="A data directory to create, or an empty database. Password: PGPASSWORD or PGPASSFILE.",
    ),
]
BackupOption = Annotated[
    str, typer.Option("--backup", metavar="newest|ID", help="Which backup; a physical one is the start.")
]
ToOption = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="TARGET",
        help="Physical: a time (2026-11-22 10:00, 5 minutes ago), an LSN, xid:N, name:POINT, or latest.",
    ),
]
ExclusiveOption = Annotated[
    bool, typer.Option("--exclusive", help="Stop just before what --to names, not behind it.")
]
RepositoryOption = Annotated[
    str | None, typer.Option("--repository", metavar="NAME", help="Read it from here and nowhere else.")
]
TableOption = Annotated[
    list[str] | None,
    typer.Option("--table", metavar="NAME", help="Only this table, into a schema of its own. Repeatable."),
]
TablespaceOption = Annotated[
    list[str] | None,
    typer.Option("--tablespace", metavar="OLD=NEW", help="Where a tablespace goes now. Repeatable."),
]
DisasterOption = Annotated[
    str | None,
    typer.Option(
        "--disaster-at", metavar="TIME", help="When the service was lost: RPO and RTO count from then."
    ),
]
NoProofOption = Annotated[
    bool, typer.Option("--no-proof", help="Physical: do not stop to compare every table; PARTIAL at best.")
]
AcceptOption = Annotated[
    str | None,
    typer.Option(
        "--accept-unverified",
        metavar="TARGET",
        help="Restore although the signature is bad or missing: type the target's name again. Recorded.",
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print the plan and restore nothing.")]


@dataclass(frozen=True)
class Asked:
    """The options, read. ``to`` None: not said."""

    destination: Destination
    backup: str
    to: RecoveryTarget | None
    repository: str | None
    tables: tuple[str, ...]
    tablespaces: dict[str, Path]
    disaster_at: datetime | None
    proof: bool
    accept_unverified: bool

    @property
    def only_physical(self) -> str:
        """An option that a logical backup has no use for; empty when there is none."""
        said = {
            "--to": self.to is not None,
            "--tablespace": bool(self.tablespaces),
            "--no-proof": not self.proof,
            "--disaster-at": self.disaster_at is not None,
        }
        return next((option for option, given in said.items() if given), "")


def check_accepted(target: Target, accept_unverified: str | None) -> bool:
    """Whether the target's name was typed again. Raises UsageError for another one."""
    if accept_unverified not in (None, target.name):
        raise UsageError(
            f"--accept-unverified names {accept_unverified!r}, not the target",
            op="accept backup",
            hint=f"Type the target's name: --accept-unverified {target.name}",
        )
    return accept_unverified is not None


def read_tablespaces(pairs: list[str] | None) -> dict[str, Path]:
    """``OLD=NEW`` as a mapping; an equals sign within a path is written ``\\=``, as pg_basebackup wants it.

    Raises:
        UsageError: Not of that form, not absolute, or one named twice.
    """
    found: dict[str, Path] = {}
    for pair in pairs or []:
        parts = pair.replace("\\=", "\0").split("=")
        old, new = ([part.replace("\0", "=") for part in parts] + ["", ""])[:2]
        if len(parts) != 2 or not old.startswith("/") or not new.startswith("/"):
            raise UsageError(
                f"--tablespace {pair[:120]!r} is not OLD=NEW",
                op="read tablespaces",
                hint="Write two absolute paths, such as --tablespace /mnt/old=/mnt/new.",
            )
        if old in found or Path(new) in found.values():
            raise UsageError(
                f"--tablespace names {old} or {new} again",
                op="read tablespaces",
                hint="Give each its own folder.",
            )
        found[old] = Path(new)
    return found


def check_way(asked: Asked, *, physical: bool) -> None:
    """Refuse what this engine cannot do.

    Raises:
        UsageError: It says what can be done instead.
    """
    if not physical and asked.only_physical:
        raise UsageError(
            f"{asked.only_physical} needs a physical backup, and this one is logical",
            op="plan restore",
            hint='Restore it without; or set engine = "physical" so that later ones can.',
        )
    if asked.tables and asked.destination.server is None:
        raise UsageError(
            "--table needs a database",
            op="read destination",
            hint="Give --into the DSN of the live database.",
        )
    if physical and asked.tables and asked.tablespaces:
        raise UsageError(
            "--tablespace and --table exclude each other",
            op="read destination",
            hint="Tables come out of a throwaway server, whose tablespaces go with it.",
        )
    if physical and not asked.tables and asked.destination.directory is None:
        raise UsageError(
            "a physical backup is a whole server and cannot go into a database",
            op="read destination",
            hint="Give --into a new folder; or bring back tables beside the live ones with --table NAME.",
        )


def target_of(asked: Asked) -> RecoveryTarget:
    """Where a physical restore ends.

    Raises:
        UsageError: A backup was named and no moment: the latest state is hardly what was meant.
    """
    if asked.to is not None:
        return asked.to
    if asked.backup == "newest":
        return LATEST
    raise UsageError(
        "a physical backup can be recovered to any later moment, and --to does not say which",
        op="plan restore",
        hint=f"Add --to latest, --to immediate (the end of {asked.backup}), or --to TIME.",
    )
