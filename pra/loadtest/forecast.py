"""When the RTO will no longer hold: size and restore speed of the past, drawn on. Pure.

The size of what is restored is fitted by a straight line through time (least squares). It is divided by the
median speed of the last few restores. Where that quotient reaches the RTO lies the date. A line rests on
points: with fewer than three, or with all of them on one day, the date is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any, Literal, Self

from pra.messages import mark
from pra.timing import from_iso, to_iso

LEAST_POINTS = 3
LEAST_SPAN = timedelta(days=1)
LAST = 5
"""Of how many restores, the newest ones, the median speed is taken."""
_FEW = mark("fewer than 3 restores are on record")
_ONE_DAY = mark("all restores on record lie within one day")
FAR = timedelta(days=100 * 365)
State = Literal["unknown", "holds", "until", "broken"]


@dataclass(frozen=True)
class Point:
    """One restore of the past: bytes that were read, and seconds with durable settings."""

    at: datetime
    bytes: int
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """What is to be expected.

    Attributes:
        state: ``unknown``; ``holds`` (size does not grow, or not so far within a hundred years); ``until``
            (the date in ``at``); ``broken`` (size and speed of today already miss it).
        points: How many it rests on.
        reason: Why it is unknown.
        bytes_a_day: How fast the size grows. rate: Bytes restored a second.
        seconds_now: What a restore should take at the newest point.
    """

    state: State
    points: int
    at: datetime | None = None
    reason: str = ""
    bytes_a_day: int = 0
    rate: int = 0
    seconds_now: float | None = None

    def as_json(self) -> dict[str, Any]:
        now = self.seconds_now
        return {
            "state": self.state,
            "points": self.points,
            "at": to_iso(self.at) if self.at is not None else None,
            "reason": self.reason,
            "bytes_a_day": self.bytes_a_day,
            "bytes_a_second": self.rate,
            "now_milliseconds": None if now is None else round(now * 1000),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        now = found["now_milliseconds"]
        return cls(
            found["state"],
            found["points"],
            from_iso(found["at"]) if found["at"] else None,
            found["reason"],
            found["bytes_a_day"],
            found["bytes_a_second"],
            None if now is None else now / 1000,
        )


def forecast(points: Sequence[Point], rto_seconds: float) -> Forecast:
    """Draw the line on.

    Args:
        points: In any order; those without bytes or seconds do not count.
    """
    usable = sorted((p for p in points if p.bytes > 0 and p.seconds > 0), key=lambda p: p.at)
    if len(usable) < LEAST_POINTS:
        return Forecast("unknown", len(usable), reason=_FEW)
    span = usable[-1].at - usable[0].at
    if span < LEAST_SPAN:
        return Forecast("unknown", len(usable), reason=_ONE_DAY)
    rate = median(p.bytes / p.seconds for p in usable[-LAST:])
    newest = usable[-1].at
    slope, size_now = _line(usable, newest)
    seconds_now = max(size_now, 0.0) / rate
    known = (len(usable), round(slope), round(rate), seconds_now)
    if seconds_now > rto_seconds:
        return _known("broken", newest, *known)
    if slope <= 0:
        return _known("holds", None, *known)
    days = (rto_seconds * rate - size_now) / slope
    if days > FAR / timedelta(days=1):
        return _known("holds", None, *known)
    return _known("until", newest + timedelta(days=days), *known)


def _known(state: State, at: datetime | None, points: int, slope: int, rate: int, seconds: float) -> Forecast:
    return Forecast(state, points, at.astimezone(UTC) if at else None, "", slope, rate, seconds)


def _line(points: Sequence[Point], zero: datetime) -> tuple[float, float]:
    """Least squares of the size over days, zero at the newest point: bytes a day, and bytes at zero."""
    days = [(p.at - zero) / timedelta(days=1) for p in points]
    mean_x = sum(days) / len(days)
    mean_y = sum(p.bytes for p in points) / len(points)
    across = sum((x - mean_x) ** 2 for x in days)
    along = sum((x - mean_x) * (p.bytes - mean_y) for x, p in zip(days, points, strict=True))
    slope = along / across
    return slope, mean_y - slope * mean_x
