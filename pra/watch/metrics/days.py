"""The daily compliance calendar: each day inside the objectives, outside, or unknown, and why. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from pra.model import Verdict
from pra.watch.metrics.facts import PROVING
from pra.watch.metrics.figures import Figures, Goals, History
from pra.watch.metrics.observed import DayTally
from pra.watch.metrics.share import Period, Share

ENOUGH = 0.9
"""A day is inside only if somebody looked in this part of its hours, and could say in as many samples."""


@dataclass(frozen=True)
class Day:
    """One day, UTC.

    Attributes:
        inside: None when too little is known to say so.
        missed: Keys of the objectives that were missed: ``rpo``, ``rto``, ``uptime``, ``backups``, ``tests``.
        uptime: Share of its samples. exposed: Seconds at worst. size: Bytes, at its end.
    """

    day: date
    inside: bool | None
    missed: tuple[str, ...]
    uptime: float | None
    exposed: float | None
    size: float | None

    def as_json(self) -> dict[str, Any]:
        return {
            "day": self.day.isoformat(),
            "inside": self.inside,
            "missed": list(self.missed),
            "uptime": None if self.uptime is None else round(self.uptime, 6),
            "exposed_seconds": None if self.exposed in (None, float("inf")) else self.exposed,
            "bytes": self.size,
        }


def calendar(history: History, figures: Figures) -> tuple[Day, ...]:
    """Every day of the figures' period."""
    period, goals = figures.period, history.goals
    late = {moment.date() for each in figures.repositories for moment in each.slots.missed}
    slow, wrong = _proofs(history, goals)
    found = []
    for day in _days(period):
        tally = history.observed.days.get(day, DayTally())
        uptime = Share(tally.up, tally.down, tally.unknown)
        missed = tuple(
            name
            for name, bad in (
                ("rpo", tally.outside > 0),
                ("rto", bool(slow[day])),
                ("uptime", uptime.value is not None and uptime.value < goals.uptime),
                ("backups", day in late),
                ("tests", bool(wrong[day])),
            )
            if bad
        )
        known = _is_known(day, tally, period)
        inside = False if missed else True if known else None
        found.append(Day(day, inside, missed, uptime.value, tally.exposed, tally.size))
    return tuple(found)


def _days(period: Period) -> Iterator[date]:
    for number in range(period.days):
        yield period.since.date() + timedelta(days=number)


def _proofs(history: History, goals: Goals) -> tuple[Counter[date], Counter[date]]:
    """By day: proofs that took too long, and proofs that failed."""
    slow: Counter[date] = Counter()
    wrong: Counter[date] = Counter()
    for fact in history.facts:
        if fact.kind in PROVING and fact.decided:
            slow[fact.at.date()] += fact.rto is not None and fact.rto > goals.rto.total_seconds()
            wrong[fact.at.date()] += fact.verdict == Verdict.FAIL
    return slow, wrong


def _is_known(day: date, tally: DayTally, period: Period) -> bool:
    samples = tally.up + tally.down + tally.unknown
    if not samples:
        return False
    hours = period.until.hour + 1 if day == period.until.date() else 24
    watched = tally.hours.bit_count() >= ENOUGH * hours
    return watched and max(tally.unknown, tally.blind) <= (1 - ENOUGH) * samples
