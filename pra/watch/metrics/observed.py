"""Samples added up by day: uptime, what a disaster would have cost, size, backups seen, what was critical.

Made for a year of them at once: each sample is looked at once, and only sums are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from math import inf

from pra.watch.metrics.facts import Incident
from pra.watch.metrics.incidents import merged, severity_of
from pra.watch.samples import Sample
from pra.watch.status.finding import HOST

SAME_BACKUP = timedelta(seconds=120)
"""Two samples that date the newest backup no further apart mean the same one."""


@dataclass(frozen=True)
class View:
    """What samples of a target are held against.

    Attributes:
        repositories: Where its backups go.
        every: The interval of its backups.
    """

    target: str
    rpo: timedelta
    physical: bool
    repositories: tuple[str, ...]
    every: timedelta


@dataclass
class DayTally:
    """One target's samples of one day (UTC), counted.

    Attributes:
        up, down, unknown: Samples in which database and API answered, one did not, or nobody could say.
        inside, outside: In which a disaster would have cost no more than the RPO, or more; blind: unknown.
        exposed: Seconds that it would have cost at worst; infinity where everything.
        size: Bytes of the database, the last time it was looked at.
        hours: Bit ``n`` is set when hour ``n`` has a sample.
    """

    up: int = 0
    down: int = 0
    unknown: int = 0
    inside: int = 0
    outside: int = 0
    blind: int = 0
    exposed: float | None = None
    size: float | None = None
    hours: int = 0


@dataclass
class Observed:
    """Everything that the samples say of one target.

    Attributes:
        exposed: Seconds that a disaster would have cost at ``exposed_at``, the newest sample that knows.
        seen: By repository, when its newest backup was taken, each once, in order.
        looked: By repository, the numbers of the schedule's slots in which somebody looked; see ``slots``.
        future: Samples that lie ahead of now: some clock was wrong.
    """

    view: View
    days: dict[date, DayTally] = field(default_factory=dict)
    first_at: datetime | None = None
    last_at: datetime | None = None
    exposed: float | None = None
    exposed_at: datetime | None = None
    seen: dict[str, list[datetime]] = field(default_factory=dict)
    looked: dict[str, set[int]] = field(default_factory=dict)
    incidents: tuple[Incident, ...] = ()
    future: int = 0


def slot_of(moment: datetime, every: timedelta) -> int:
    """The slot of the schedule in which something began.

    A slot begins a minute early: a backup that is dated by a sample's clock and one dated by its own id may
    differ by seconds, and neither may fall into the hour before.
    """
    return int((moment.timestamp() + 60) // every.total_seconds())


def slot_begin(number: int, every: timedelta) -> datetime:
    return datetime.fromtimestamp(number * every.total_seconds() - 60, UTC)


def observe(samples: Iterable[Sample], views: Iterable[View], now: datetime) -> dict[str, Observed]:
    """Add up.

    Args:
        samples: In order of time; of targets that have no view, this host's incidents alone count.
    """
    found = {view.target: Observed(view) for view in views}
    spans: dict[tuple[str, str, str], datetime] = {}
    closed: list[Incident] = []
    for sample in samples:
        one = found.get(sample.target)
        if one is None and sample.target != HOST:
            continue
        if sample.at > now:
            if one is not None:
                one.future += 1
            continue
        _follow(sample, spans, closed)
        if one is not None:
            _take(one, sample)
    still = [Incident(severity_of(n), n, t, at) for (_host, t, n), at in spans.items()]
    incidents = merged([*closed, *still])
    for target, one in found.items():
        one.incidents = tuple(i for i in incidents if i.target in (target, HOST))
    return found


def _follow(sample: Sample, spans: dict[tuple[str, str, str], datetime], closed: list[Incident]) -> None:
    """What is critical opens; what is known not to be any more closes. Unknown changes nothing."""
    for name in sample.critical:
        spans.setdefault((sample.host, sample.target, name), sample.at)
    if not spans:
        return
    for key in [k for k in spans if k[:2] == (sample.host, sample.target)]:
        name = key[2]
        if name not in sample.critical and name not in sample.unknown:
            closed.append(Incident(severity_of(name), name, sample.target, spans.pop(key), sample.at))


def _take(one: Observed, sample: Sample) -> None:
    at = sample.at
    tally = one.days.get(at.date())
    if tally is None:
        tally = one.days[at.date()] = DayTally()
    tally.hours |= 1 << at.hour
    one.first_at = min(one.first_at or at, at)
    one.last_at = max(one.last_at or at, at)
    _uptime(tally, sample)
    size = sample.values.get("size")
    if size is not None and size >= 0:
        tally.size = size
    _see_backups(one, sample)
    cost = exposure(one.view, sample)
    if cost is None:
        tally.blind += 1
        return
    one.exposed, one.exposed_at = cost, at
    tally.exposed = max(tally.exposed or 0.0, cost)
    if cost <= one.view.rpo.total_seconds():
        tally.inside += 1
    else:
        tally.outside += 1


def _uptime(tally: DayTally, sample: Sample) -> None:
    """Up is what answered: the database, and the API wherever it was asked."""
    if "database" in sample.critical or "api" in sample.critical:
        tally.down += 1
    elif "database" in sample.unknown or "api" in sample.unknown or not _asked(sample, "database"):
        tally.unknown += 1
    else:
        tally.up += 1


def _asked(sample: Sample, name: str) -> bool:
    return name in sample.values or name in sample.warning


def _see_backups(one: Observed, sample: Sample) -> None:
    slot = slot_of(sample.at, one.view.every)
    for repository in one.view.repositories:
        age = sample.values.get(f"backup.{repository}")
        if age is None or age < 0:
            continue
        one.looked.setdefault(repository, set()).add(slot)
        moment = sample.at - timedelta(seconds=age)
        seen = one.seen.setdefault(repository, [])
        if not seen or moment - seen[-1] > SAME_BACKUP:
            seen.append(moment)
        else:  # a sample is dated by its beginning, a few seconds before it looked: the latest is nearest
            seen[-1] = max(seen[-1], moment)


def exposure(view: View, sample: Sample) -> float | None:
    """Seconds that a disaster at this moment would have cost, with the best repository.

    A dump brings back its snapshot: its age. A physical backup with WAL brings back what was read back there:
    the lag; broken WAL brings back the newest backup at best, so that its age counts.

    Returns:
        Infinity where no repository holds anything to go by; None where nobody could look.
    """
    costs = [_cost(view, sample.values, sample, name) for name in view.repositories]
    known = [cost for cost in costs if cost is not None]
    if not known or (min(known) == inf and len(known) < len(costs)):
        return None  # the one that nobody looked at may hold it all
    return min(known)


def _cost(view: View, values: Mapping[str, float], sample: Sample, repository: str) -> float | None:
    backup, wal = f"backup.{repository}", f"wal.{repository}"
    age = values.get(backup)
    if view.physical and wal not in sample.critical:
        lag = values.get(wal)
        return None if lag is None or lag < 0 else lag
    if age is None:
        return inf if backup in sample.critical else None
    lag = values.get(wal, 0.0) if view.physical else 0.0
    return None if age < 0 else max(age, lag)
