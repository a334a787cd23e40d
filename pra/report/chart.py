"""The timeline as numbers: what a picture draws and a table prints. Seconds, zero at the disaster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pra.drill.record import DrillRecord, Event, Step

_SHOWN, _MARKS = 30, 10
DISASTER, SERVICE = "disaster", "service"
_TURNS = (DISASTER, "detected", "approved", SERVICE, "proven")
"""What every timeline is read for; other events are marked as far as there is room."""


@dataclass(frozen=True)
class Bar:
    """A phase from ``start`` for ``seconds``. ``waiting``: for a human."""

    name: str
    start: float
    seconds: float
    waiting: bool

    @property
    def end(self) -> float:
        return self.start + self.seconds


@dataclass(frozen=True)
class Mark:
    name: str
    at: float


@dataclass(frozen=True)
class Chart:
    """Everything between ``first`` and ``last``.

    Attributes:
        from_disaster: Zero is the disaster; else it is the first phase, no disaster being known.
        away: From the disaster until the service was back, as far as both are known.
        left_out: Phases too many to be shown, the shortest ones.
    """

    first: float
    last: float
    from_disaster: bool
    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...]
    away: tuple[float, float] | None
    left_out: int = 0

    @property
    def seconds(self) -> float:
        return self.last - self.first

    def share(self, at: float) -> float:
        """Where on the axis a moment lies, from 0 to 1."""
        return (at - self.first) / self.seconds


def chart_of(record: DrillRecord) -> Chart | None:
    """The timeline of a record; None where nothing was timed.

    ``ended_at`` is left aside: of an interrupted drill it is the moment at which somebody noticed.
    """
    if not record.steps and not record.events:
        return None
    zero = moment_of(record.events, DISASTER)
    origin = zero or min([s.started_at for s in record.steps] + [e.at for e in record.events])
    every = [
        Bar(s.name, (s.started_at - origin).total_seconds(), max(s.seconds, 0.0), s.waiting)
        for s in sorted(record.steps, key=lambda s: s.started_at)
    ]
    marks = tuple(Mark(e.name, (e.at - origin).total_seconds()) for e in _telling(record.events))
    first = min([b.start for b in every] + [m.at for m in marks])
    last = max([b.end for b in every] + [m.at for m in marks])
    bars = _longest(every)
    return Chart(
        first=first,
        last=max(last, first + 1e-3),
        from_disaster=zero is not None,
        bars=bars,
        marks=marks,
        away=_away(marks),
        left_out=len(every) - len(bars),
    )


def moment_of(events: Sequence[Event], name: str) -> datetime | None:
    """When it first happened."""
    return min((e.at for e in events if e.name == name), default=None)


def waited(steps: Sequence[Step]) -> float:
    """Seconds that went by waiting for people."""
    return sum(step.seconds for step in steps if step.waiting)


def block_bar(chart: Chart, bar: Bar, width: int = 24) -> str:
    """A bar of characters: ``·`` before and after, ``█`` at work, ``▒`` waiting. Never empty."""
    begin = min(int(chart.share(bar.start) * width), width - 1)
    end = max(round(chart.share(bar.end) * width), begin + 1)
    return "·" * begin + ("▒" if bar.waiting else "█") * (end - begin) + "·" * (width - end)


def _telling(events: Sequence[Event]) -> list[Event]:
    """In their order, the turns first to be kept; of a turn that happened twice, the first."""
    ordered = sorted(events, key=lambda e: e.at)
    turns = [
        next(e for e in ordered if e.name == name) for name in _TURNS if name in {e.name for e in events}
    ]
    others = [e for e in ordered if e not in turns][: _MARKS - len(turns)]
    return sorted([*turns, *others], key=lambda e: e.at)


def _longest(bars: Sequence[Bar]) -> tuple[Bar, ...]:
    """At most as many as a picture can hold, in their order."""
    kept = sorted(range(len(bars)), key=lambda i: -bars[i].seconds)[:_SHOWN]
    return tuple(bars[i] for i in sorted(kept))


def _away(marks: Sequence[Mark]) -> tuple[float, float] | None:
    begin = min((m.at for m in marks if m.name == DISASTER), default=None)
    end = min((m.at for m in marks if m.name == SERVICE), default=None)
    return (begin, end) if begin is not None and end is not None and begin < end else None
