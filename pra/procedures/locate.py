"""Locate: the last moment at which a condition still held, to the transaction.

plan → fetch → assemble → coarse steps over the whole span → ever finer steps inside the last flip.

Each step replays a copy of the server up to a position, pauses it there as a hot standby and asks. Recovery
only goes forward: going back means a fresh copy of the state at the beginning of the interval, which is why
the state before the last flip is kept, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pra.engines.flips import Flip, Sample
from pra.procedures.context import Context

STEPS = 48
"""Coarse steps over the span; a flip and its opposite between two of them go unnoticed."""


@dataclass(frozen=True)
class Transaction:
    """A commit: ``lsn`` is where its record begins; ``at`` by the server's clock."""

    lsn: int
    xid: int
    at: datetime


@dataclass(frozen=True)
class Located:
    """What was found.

    Attributes:
        repository, backup_id: What was read.
        first, last: The span, as the samples at its ends.
        ended_by: The transaction after which the condition no longer held; None when it never held at any
            step, or still does at the end.
        held: The last state at which it held, as sampled; None when it held at none.
        flips: Every change that was noticed, in order.
        asked: How often the condition was asked.
        transactions: Commits between the two coarse steps around the last flip.
    """

    repository: str
    backup_id: str
    first: Sample
    last: Sample
    ended_by: Transaction | None
    held: Sample | None
    flips: tuple[Flip, ...]
    asked: int
    transactions: int


@dataclass(frozen=True)
class Request:
    """What to look for.

    Attributes:
        condition: A query that answers with one boolean, or an expression that is one.
        since, until: Commit times; None: the whole window of the newest chain.
        steps: Coarse steps; at least 2.
        seconds: Limit of one question.
    """

    condition: str
    since: datetime | None = None
    until: datetime | None = None
    steps: int = STEPS
    seconds: int = 60


Told = Callable[[Sample], None]
"""Hears every answer as it comes."""


def run(
    context: Context, request: Request, *, repository: str | None = None, told: Told | None = None
) -> Located:
    """Find the last moment at which the condition held.

    Raises:
        UsageError: It is no boolean, it writes, or it names what never existed in the span.
        NotFoundError: No backup lies before ``since``; says which range exists.
        PostgresError: One question took longer than allowed.
    """
    raise NotImplementedError
