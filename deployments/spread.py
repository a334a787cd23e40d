"""When each target's runs start: spread over the minutes of a window, instead of all of them at its first.

Pure. The minute is chosen by consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam,
2016): the hash of flow and target names the minute that is preferred, and a minute that has its share passes
on to the next. A plain hash puts seven or more of 200 targets into one minute of the hour; here none gets
more than `share` allows. The choice depends on the names alone, hence is the same on every machine and at
every deploy; a target that comes or goes moves only those that were pushed aside, or may now come nearer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from deployments.entries import Entry

HOUR = 60
DAY = 24 * HOUR
NIGHT = 4 * HOUR
"""Minutes over which what runs once a day, or more seldom, is spread."""
BEFORE = {"every-night": 2 * HOUR}
"""Minutes by which a window begins before the moment in prefect.yaml, by the schedule's slug."""
ROOM = 1.2
"""How much a minute may take, as a multiple of an even share: room keeps a newcomer from moving others."""
ALWAYS = 2
"""What a minute may take in any case: in a small fleet, staying where one is matters more than evenness."""


@dataclass(frozen=True)
class Window:
    """The minutes among which a schedule's start may be chosen. ``cron`` makes the line of one of them."""

    minutes: int
    cron: Callable[[int], str]


def spread(entries: Sequence[Entry]) -> list[Entry]:
    """The same deployments, each target's schedules at a minute of its own; what is about all stays."""
    lines = {line: _places(entries, line) for line in {each for e in entries for each in _lines(e)}}
    return [
        replace(
            entry,
            schedules=tuple(
                {**raw, "cron": lines[line][str(entry.target)]} if entry.target is not None else raw
                for raw, line in zip(entry.schedules, _lines(entry), strict=True)
            ),
        )
        for entry in entries
    ]


Line = tuple[str, str, str]
"""Flow, slug, and the cron line as prefect.yaml has it."""


def _lines(entry: Entry) -> list[Line]:
    return [(entry.entrypoint, str(raw["slug"]), str(raw["cron"])) for raw in entry.schedules]


def _places(entries: Sequence[Entry], line: Line) -> dict[str, str]:
    """The cron line of each target that has this schedule."""
    flow, slug, cron = line
    targets = [str(entry.target) for entry in entries if entry.target is not None and line in _lines(entry)]
    window = window_of(cron, BEFORE.get(slug, 0))
    if window is None:
        return dict.fromkeys(targets, cron)
    chosen = places(targets, window.minutes, salt=flow.rpartition(".")[2])
    return {target: window.cron(minute) for target, minute in chosen.items()}


def window_of(cron: str, before: int = 0) -> Window | None:
    """Where a cron line may be moved to; None where it is to stay as it is.

    ``0 * * * *``
        Any minute of the hour; so for every line with one minute and several hours.
    ``*/15 * * * *``
        Still every 15 minutes, counted from one of the first 15.
    ``0 3 * * 0``
        Once a day at most: over `NIGHT` from that moment, or from ``before`` minutes earlier. Never past
        midnight: it would be another day.
    ``0,30 * * * *``
        Stays: somebody chose these minutes.
    """
    fields = cron.split()
    if len(fields) != 5:
        return None
    minute, hour, rest = fields[0], fields[1], " ".join(fields[2:])
    if minute.isdigit() and hour.isdigit():
        first = max(0, int(hour) * HOUR + int(minute) - before)
        return Window(
            min(NIGHT, DAY - first), lambda at: f"{(first + at) % HOUR} {(first + at) // HOUR} {rest}"
        )
    if minute.isdigit():
        return Window(HOUR, lambda at: f"{at} {hour} {rest}")
    every = minute.removeprefix("*/")
    if minute.startswith("*/") and every.isdigit() and 1 < int(every) < HOUR and HOUR % int(every) == 0:
        return Window(int(every), lambda at: f"{at}-59/{every} {hour} {rest}")
    return None


def share(names: int, minutes: int) -> int:
    """How many of so many names one minute takes at most: an even share and its room, rounded up."""
    return max(ALWAYS, -(-names * int(ROOM * 10) // (minutes * 10)))


def places(names: Iterable[str], minutes: int, *, salt: str) -> dict[str, int]:
    """Give each name one of the minutes, 0 to ``minutes - 1``.

    Those with the lower hash choose first, whatever order they come in.

    Args:
        salt: Told apart by it, the flows of one target prefer different minutes.
    """
    unique = set(names)
    room = share(len(unique), minutes)
    taken = [0] * minutes
    chosen: dict[str, int] = {}
    for rank, name in sorted((_hash(f"{salt}/{name}"), name) for name in unique):
        minute = rank % minutes
        while taken[minute] == room:
            minute = (minute + 1) % minutes
        taken[minute] += 1
        chosen[name] = minute
    return chosen


def _hash(text: str) -> int:
    """Not Python's own, which is another one in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
