"""One target's metrics: week, month, the period asked for and its days, and what is to come. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pra.drill.record import DRILL
from pra.loadtest.forecast import Forecast, Point, forecast
from pra.watch.metrics.days import Day, calendar
from pra.watch.metrics.facts import PROVING, Fact, Incident
from pra.watch.metrics.figures import Figures, Goals, History, figures
from pra.watch.metrics.judge import Judgement, judged, overall
from pra.watch.metrics.share import Period

WEEK, MONTH = 7, 30
"""Days before today."""


@dataclass(frozen=True)
class TargetMetrics:
    """Everything that is shown of one target.

    Attributes:
        chosen: Of the period that was asked for; its days are ``days``.
        proofs: Verifications, restores, drills and failovers of that period that ended with a verdict.
        last_drill: The newest that ended with a verdict; ``drill_in_time``: it is young enough.
        first_at: The oldest of everything that is known. sampled_at: The newest sample.
        problems: What could not be read or believed.
    """

    target: str
    at: datetime
    goals: Goals
    week: Figures
    month: Figures
    chosen: Figures
    days: tuple[Day, ...]
    proofs: tuple[Fact, ...]
    incidents: tuple[Incident, ...]
    last_drill: Fact | None
    forecast: Forecast
    first_at: datetime | None
    sampled_at: datetime | None
    problems: tuple[str, ...]

    @property
    def judgements(self) -> tuple[Judgement, ...]:
        return judged(self.chosen, self.goals)

    @property
    def inside(self) -> bool | None:
        """Inside every objective over the chosen period; None: not known."""
        return self.inside_of(self.chosen)

    def inside_of(self, figures: Figures) -> bool | None:
        return overall(judged(figures, self.goals), problems=bool(self.problems))

    @property
    def drill_in_time(self) -> bool | None:
        if self.last_drill is None:
            return None
        return self.at - self.last_drill.at <= self.goals.drill_every

    @property
    def empty(self) -> bool:
        """There is no record of anything."""
        return self.first_at is None


def measured(history: History, since: datetime) -> TargetMetrics:
    """What the history says.

    Args:
        since: Where the chosen period begins; its whole first day counts.
    """
    now = history.now
    chosen = figures(history, Period.from_moment(since, now))
    drills = [fact for fact in history.facts if fact.kind == DRILL and fact.decided]
    return TargetMetrics(
        target=history.target,
        at=now,
        goals=history.goals,
        week=figures(history, Period.back(now, WEEK)),
        month=figures(history, Period.back(now, MONTH)),
        chosen=chosen,
        days=calendar(history, chosen),
        proofs=tuple(
            f for f in history.facts if f.kind in PROVING and f.decided and chosen.period.holds(f.at)
        ),
        incidents=tuple(i for i in history.observed.incidents if chosen.period.holds(i.opened_at)),
        last_drill=drills[-1] if drills else None,
        forecast=forecast(_points(history), history.goals.rto.total_seconds()),
        first_at=_first(history),
        sampled_at=history.observed.last_at,
        problems=_problems(history),
    )


def _points(history: History) -> list[Point]:
    """Restores that were timed from their start; one that counts from a disaster includes people."""
    return [
        Point(fact.at, fact.read_bytes, fact.rto)
        for fact in history.facts
        if fact.kind in PROVING and not fact.disaster and fact.read_bytes and fact.rto
    ]


def _first(history: History) -> datetime | None:
    moments = [fact.at for fact in history.facts[:1]]
    moments += [backup.at for listed in history.backups.values() for backup in listed]
    if history.observed.first_at is not None:
        moments.append(history.observed.first_at)
    return min(moments, default=None)


def _problems(history: History) -> tuple[str, ...]:
    found = list(history.problems)
    if history.observed.future:
        found.append(f"{history.observed.future} samples lie in the future: a clock was wrong")
    return tuple(found)
