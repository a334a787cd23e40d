"""The guarded restore: into a new place only, to a moment that is chosen from what there is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import Any, Literal

from prefect.input import RunInput
from pydantic import Field, create_model

from checks import Checks
from pra.engines.recovery import IMMEDIATE, LATEST, RecoveryTarget, parse_target
from pra.errors import NotFoundError, PraError, UsageError
from pra.manifest import Manifest
from pra.procedures import physical_restore, session
from pra.procedures import restore as logical_restore
from pra.procedures.context import Context
from pra.procedures.destination import Destination, check_destination
from pra.procedures.judging import VerifyReport
from pra.procedures.physical_plan import Wishes
from pra.procedures.planning import plan_recovery
from pra.procedures.windows import windows
from pra.timing import utc_now
from tasks.emergency import wait_for
from tasks.step import Handle, discreet, step
from tasks.work import Work

NEWEST = "newest"
RECENT = 5
"""So many base backups are offered."""
_OP = "choose moment"


@dataclass(frozen=True)
class Choice:
    """What is restored. ``backup_id`` None: the one that fits the moment."""

    moment: RecoveryTarget = LATEST
    backup_id: str | None = None


Chosen = Handle[Choice]


def place_of(work: Work, into: str) -> Destination:
    """Where it goes.

    Raises:
        UsageError: Not the absolute path of a folder that is still to be made, or empty.
    """
    with discreet():
        if not into.startswith("/") or "://" in into:
            raise UsageError(
                f"not the path of a new folder: {into[:120]!r}",
                op="check destination",
                hint="Write an absolute path on the worker's machine; into a database: pra restore --into",
            )
        destination = Destination.parse(into)
        entries = _manifests(work.held, "")
        check_destination(destination, entries[0][1])
        return destination


def _manifests(context: Context, repository: str) -> list[tuple[str, Manifest]]:
    """Repository and manifest of every backup, the newest first, from the first repository that answers.

    Raises:
        NotFoundError: There is none.
    """
    failure: PraError | None = None
    for name in [repository] if repository else list(context.repositories):
        try:
            entries = context.catalog(name).backups()
        except PraError as error:
            failure = failure or error
            continue
        found = [(name, entry.manifest) for entry in entries if entry.manifest is not None]
        if found:
            return sorted(found, key=lambda each: each[1].taken_at, reverse=True)
    raise failure or NotFoundError(
        f"there is no backup of {context.target.name}", op=_OP, hint="Take one with: pra backup"
    )


def choose(work: Work, repository: str, *, minutes: int) -> Chosen:
    """Pause the run with a form made of the moments that there are.

    Raises:
        UsageError: What was typed is no moment.
    """
    context = work.held
    with discreet():
        form, physical = _form(context, repository)
    given = wait_for(form, minutes * 60)
    with discreet():
        return Handle(
            read_choice(
                str(getattr(given, "backup", NEWEST)), getattr(given, "moment", ""), physical=physical
            )
        )


def read_choice(backup: str, moment: str, *, physical: bool) -> Choice:
    """What was chosen: a moment that was typed goes before a backup that was picked.

    Raises:
        UsageError: It is no moment.
    """
    if moment.strip():
        return Choice(parse_target(moment, now=utc_now(), zone=UTC))
    backup_id = None if backup == NEWEST else backup.split()[0]
    if physical and backup_id is not None:
        return Choice(IMMEDIATE, backup_id)
    return Choice(LATEST, backup_id)


def _form(context: Context, repository: str) -> tuple[type[RunInput], bool]:
    found = _manifests(context, repository)
    physical = context.target.engine == "physical"
    recent = [m for _, m in found if (m.physical is not None) == physical][:RECENT]
    options = (NEWEST, *(f"{m.backup_id} ({m.taken_at:%Y-%m-%d %H:%M:%S} UTC)" for m in recent))
    picked = Field(default=NEWEST, description="newest: all that can be had. Else a backup as it was taken.")
    # The choices are known only now.
    fields: dict[str, Any] = {"backup": (Literal[options], picked)}
    words = f"Restore {context.target.name} to which moment?"
    if physical:
        typed = Field(
            default="",
            description="Or a time in UTC such as 2026-11-22 10:00, name:RESTORE-POINT, lsn:… or xid:….",
            max_length=100,
        )
        fields["moment"] = (str, typed)
        words = f"{words}\n\n{_ranges(context)}"
    made = create_model("Moment", __base__=RunInput, **fields)
    return made.with_initial_data(description=words), physical


def _ranges(context: Context) -> str:
    """From when to when each repository leads, as Markdown."""
    lines = [
        f"- {each.repository}: {each.from_time:%Y-%m-%d %H:%M:%S} to {each.to_time:%Y-%m-%d %H:%M:%S} UTC"
        for each in windows(context).items
    ]
    return "\n".join(lines) or "No window is known."


@step("restore", retries=0)
def restore(
    work: Work, repository: str, chosen: Chosen, destination: Handle[Destination]
) -> Handle[VerifyReport]:
    context, choice = work.held, chosen.held
    names = [repository] if repository else list(context.repositories)
    if context.target.engine != "physical":
        picked = session.choose(context, choice.backup_id or NEWEST, names[0])
        report, _ = logical_restore.run(context, Checks(), picked, destination.held)
        return Handle(report)
    failure: PraError | None = None
    for name in names:
        try:
            planned = plan_recovery(context, name, choice.moment, backup_id=choice.backup_id)
        except PraError as error:
            failure = failure or error
            continue
        done = physical_restore.run(context, Checks(), planned, destination.held, Wishes())
        return Handle(done.report)
    raise failure or NotFoundError("no repository", op=_OP)
