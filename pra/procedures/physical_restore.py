"""Restore a physical backup for real: a new data directory, recovered to the target, proven on the way.

plan → preflight → fetch → recover to the cut → compare → roll on → promote → checks → keep → evidence.

The directory is built beside its final name and renamed once it is whole; it then starts by itself, with
archiving off, no slots, and a timeline of its own. Tablespaces are built where they will stay, since links to
them are absolute; what is left of them after a failure is removed.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pra import ephemeral
from pra.engines.cut import NoCut
from pra.errors import RestoreError, TargetPassed, UsageError
from pra.keys import load_identities
from pra.postgres.tools import find_tools
from pra.procedures.capacity import check_chain_space
from pra.procedures.context import Context
from pra.procedures.destination import (
    Destination,
    check_destination,
    check_reach,
    owner_of,
    place_tablespaces,
)
from pra.procedures.judging import VerifyReport, conclude
from pra.procedures.physical_plan import Wishes, needs
from pra.procedures.recovered import check_pages, describe
from pra.procedures.recovering import (
    Planned,
    Recovery,
    choice_of,
    compare_at_cut,
    fetch,
    open_server,
    recover_to_cut,
    roll_on,
)
from pra.procedures.session import Session, check_all, open_session
from pra.restored import CheckSet
from pra.storage.files import sync
from pra.timing import to_iso

PHASES = ("preflight", "fetch", "recover", "compare", "roll on", "checks", "keep", "evidence")


@dataclass(frozen=True)
class Restored:
    """What came back.

    Attributes:
        last_commit: When the last transaction that came back had committed; None when none was replayed.
        reached: The position at which recovery ended.
        notes: What was changed so that the directory starts by itself, one sentence each.
    """

    report: VerifyReport
    last_commit: datetime | None
    reached: int | None
    notes: tuple[str, ...] = ()


def check(planned: Planned, destination: Destination, wishes: Wishes) -> dict[int, Path]:
    """Refuse a destination that cannot receive this server, before anything is fetched.

    Returns:
        Where each tablespace goes, by OID.

    Raises:
        UsageError: A database, a folder with something in it, or a tablespace without a place.
    """
    manifest = planned.plan.manifest
    if destination.directory is None:
        raise UsageError(
            "a physical backup is a whole server and cannot go into a database",
            op="check destination",
            hint="Give --into a new folder.",
        )
    check_destination(destination, manifest)
    assert manifest.physical is not None
    return place_tablespaces(manifest.physical.tablespaces, wishes.tablespaces, destination.directory)


@dataclass
class _Undertaking:
    """One real restore under way. ``kept``: the directory has its name, nothing is removed any more."""

    recovery: Recovery
    directory: Path
    kept: bool = False


def run(
    context: Context, checks: CheckSet, planned: Planned, destination: Destination, wishes: Wishes
) -> Restored:
    """Drive the whole procedure.

    Raises:
        PraError: Nothing was restored, and nothing is left of what was begun.
    """
    disaster = wishes.disaster_at or context.clock()
    choice = choice_of(planned, context, planned.plan.repository)
    with open_session(context, choice, kind="restore") as session:
        undertaking = preflight(session, planned, destination, wishes)
        this = undertaking.recovery
        fetch(this)
        with open_server(this):
            recover(this, wishes)
            came_back = this.last_commit or planned.plan.manifest.taken_at
            session.rpo_seconds = rpo_seconds(disaster, came_back)
            session.database = describe(this, sandboxed=False)
            required = checks.required(session.database)
            results = [*checks.ruled_out(session.database), *check_all(session, checks), check_pages(this)]
        # First kept, then recorded: a repository that is out of reach must not cost a finished restore.
        notes = keep(undertaking)
        extra = {"destination": destination.text}
        if wishes.disaster_at is not None:
            extra["disaster_at"] = to_iso(wishes.disaster_at)
        report = conclude(session, results, required=required, extra=extra)
        return Restored(report, this.last_commit, this.reached, notes)


def recover(this: Recovery, wishes: Wishes) -> None:
    """Up to the target and out of recovery; the RTO clock stops when the server takes writes."""
    session = this.session
    if wishes.proof:
        try:
            recover_to_cut(this)
        except TargetPassed as error:
            hint = "Restore with --no-proof: it goes to its target without a stop where tables are compared."
            raise RestoreError(error.message, op=error.op, hint=hint) from None
        compare_at_cut(this)
    else:
        this.cut = NoCut("the restore was asked for without proof")
    roll_on(this)
    restoring = time.monotonic() - session.started - this.compared_seconds
    assert session.started_at is not None
    session.rto_seconds = waited_seconds(wishes.disaster_at, session.started_at) + restoring


def waited_seconds(disaster: datetime | None, started: datetime) -> float:
    """How long the service had been lost when its restore began; 0 where nobody said."""
    return 0.0 if disaster is None else max((started - disaster).total_seconds(), 0.0)


def rpo_seconds(disaster: datetime, last_commit: datetime) -> float:
    """From the commit of the last transaction that came back to the disaster; never negative."""
    return max((disaster - last_commit).total_seconds(), 0.0)


def preflight(session: Session, planned: Planned, destination: Destination, wishes: Wishes) -> _Undertaking:
    """Refuse before anything is fetched or written; then make the staging folder.

    Raises:
        UsageError: The destination cannot receive this server.
        SpaceError, ToolError, DecryptError: As their messages say.
    """
    context, directory = session.context, destination.directory
    settings = context.settings
    with session.timeline.phase("preflight"):
        tablespaces = check(planned, destination, wishes)
        assert directory is not None
        if session.manifest.encryption == "age":
            session.identities = load_identities(settings.encryption, context.state_dir)
        major = session.manifest.server.version_num // 10000
        session.tools = find_tools(major, settings.postgres.bindir, needs=needs(planned))
        check_chain_space(planned.chain, directory.parent)
        account = owner_of(directory)
        for folder in (directory, *tablespaces.values()):
            if account is not None:
                check_reach(folder, account)
        prefix = f".{directory.name}.pra-partial-"
        ephemeral.sweep(directory.parent, prefix)  # left by a restore that was killed
        folder = session.stack.enter_context(ephemeral.ephemeral(directory.parent, prefix))
        if account is not None:
            os.chown(folder, account.uid, account.gid)
        this = Recovery(session, planned, folder / "data", account, durable=True, tablespaces=tablespaces)
        undertaking = _Undertaking(this, directory)
        session.recovery = this
        session.stack.enter_context(_tablespace_folders(undertaking))
        return undertaking


@contextmanager
def _tablespace_folders(this: _Undertaking) -> Iterator[None]:
    """Whatever was put there is removed again, unless the restore has been kept."""
    chosen = list(this.recovery.tablespaces.values())
    fresh = [place for place in chosen if not place.exists()]
    try:
        yield
    finally:
        if not this.kept:
            for place in chosen:
                _empty(place, remove=place in fresh)


def _empty(place: Path, *, remove: bool) -> None:
    if remove:
        shutil.rmtree(place, ignore_errors=True)
        return
    for entry in place.iterdir():
        shutil.rmtree(entry, ignore_errors=True)


def keep(this: _Undertaking) -> tuple[str, ...]:
    """Make the finished data directory start by itself, and give it its name.

    Returns:
        What was changed or could not be kept, one sentence each.
    """
    from pra.postgres.startable import make_startable

    recovery, directory = this.recovery, this.directory
    session, assembled = recovery.session, recovery.assembled
    assert assembled is not None
    assert session.tools is not None
    with session.timeline.phase("keep"):
        notes = make_startable(recovery.data, configuration=assembled.configuration, tools=session.tools)
        if directory.exists():
            directory.rmdir()  # empty, or this fails
        recovery.data.rename(directory)
        this.kept = True
        sync(directory.parent)
    return tuple(notes)
