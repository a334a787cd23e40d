"""Time: a clock that is passed in, durations as people write them, timelines, and the RPO/RTO verdict."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pra.errors import UsageError

Clock = Callable[[], datetime]
"""Returns the present as an aware datetime in UTC."""

_UNITS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|min|h|d|w)")


def utc_now() -> datetime:
    return datetime.now(UTC)


def parse_duration(text: str) -> timedelta:
    """Read ``1h``, ``30min``, ``90s``, ``7d``, or a sum such as ``1h30min``.

    Raises:
        UsageError: The text is not a positive duration in these units.
    """
    rest = text.strip()
    seconds = 0.0
    while rest:
        match = _DURATION.match(rest)
        if match is None:
            seconds = 0.0
            break
        seconds += float(match["number"]) * _UNITS[match["unit"]]
        rest = rest[match.end() :].lstrip()
    if seconds <= 0:
        raise UsageError(
            f"not a duration: {text!r}",
            op="read duration",
            hint="Write a number and a unit, such as 1h, 30min, 90s or 7d.",
        )
    return timedelta(seconds=seconds)


def format_duration(seconds: float) -> str:
    """Say seconds as a person would: ``0.42 s``, ``12.3 s``, ``4 min 05 s``, ``2 h 03 min``, ``3 d 04 h``."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def to_iso(moment: datetime) -> str:
    """UTC with microseconds and ``Z``; the one textual form of a moment in what we store."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def from_iso(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@dataclass(frozen=True)
class Phase:
    """One step that was timed. ``seconds`` is measured on the monotonic clock."""

    name: str
    started_at: datetime
    seconds: float


@dataclass
class Timeline:
    """Phases in the order in which they ended, measured on our own monotonic clock."""

    clock: Clock = utc_now
    phases: list[Phase] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a step. A step that raises is recorded too."""
        started_at, start = self.clock(), time.monotonic()
        try:
            yield
        finally:
            self.phases.append(Phase(name, started_at, time.monotonic() - start))


@dataclass(frozen=True)
class Objective:
    """One target against one measurement. ``seconds`` is None when it could not be measured."""

    name: str
    target_seconds: float
    seconds: float | None

    @property
    def met(self) -> bool | None:
        return None if self.seconds is None else self.seconds <= self.target_seconds

    @property
    def share(self) -> float | None:
        """Part of the objective that was used: 0.5 is half."""
        return None if self.seconds is None else self.seconds / self.target_seconds
