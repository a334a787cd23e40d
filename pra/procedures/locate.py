"""Locate: the last moment at which a condition still held, to the transaction.

plan → span → fetch → coarse steps over the whole span → finer and finer steps inside the last flip.

Each step lets a throwaway server recover up to a position, pauses it there as a hot standby and asks.
Recovery only goes forward: going back means a fresh copy of an earlier state. One is kept, first the backup's
own, then the one before the last flip, so that at most two copies of the server lie on the disk.

The *last* moment is asked for. Where WAL is missing, the newest stretch of it is looked at, and it is said
that nothing before was: what is found there is the last one all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pra.engines.recovery import IMMEDIATE, LATEST, RecoveryTarget
from pra.errors import IntegrityError, PraError, UsageError
from pra.postgres.condition import as_query
from pra.procedures import physical_verify
from pra.procedures.context import Context
from pra.procedures.locate_span import find_span
from pra.procedures.locating import OP, Located, Request, Search, Told, search
from pra.procedures.recovering import Planned, choice_of, fetch, plan_recovery
from pra.procedures.session import open_session
from pra.timing import to_iso


@dataclass(frozen=True)
class Chosen:
    """Where to look.

    Attributes:
        planned: From which backup on, and all contiguous WAL behind it.
        skipped: The segment for want of which the span begins no earlier; else empty.
    """

    repository: str
    planned: Planned
    skipped: str = ""


def run(
    context: Context, request: Request, *, repository: str | None = None, told: Told | None = None
) -> Located:
    """Find the last moment at which the condition held.

    Raises:
        UsageError: It is no boolean, it writes, or it names what never existed in the span.
        NotFoundError: No backup lies before ``since``, or no transaction in the span; says what there is.
        IntegrityError: WAL is missing in the span; says where, and until when one can look.
        PostgresError: One question took longer than allowed.
    """
    as_query(request.condition)
    _check_span(request)
    chosen = choose_plan(context, request, repository)
    choice = choice_of(chosen.planned, context, chosen.repository)
    with open_session(context, choice, kind="locate") as session:
        session.planned = chosen.planned
        physical_verify.preflight(session)
        assert session.recovery is not None
        this = Search(session.recovery, request, told or (lambda _: None), skipped=chosen.skipped)
        span = find_span(this)  # first, from the WAL alone: a backup is a lot to fetch for a refusal
        fetch(session.recovery)
        return search(this, span)


def _check_span(request: Request) -> None:
    if request.since is not None and request.until is not None and request.since >= request.until:
        raise UsageError("the span ends before it begins", op=OP, hint="Give --from a moment before --until.")
    if request.steps < 2:
        raise UsageError("fewer than two steps", op=OP, hint="Give --steps at least 2.")


def choose_plan(context: Context, request: Request, repository: str | None) -> Chosen:
    """The chain that covers the span, from the first repository that can give it whole, else in part.

    Without ``since`` it is the newest chain that begins before ``until``, from its full backup on; where WAL
    is missing behind that, from its first backup whose WAL leads to the end of the span.
    """
    found: list[Chosen] = []
    failed: PraError | None = None
    for name in [repository] if repository else context.repositories:
        try:
            chosen = _choose(context, request, name)
        except PraError as error:
            failed = error
            continue
        if not chosen.skipped and _covers(chosen.planned, request.until):
            return chosen
        found.append(chosen)
    if found:
        return found[0]
    assert failed is not None  # there is at least one repository
    raise failed


def _choose(context: Context, request: Request, repository: str) -> Chosen:
    try:
        if request.since is not None:
            first = plan_recovery(context, repository, _time(request.since)).plan.manifest.backup_id
            return Chosen(repository, _plan(context, request, repository, first))
        members = _newest_chain(context, request.until, repository)
        planned = _plan(context, request, repository, members[0])
        if _covers(planned, request.until) or len(members) == 1:
            return Chosen(repository, planned)
        later = _first_that_covers(context, request, repository, members)
        return Chosen(repository, later, planned.plan.missing)
    except IntegrityError as error:
        hint = "Use another repository, or another span with --from and --until; see: pra windows"
        raise IntegrityError(error.message, op=OP, hint=hint) from None


def _newest_chain(context: Context, until: datetime | None, repository: str) -> list[str]:
    """The members that were taken before the end of the span, oldest first."""
    chain = plan_recovery(context, repository, IMMEDIATE).chain
    if until is not None and chain[0].taken_at > until:
        chain = plan_recovery(context, repository, _time(until)).chain
    return [member.backup_id for member in chain if until is None or member.taken_at <= until]


def _plan(context: Context, request: Request, repository: str, backup_id: str) -> Planned:
    """All contiguous WAL from this backup on, hole or not."""
    planned = plan_recovery(context, repository, LATEST, backup_id=backup_id)
    if request.until is not None and not planned.plan.missing:
        return plan_recovery(context, repository, _time(request.until), backup_id=backup_id)
    return planned


def _covers(planned: Planned, until: datetime | None) -> bool:
    """Whether the WAL leads to the end of the span, as far as the repository's clock can tell."""
    found = planned.plan
    return not found.missing or (until is not None and found.about is not None and until <= found.about)


def _first_that_covers(
    context: Context, request: Request, repository: str, members: Sequence[str]
) -> Planned:
    """By bisection: behind a member that covers the span's end every later one does. Else the last one."""
    low, high = 0, len(members) - 1
    found = _plan(context, request, repository, members[high])
    while high - low > 1:
        middle = (low + high) // 2
        planned = _plan(context, request, repository, members[middle])
        if _covers(planned, request.until):
            found, high = planned, middle
        else:
            low = middle
    return found


def _time(moment: datetime) -> RecoveryTarget:
    return RecoveryTarget("time", to_iso(moment))
