"""Figures against objectives: what is inside, what is outside, and what nobody knows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pra.watch.metrics.figures import Figures, Goals
from pra.watch.metrics.share import Share

Unit = Literal["seconds", "share"]


@dataclass(frozen=True)
class Judgement:
    """One objective over one period.

    Attributes:
        name: Its key, the same in every language.
        goal, actual: In ``unit``. ``actual`` None: unknown; infinity: everything would have been lost.
        more_is_better: Shares are to reach their goal, durations to stay below it.
        nothing: Nothing happened that could have missed it, such as no incident: neither good nor bad.
    """

    name: str
    unit: Unit
    goal: float
    actual: float | None
    more_is_better: bool
    nothing: bool = False

    @property
    def met(self) -> bool | None:
        if self.actual is None:
            return None
        return self.actual >= self.goal if self.more_is_better else self.actual <= self.goal

    def as_json(self) -> dict[str, Any]:
        known = self.actual is not None and self.actual != float("inf")
        return {
            "objective": self.name,
            "unit": self.unit,
            "goal": self.goal,
            "actual": self.actual if known else None,
            "met": self.met,
        }


def judged(figures: Figures, goals: Goals) -> tuple[Judgement, ...]:
    """Every objective, in the order in which people ask."""
    rpo, rto = goals.rpo.total_seconds(), goals.rto.total_seconds()
    tests = figures.tests.results
    found = [
        _below("rpo", rpo, figures.exposure.worst),
        _reached("rpo_share", 1.0, figures.exposure.inside),
        _below("rpo_proven", rpo, figures.proven_rpo.worst),
        _below("rto", rto, figures.rto.worst),
        _reached("rto_share", 1.0, figures.rto.inside),
        _reached("uptime", goals.uptime, figures.uptime),
        _reached("backups", goals.backups, figures.backups),
        _reached("tests", goals.tests, tests),
    ]
    for each in figures.incidents:
        # An open incident has no mean yet; past its limit it has missed the objective all the same.
        late = each.count - each.in_time
        actual = max(each.mttr or 0.0, each.longest or 0.0) if late and each.open else each.mttr
        found.append(
            Judgement(f"mttr_{each.severity.lower()}", "seconds", each.limit, actual, False, not each.count)
        )
    return tuple(found)


def _below(name: str, goal: float, actual: float | None) -> Judgement:
    return Judgement(name, "seconds", goal, actual, False)


def _reached(name: str, goal: float, share: Share) -> Judgement:
    return Judgement(name, "share", goal, share.value, True)


def overall(judgements: Sequence[Judgement], *, problems: bool = False) -> bool | None:
    """Inside all objectives. None: one is unknown, or there are records that cannot be believed."""
    if any(each.met is False for each in judgements):
        return False
    unknown = any(each.met is None and not each.nothing for each in judgements)
    return None if unknown or problems else True
