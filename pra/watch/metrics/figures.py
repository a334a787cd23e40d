"""The figures of one target over one period. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import mean, median

from pra.evidence_record import VERIFICATION
from pra.model import Verdict
from pra.watch.metrics.facts import PROVING, RESOLVE_WITHIN, Backup, Fact, Incident
from pra.watch.metrics.observed import DayTally, Observed
from pra.watch.metrics.share import Period, Share, standing
from pra.watch.metrics.slots import Slots, slots_of


@dataclass(frozen=True)
class Goals:
    """A target's objectives.

    Attributes:
        proof_every, drill_every: How old the last proof, the last drill may be.
        every: The interval of its backups.
    """

    rpo: timedelta
    rto: timedelta
    proof_every: timedelta
    drill_every: timedelta
    every: timedelta
    uptime: float = 0.999
    backups: float = 0.99
    tests: float = 1.0


@dataclass(frozen=True)
class History:
    """Everything that is known of one target.

    Attributes:
        facts: Believable records, in order of time, none of them ahead of ``now``.
        backups: By repository; a repository that could not be listed is not there.
        complete_since: From here on no backup has expired yet: one that is not listed was not taken.
        problems: What could not be read or believed, one line each.
    """

    target: str
    goals: Goals
    repositories: tuple[str, ...]
    facts: tuple[Fact, ...]
    backups: Mapping[str, Sequence[Backup]]
    observed: Observed
    complete_since: datetime
    now: datetime
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measured:
    """Seconds: the latest and the worst of the period, and how much of it was inside the objective.

    Attributes:
        worst: Infinity where everything would have been lost.
    """

    latest: float | None
    worst: float | None
    inside: Share


@dataclass(frozen=True)
class Durations:
    """Seconds; None where nothing was timed."""

    count: int
    median: float | None
    longest: float | None

    @classmethod
    def of(cls, seconds: Iterable[float | None]) -> Durations:
        known = [each for each in seconds if each is not None]
        return cls(len(known), median(known) if known else None, max(known, default=None))


@dataclass(frozen=True)
class RepositoryFigures:
    """Backups of one target in one repository.

    Attributes:
        slots: Of the schedule's slots, how many have a backup.
        durations: From the beginning of a backup to its publication here, of those whose manifest was read.
        newest_at, proven_at: When the newest backup, and the newest that ever passed, were begun.
        lag: Seconds between these two: what nobody has proven yet.
        passed_at: When a verification of a backup from here passed the last time.
    """

    name: str
    slots: Slots
    durations: Durations
    newest_at: datetime | None
    proven_at: datetime | None
    lag: float | None
    passed_at: datetime | None


@dataclass(frozen=True)
class TestFigures:
    """Restore tests: verifications. ``results``: PASS, everything else that has a verdict, the others."""

    results: Share
    partial: int
    durations: Durations
    latest: Fact | None


@dataclass(frozen=True)
class SeverityFigures:
    """Incidents that began in the period. ``mttr``: mean seconds to resolve those that are over."""

    severity: str
    count: int
    open: int
    in_time: int
    mttr: float | None
    longest: float | None
    limit: float


@dataclass(frozen=True)
class SizeFigures:
    """Bytes of the database. ``per_day``: between the first and the last day of the period that know."""

    first: float | None
    last: float | None
    per_day: float | None


@dataclass(frozen=True)
class Figures:
    """Everything of one period.

    Attributes:
        exposure: What a disaster would have cost at each sample. proven_rpo: What proofs and drills measured.
        rto: What proofs and drills measured; ``inside`` is of the period's seconds, see ``share.standing``.
        uptime: Samples. unwatched: Hours of the period without any sample, as unknown; with one, as good.
    """

    period: Period
    exposure: Measured
    proven_rpo: Measured
    rto: Measured
    repositories: tuple[RepositoryFigures, ...]
    tests: TestFigures
    uptime: Share
    unwatched: Share
    incidents: tuple[SeverityFigures, ...]
    size: SizeFigures

    @property
    def backups(self) -> Share:
        """The slots of the repository that kept the schedule worst; of none, nothing is known."""
        return min(
            (each.slots.share for each in self.repositories),
            key=lambda share: -1.0 if share.value is None else share.value,
            default=Share(),
        )


def figures(history: History, period: Period) -> Figures:
    """What the history says of this period."""
    proving = [f for f in history.facts if f.kind in PROVING and f.decided]
    return Figures(
        period=period,
        exposure=_exposure(history, period),
        proven_rpo=_proven_rpo(history, proving, period),
        rto=_rto(history, proving, period),
        repositories=tuple(_repository(history, name, period) for name in history.repositories),
        tests=_tests(history, period),
        uptime=_sum(days_of(history.observed, period), lambda day: Share(day.up, day.down, day.unknown)),
        unwatched=_unwatched(history.observed, period),
        incidents=severities(history.observed.incidents, period),
        size=_size(history.observed, period),
    )


def days_of(observed: Observed, period: Period) -> dict[date, DayTally]:
    """The days of the period that have samples, in order."""
    first, last = period.since.date(), period.until.date()
    return {day: tally for day, tally in sorted(observed.days.items()) if first <= day <= last}


def _sum(days: Mapping[date, DayTally], share: Callable[[DayTally], Share]) -> Share:
    total = Share()
    for day in days.values():
        total = total + share(day)
    return total


def _exposure(history: History, period: Period) -> Measured:
    days = days_of(history.observed, period)
    worst = max((day.exposed for day in days.values() if day.exposed is not None), default=None)
    at = history.observed.exposed_at
    latest = history.observed.exposed if at is not None and period.holds(at) else None
    return Measured(latest, worst, _sum(days, lambda day: Share(day.inside, day.outside, day.blind)))


def _proven_rpo(history: History, proving: Sequence[Fact], period: Period) -> Measured:
    goal = history.goals.rpo.total_seconds()
    known = [f for f in proving if period.holds(f.at)]
    values = [f.rpo for f in known if f.rpo is not None]
    good = sum(value <= goal for value in values)
    inside = Share(good, len(values) - good, len(known) - len(values))
    return Measured(values[-1] if values else None, max(values, default=None), inside)


def _rto(history: History, proving: Sequence[Fact], period: Period) -> Measured:
    goal = history.goals.rto.total_seconds()
    values = [f.rto for f in proving if f.rto is not None and period.holds(f.at)]
    stands = standing(((f.at, f.within(goal)) for f in proving), period, history.goals.proof_every)
    return Measured(values[-1] if values else None, max(values, default=None), stands)


def _repository(history: History, name: str, period: Period) -> RepositoryFigures:
    listed = history.backups.get(name, ())
    slots = slots_of(
        [backup.at for backup in listed],
        history.observed.seen.get(name, ()),
        history.observed.looked.get(name, frozenset()),
        period,
        every=history.goals.every,
        complete_since=history.complete_since if name in history.backups else None,
    )
    passes = [
        f for f in history.facts
        if f.kind == VERIFICATION and f.verdict == Verdict.PASS and f.repository == name
    ]  # fmt: skip
    proven = {f.backup_id for f in passes}
    newest = max((b.at for b in listed if b.at <= history.now), default=None)
    proven_at = max((b.at for b in listed if b.backup_id in proven and b.at <= history.now), default=None)
    lag = (newest - proven_at).total_seconds() if newest is not None and proven_at is not None else None
    timed = Durations.of(b.seconds for b in listed if period.holds(b.at))
    return RepositoryFigures(
        name, slots, timed, newest, proven_at, lag, max((f.at for f in passes), default=None)
    )


def _tests(history: History, period: Period) -> TestFigures:
    every = [f for f in history.facts if f.kind == VERIFICATION and period.holds(f.at)]
    decided = [f for f in every if f.decided]
    passed = sum(f.verdict == Verdict.PASS for f in decided)
    partial = sum(f.verdict == Verdict.PARTIAL for f in decided)
    results = Share(passed, len(decided) - passed, len(every) - len(decided))
    latest = decided[-1] if decided else None
    return TestFigures(results, partial, Durations.of(f.proven for f in decided), latest)


def _unwatched(observed: Observed, period: Period) -> Share:
    """Hours from the first sample ever on; before it there was no watching to speak of."""
    if observed.first_at is None:
        return Share(0, 0, max(1, round((period.until - period.since).total_seconds() / 3600)))
    begin = max(period.since, observed.first_at.replace(minute=0, second=0, microsecond=0))
    hours = int((period.until - begin).total_seconds() // 3600) + 1
    watched = sum(day.hours.bit_count() for day in days_of(observed, period).values())
    return Share(watched, 0, max(0, hours - watched))


def severities(incidents: Sequence[Incident], period: Period) -> tuple[SeverityFigures, ...]:
    """One a severity, P1 first. An open incident that has outlasted its limit is not in time."""
    found = []
    for severity, limit in RESOLVE_WITHIN.items():
        chosen = [i for i in incidents if i.severity == severity and period.holds(i.opened_at)]
        over = [i.lasted(period.until).total_seconds() for i in chosen if i.closed_at is not None]
        every = [i.lasted(period.until) for i in chosen]
        found.append(
            SeverityFigures(
                severity,
                len(chosen),
                len(chosen) - len(over),
                sum(lasted <= limit for lasted in every),
                mean(over) if over else None,
                max((lasted.total_seconds() for lasted in every), default=None),
                limit.total_seconds(),
            )
        )
    return tuple(found)


def _size(observed: Observed, period: Period) -> SizeFigures:
    known = [(day, tally.size) for day, tally in days_of(observed, period).items() if tally.size is not None]
    if not known:
        return SizeFigures(None, None, None)
    (first_day, first), (last_day, last) = known[0], known[-1]
    days = (last_day - first_day).days
    return SizeFigures(first, last, (last - first) / days if days else None)
