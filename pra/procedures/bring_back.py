"""Bring a lost server back: newest usable backup, recovered, kept; started and asked by whoever called.

What a drill and a failover have in common. Unlike `physical_restore.run` it does not ask its questions before
the directory is kept: the service comes first, and is proven while it serves. It is compared exactly with
what was saved on the way, at the cut. A backup that turns out to be damaged is passed over, aloud, for the
one before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from pra.engines.recovery import LATEST, RecoveryTarget
from pra.errors import IntegrityError, ObjectMissing, PraError, RestoreError, TargetPassed
from pra.model import CheckResult, Status
from pra.postgres.connect import Server
from pra.procedures import physical_restore, recovering
from pra.procedures.context import Context
from pra.procedures.destination import Destination
from pra.procedures.judging import unverified_check
from pra.procedures.physical_plan import Wishes
from pra.procedures.planning import Planned, choice_of, plan_recovery
from pra.procedures.recovered import describe
from pra.procedures.session import Session, check_all, open_session
from pra.restored import CheckSet, RestoredDatabase

_log = logging.getLogger(__name__)
_ROTTEN = (IntegrityError, ObjectMissing)


@dataclass(frozen=True)
class Wanted:
    """What to bring back, and whence.

    Attributes:
        repositories: Where to look, the preferred one first.
        proof: Stop at the cut and compare every table.
        tablespaces: Old location → new folder; None: each beside the data directory, as ``ts-<oid>``.
    """

    repositories: tuple[str, ...]
    target: RecoveryTarget = LATEST
    backup_id: str | None = None
    disaster_at: datetime | None = None
    proof: bool = True
    tablespaces: Mapping[str, Path] | None = field(default_factory=dict)


@dataclass
class BroughtBack:
    """A kept data directory, and what is known of it; valid while `bring_back` is open.

    Attributes:
        passed_over: Newer backups or other repositories that could not be used, one sentence each.
        last_commit, reached: The last transaction that came back, and where recovery ended.
        notes: What was changed so that it starts by itself.
    """

    session: Session
    planned: Planned
    directory: Path
    database: RestoredDatabase
    passed_over: tuple[str, ...] = ()
    last_commit: datetime | None = None
    reached: int | None = None
    notes: tuple[str, ...] = ()
    extra: list[CheckResult] = field(default_factory=list)

    def check(self, server: Server, checks: CheckSet) -> tuple[list[CheckResult], tuple[str, ...]]:
        """Ask every question of the server that now serves from the directory.

        Returns:
            The answers, and the names without which no verdict can be PASS.
        """
        database = replace(self.database, server=server)
        self.session.database = database
        required = tuple(checks.required(database))
        return [*checks.ruled_out(database), *check_all(self.session, checks), *self.extra], required


@contextmanager
def bring_back(context: Context, wanted: Wanted, directory: Path) -> Iterator[BroughtBack]:
    """Recover into a new data directory; what was begun of it is gone again after a failure.

    Raises:
        PraError: No repository and no backup leads there; the first reason.
    """
    with ExitStack() as stack:
        yield _first_that_works(context, wanted, directory, stack)


def _first_that_works(context: Context, wanted: Wanted, directory: Path, stack: ExitStack) -> BroughtBack:
    passed_over: list[str] = []
    failure: PraError | None = None
    for repository in wanted.repositories:
        for backup_id in _candidates(context, repository, wanted):
            with ExitStack() as attempt:
                try:
                    planned = plan_recovery(context, repository, wanted.target, backup_id=backup_id)
                    found = _recover(context, planned, wanted, directory, attempt)
                except PraError as error:
                    if context.scope.closed or not isinstance(error, _ROTTEN):
                        raise
                    failure = failure or error
                    which = backup_id or "the newest backup"
                    passed_over.append(f"{repository}, {which}: {error.message}")
                    _log.warning("passed over: %s", passed_over[-1])
                    continue
                found.passed_over = tuple(passed_over)
                stack.push(attempt.pop_all())
                return found
    raise failure or RestoreError("no backup leads there", op="plan recovery", hint="See: pra windows")


def _candidates(context: Context, repository: str, wanted: Wanted) -> list[str | None]:
    """The backup that was asked for; else every base backup that may lead there, the newest first."""
    if wanted.backup_id is not None:
        return [wanted.backup_id]
    try:
        first = plan_recovery(context, repository, wanted.target).plan.manifest
    except _ROTTEN as error:
        _log.warning("%s: %s", repository, error.message)
        first = None
    ids = [
        entry.backup_id
        for entry in sorted(context.catalog(repository).backups(), key=lambda e: e.taken_at, reverse=True)
        if entry.manifest is not None
        and entry.manifest.physical is not None
        and (first is None or entry.taken_at <= first.taken_at)
    ]
    return [*ids] or [None]


def _recover(
    context: Context, planned: Planned, wanted: Wanted, directory: Path, stack: ExitStack
) -> BroughtBack:
    wishes = Wishes(
        _tablespaces(planned, wanted, directory), disaster_at=wanted.disaster_at, proof=wanted.proof
    )
    choice = choice_of(planned, context, planned.plan.repository)
    session = stack.enter_context(open_session(context, choice, kind="restore"))
    undertaking = physical_restore.preflight(session, planned, Destination.parse(str(directory)), wishes)
    this = undertaking.recovery
    recovering.fetch(this)
    with recovering.open_server(this):
        try:
            physical_restore.recover(this, wishes)
        except TargetPassed as error:
            raise RestoreError(error.message, op=error.op, hint="Bring it back without proof.") from None
        database = describe(this, sandboxed=False)
    notes = physical_restore.keep(undertaking)
    extra = [unverified_check(choice)] if choice.unverified else []
    return BroughtBack(
        session,
        planned,
        directory,
        database,
        (),
        this.last_commit,
        this.reached,
        notes,
        [*extra, _pages(this)],
    )


def _tablespaces(planned: Planned, wanted: Wanted, directory: Path) -> Mapping[str, Path]:
    if wanted.tablespaces is not None:
        return wanted.tablespaces
    facts = planned.plan.manifest.physical
    spaces = facts.tablespaces if facts is not None else ()
    return {space.location: directory.parent / f"ts-{space.oid}" for space in spaces}


def _pages(this: recovering.Recovery) -> CheckResult:
    """Reading every page wants a stopped server, and this one serves."""
    if not this.planned.plan.manifest.server.data_checksums:
        reason = "the server was initialized without data checksums"
    else:
        reason = "the server is in service: amcheck and the comparison of contents read its pages"
    return CheckResult("page-checksums", Status.NOT_APPLICABLE, reason=reason)
