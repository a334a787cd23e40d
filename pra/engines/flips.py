"""When did a condition stop holding? Where to look, and what the answers mean. Pure.

States are numbered along the WAL. A condition is asked at some of them; between two neighbours that answer
differently it flipped. The last flip from yes to no is what one looks for: its interval is looked into again,
more finely, until its two ends are neighbouring states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise


@dataclass(frozen=True)
class Sample:
    """One answer.

    Attributes:
        lsn: The position at which recovery was paused.
        at: When the last transaction replayed by then had committed; None when there was none.
        holds: The condition's answer; NULL is no.
        problem: Why it could not be asked there (no such table yet, or no longer), which is a no.
    """

    lsn: int
    at: datetime | None
    holds: bool
    problem: str = ""


@dataclass(frozen=True)
class Flip:
    """Two neighbouring samples with different answers."""

    before: Sample
    after: Sample

    @property
    def ends(self) -> bool:
        """From yes to no."""
        return self.before.holds


def positions(first: int, last: int, steps: int) -> tuple[int, ...]:
    """``steps`` evenly spaced numbers from ``first`` to ``last``, both included; no number twice.

    Example: from 0 to 10 in 5 steps they are 0, 2, 5, 7, 10.
    """
    if last <= first or steps < 2:
        return (first,) if last <= first else (first, last)
    return tuple(sorted({first + (last - first) * n // (steps - 1) for n in range(steps)}))


def flips(samples: Sequence[Sample]) -> tuple[Flip, ...]:
    """Every change of the answer, in order."""
    return tuple(Flip(one, other) for one, other in pairwise(samples) if one.holds is not other.holds)


def last_end(samples: Sequence[Sample]) -> Flip | None:
    """The last flip from yes to no; None when the answer was never yes, or still is at the end."""
    if not samples or samples[-1].holds:
        return None
    found = flips(samples)
    return found[-1] if found else None
