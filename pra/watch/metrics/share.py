"""Parts of a whole, with what nobody knows kept apart. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any


@dataclass(frozen=True)
class Share:
    """How much was good, bad and unknown, in one unit: samples, seconds, slots or tests."""

    good: float = 0
    bad: float = 0
    unknown: float = 0

    @property
    def value(self) -> float | None:
        """Good among what is known, 0 to 1; None where nothing is."""
        known = self.good + self.bad
        return self.good / known if known else None

    @property
    def unknown_part(self) -> float | None:
        """Unknown among all, 0 to 1; None where there is nothing at all."""
        every = self.good + self.bad + self.unknown
        return self.unknown / every if every else None

    def __add__(self, other: Share) -> Share:
        return Share(self.good + other.good, self.bad + other.bad, self.unknown + other.unknown)

    def as_json(self) -> dict[str, Any]:
        return {
            "good": round(self.good, 3),
            "bad": round(self.bad, 3),
            "unknown": round(self.unknown, 3),
            "share": None if self.value is None else round(self.value, 6),
        }


@dataclass(frozen=True)
class Period:
    """Whole days (UTC) and what there is of today: from ``since``, a midnight, up to ``until``."""

    since: datetime
    until: datetime

    @classmethod
    def back(cls, until: datetime, days: int) -> Period:
        """Today, and ``days`` days before it."""
        return cls(midnight(until) - timedelta(days=days), until)

    @classmethod
    def from_moment(cls, since: datetime, until: datetime) -> Period:
        """From the beginning of that day; of today where it lies ahead."""
        return cls(midnight(min(since, until)), until)

    @property
    def days(self) -> int:
        """How many days it touches."""
        return (midnight(self.until) - self.since).days + 1

    def holds(self, moment: datetime) -> bool:
        return self.since <= moment <= self.until

    def overlap(self, begin: datetime, end: datetime) -> float:
        """Seconds of an interval that lie inside."""
        return max(0.0, (min(end, self.until) - max(begin, self.since)).total_seconds())

    def as_json(self) -> dict[str, str]:
        return {"since": self.since.isoformat(), "until": self.until.isoformat()}


def midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def standing(proofs: Iterable[tuple[datetime, bool]], period: Period, longest: timedelta) -> Share:
    """Seconds of a period in which the last proof was good, was bad, or there was none that counts.

    A proof stands until the next one, and no longer than ``longest``: afterwards nobody knows.

    Args:
        proofs: When, and whether it was inside the objective; in any order, from before the period too.
    """
    ordered = sorted(proofs)
    good = bad = 0.0
    for number, (at, met) in enumerate(ordered):
        end = at + longest
        if number + 1 < len(ordered):
            end = min(end, ordered[number + 1][0])
        seconds = period.overlap(at, end)
        good, bad = (good + seconds, bad) if met else (good, bad + seconds)
    whole = (period.until - period.since).total_seconds()
    return Share(good, bad, max(0.0, whole - good - bad))
