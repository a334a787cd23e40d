"""Locate: the last moment at which a condition still held, to the transaction.

plan → fetch → coarse steps over the whole span → finer and finer steps inside the last flip.

Each step lets a throwaway server recover up to a position, pauses it there as a hot standby and asks.
Recovery only goes forward: going back means a fresh copy of an earlier state. One is kept, first the backup's
own, then the one before the last flip, so that at most two copies of the server lie on the disk.
"""

from __future__ import annotations

from contextlib import suppress

from pra.engines.recovery import LATEST, RecoveryTarget
from pra.errors import PraError, UsageError
from pra.postgres.condition import as_query
from pra.procedures import physical_verify
from pra.procedures.context import Context
from pra.procedures.locating import OP, Located, Request, Search, Told, search
from pra.procedures.recovering import Planned, choice_of, fetch, plan_recovery
from pra.procedures.session import open_session
from pra.timing import to_iso


def run(
    context: Context, request: Request, *, repository: str | None = None, told: Told | None = None
) -> Located:
    """Find the last moment at which the condition held.

    Raises:
        UsageError: It is no boolean, it writes, or it names what never existed in the span.
        NotFoundError: No backup lies before ``since``; says which range exists.
        PostgresError: One question took longer than allowed.
    """
    as_query(request.condition)
    _check_span(request)
    name, planned = choose_plan(context, request, repository)
    with open_session(context, choice_of(planned, context, name), kind="locate") as session:
        session.planned = planned
        physical_verify.preflight(session)
        assert session.recovery is not None
        fetch(session.recovery)
        return search(Search(session.recovery, request, told or (lambda _: None)))


def _check_span(request: Request) -> None:
    if request.since is not None and request.until is not None and request.since >= request.until:
        raise UsageError("the span ends before it begins", op=OP, hint="Give --from a moment before --until.")
    if request.steps < 2:
        raise UsageError("fewer than two steps", op=OP, hint="Give --steps at least 2.")


def choose_plan(context: Context, request: Request, repository: str | None) -> tuple[str, Planned]:
    """The chain that covers the span, from the first repository that can give it.

    Without ``since`` it is the newest chain, from its full backup on.
    """
    *others, last = [repository] if repository else context.repositories
    for name in others:
        with suppress(PraError):
            return name, _plan(context, request, name)
    return last, _plan(context, request, last)


def _plan(context: Context, request: Request, repository: str) -> Planned:
    if request.since is None:
        backup_id = plan_recovery(context, repository, LATEST).chain[0].backup_id
    else:
        since = RecoveryTarget("time", to_iso(request.since))
        backup_id = plan_recovery(context, repository, since).plan.manifest.backup_id
    # All contiguous WAL belongs to a plan; a gap matters only where it lies before the end of the span.
    until = LATEST if request.until is None else RecoveryTarget("time", to_iso(request.until))
    return plan_recovery(context, repository, until, backup_id=backup_id)
