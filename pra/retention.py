"""Which backups to keep: grandfather, father, son. Pure: backups, policy and the present in, a plan out.

The rule, in the order in which it is applied:

1. *Hours*: every backup of the newest ``hourly`` hours **that hold a backup** is kept. All of an hour, not
   one: a backup taken by hand before a migration is not thrown away because the scheduled one came first.
2. *Days, weeks (ISO, from Monday), months*: of each of the newest ``daily`` … periods that hold a backup,
   the **first** backup is kept. First, because it is known when the backup is made and never changes: the
   length of an object lock can be fixed then (``gfs_end``), and a proof stays attached to what is kept.
3. *The window*: of each server's base backups the **first of a day** is kept while that day, or the one after
   it, ends within the last ``window``; and the newest of them at or before the window's beginning, however
   old: from it on every moment can be recovered. Not that one alone: the schedule may let go of all that
   follow before they are as old, then none would ever take its place, and WAL be kept back to it for ever.
   The window reaches back from the newest backup, or from now if that is earlier. What a replaced server
   left, or what was there before a target was dumped instead, is kept for as long as the window needs it.
4. The newest backup, the newest *proven* one, every parent that a kept backup needs, and every backup whose
   manifest cannot be read (a person has to look) are kept whatever their age.

Periods are counted in UTC, and only those that hold backups count: a month of silence, or a clock that ran a
year ahead, moves nothing out. A clock that was set back is noticed: when the newest backup lies in the
future, nothing expires at all. The examples in ``tests/unit/test_retention.py`` are the worked cases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pra.errors import UsageError
from pra.timing import format_duration, to_iso

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far two hosts' clocks may be apart before a newest backup counts as lying in the future."""

BASES_APART = timedelta(days=2)
"""Where a server is backed up every day, the first base backups of two days are less than this apart."""


@dataclass(frozen=True)
class Policy:
    """How many periods that hold backups are kept, by kind of period.

    Attributes:
        window: How far back every moment can be recovered, where there are base backups (``pitr_window``).
    """

    hourly: int
    daily: int
    weekly: int
    monthly: int
    window: timedelta = field(default=timedelta(0), kw_only=True)

    def __post_init__(self) -> None:
        if min(self.hourly, self.daily, self.weekly, self.monthly) < 0:
            raise UsageError("a retention count is negative", op="plan retention", hint="Use 0 or more.")
        if self.window < timedelta(0):
            raise UsageError("the window is negative", op="plan retention", hint="Use 0 or more.")


@dataclass(frozen=True)
class BackupFacts:
    """What retention needs to know of one backup.

    Attributes:
        taken_at: The snapshot; that of a base backup is taken after its stop.
        parents: Backups it cannot be restored without.
        proven: Its latest verification, here, was a PASS.
        readable: Its manifest could be read and verified.
        system_id: Of the server that a base backup came from; empty for a logical backup.
    """

    backup_id: str
    taken_at: datetime
    parents: tuple[str, ...] = ()
    proven: bool = False
    readable: bool = True
    system_id: str = ""


@dataclass(frozen=True)
class Kept:
    backup_id: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Expired:
    backup_id: str
    reason: str


@dataclass(frozen=True)
class RetentionPlan:
    """Both lists newest first. ``refused`` says why nothing may expire; None when all is in order."""

    keep: tuple[Kept, ...]
    expire: tuple[Expired, ...]
    refused: str | None = None


@dataclass(frozen=True)
class _Period:
    """One kind of period. ``start`` is the period's first moment, ``advance`` that of the n-th after it."""

    name: str
    start: Callable[[datetime], datetime]
    advance: Callable[[datetime, int], datetime]
    label: Callable[[datetime], str]
    every: bool = False


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _day(moment: datetime) -> datetime:
    return _hour(moment).replace(hour=0)


def _week(moment: datetime) -> datetime:
    return _day(moment) - timedelta(days=moment.weekday())


def _month(moment: datetime) -> datetime:
    return _day(moment).replace(day=1)


def _add_months(moment: datetime, count: int) -> datetime:
    months = moment.year * 12 + moment.month - 1 + count
    return moment.replace(year=months // 12, month=months % 12 + 1)


_PERIODS = (
    _Period("hourly", _hour, lambda m, n: m + timedelta(hours=n), lambda m: f"{m:%Y-%m-%dT%H}", every=True),
    _Period("daily", _day, lambda m, n: m + timedelta(days=n), lambda m: f"{m:%Y-%m-%d}"),
    _Period("weekly", _week, lambda m, n: m + timedelta(weeks=n), lambda m: f"{m:%G-W%V}"),
    _Period("monthly", _month, _add_months, lambda m: f"{m:%Y-%m}"),
)


def plan(backups: Sequence[BackupFacts], policy: Policy, now: datetime) -> RetentionPlan:
    """Decide what to keep and what to expire; touches nothing.

    Planning again over what was kept expires nothing more, and the order of ``backups`` does not matter.

    Args:
        backups: All backups of one target in one repository.
        now: The present, by the clock of whoever will delete.
    """
    ordered = sorted(backups, key=lambda b: (b.taken_at, b.backup_id), reverse=True)
    if not ordered:
        return RetentionPlan((), ())
    if ordered[0].taken_at > now + CLOCK_TOLERANCE:
        refused = (
            f"the newest backup, {ordered[0].backup_id}, was taken at {to_iso(ordered[0].taken_at)}, "
            f"which lies in the future of this clock, {to_iso(now)}"
        )
        return RetentionPlan(tuple(Kept(b.backup_id, ("clock in doubt",)) for b in ordered), (), refused)
    reasons = _reasons(ordered, policy, now)
    return RetentionPlan(
        keep=tuple(Kept(b.backup_id, tuple(reasons[b.backup_id])) for b in ordered if b.backup_id in reasons),
        expire=tuple(
            Expired(b.backup_id, _why_not(b, policy)) for b in ordered if b.backup_id not in reasons
        ),
    )


def _why_not(backup: BackupFacts, policy: Policy) -> str:
    counts = f"{policy.hourly} hours, {policy.daily} days, {policy.weekly} weeks, {policy.monthly} months"
    window = f", nor for the window of {format_duration(policy.window.total_seconds())}"
    return f"not kept by the newest {counts} that hold backups{window if backup.system_id else ''}"


def gfs_end(
    taken_at: datetime,
    policy: Policy,
    earlier: Iterable[datetime] = (),
    same_server: Iterable[datetime] | None = None,
) -> datetime:
    """When `plan` lets go of a backup at the earliest: its object lock lasts until then.

    Example: hourly 24, daily 7, weekly 5, monthly 12. The first backup of a Wednesday (not the first of its
    week or month), taken at 00:00 on the 11th, is the day's: kept until the 18th at 00:00. The one of
    01:00 is its hour's only: kept until 01:00 on the 12th. With a window of 7 days the first base backup of
    the 11th is kept until the 20th at 00:00, since the next day's first may come late on the 12th, and until
    then the window begins from the one of the 11th. (Where a day passes without any, it begins from one whose
    lock is over.) ``plan`` never expires a backup before this.

    Args:
        earlier: When the other backups of this target in this repository were taken. Without any, the
            backup is the first of its day, week and month, and is locked for the longest of them.
        same_server: When the other base backups of its server were taken; None for a logical backup.
    """
    moment = taken_at.astimezone(UTC)
    others = [other.astimezone(UTC) for other in earlier]
    ends = [moment]
    for period, count in zip(_PERIODS, _counts(policy), strict=True):
        start = period.start(moment)
        first = not any(start <= other < moment for other in others)
        if count and (period.every or first):
            ends.append(period.advance(start, count))
    if same_server is not None and _is_first_of_day(moment, same_server):
        ends.append(_day(moment) + BASES_APART + policy.window)
    return max(ends)


def _is_first_of_day(moment: datetime, others: Iterable[datetime]) -> bool:
    return not any(_day(moment) <= other.astimezone(UTC) < moment for other in others)


def _reasons(ordered: Sequence[BackupFacts], policy: Policy, now: datetime) -> dict[str, list[str]]:
    """Why each kept backup is kept. ``ordered`` is newest first and not empty."""
    reasons: dict[str, list[str]] = {}
    readable = [b for b in ordered if b.readable]
    for backup in ordered:
        if not backup.readable:
            reasons.setdefault(backup.backup_id, []).append("unreadable")
    if readable:
        reasons.setdefault(readable[0].backup_id, []).append("newest")
    for period, count in zip(_PERIODS, _counts(policy), strict=True):
        for backup, label in _representatives(readable, period, count):
            reasons.setdefault(backup.backup_id, []).append(f"{period.name} {label}")
    for backup in _bases(readable, policy.window, now):
        label = f"window {backup.taken_at.astimezone(UTC):%Y-%m-%d}"
        reasons.setdefault(backup.backup_id, []).append(label)
    proven = next((b for b in readable if b.proven), None)
    if proven:
        reasons.setdefault(proven.backup_id, []).append("last proven")
    _keep_parents(ordered, reasons)
    return reasons


def _representatives(
    readable: Sequence[BackupFacts], period: _Period, count: int
) -> list[tuple[BackupFacts, str]]:
    """What the newest ``count`` periods of one kind keep. ``readable`` is newest first."""
    held: dict[datetime, list[BackupFacts]] = {}
    for backup in readable:
        held.setdefault(period.start(backup.taken_at.astimezone(UTC)), []).append(backup)
    newest = sorted(held, reverse=True)[:count]
    return [
        (backup, period.label(start))
        for start in newest
        for backup in (held[start] if period.every else held[start][-1:])
    ]


def _bases(readable: Sequence[BackupFacts], window: timedelta, now: datetime) -> list[BackupFacts]:
    """The base backups that the window begins from, or will as it moves on. ``readable`` is newest first."""
    firsts: dict[tuple[str, datetime], BackupFacts] = {}
    for backup in readable:
        if backup.system_id:
            firsts[backup.system_id, _day(backup.taken_at.astimezone(UTC))] = backup
    if not firsts:
        return []
    horizon = min(now, readable[0].taken_at) - window
    kept = {first.backup_id: first for (_, day), first in firsts.items() if day + BASES_APART > horizon}
    before: dict[str, BackupFacts] = {}
    for first in sorted(firsts.values(), key=lambda b: (b.taken_at, b.backup_id)):
        if first.taken_at <= horizon:
            before.pop(first.system_id, None)  # so that the newest is the last
            before[first.system_id] = first
    in_window = {b.system_id for b in readable if b.taken_at > horizon}
    newest = next(reversed(before.values()), None) if readable[0].system_id else None
    for first in before.values():
        if first is newest or first.system_id in in_window:
            kept[first.backup_id] = first
    return list(kept.values())


def _keep_parents(ordered: Sequence[BackupFacts], reasons: dict[str, list[str]]) -> None:
    """Follow the chains of everything kept down to their full backups."""
    known = {b.backup_id: b for b in ordered}
    waiting = [known[backup_id] for backup_id in reasons]
    followed: set[str] = set()
    while waiting:
        child = waiting.pop()
        if child.backup_id in followed:
            continue
        followed.add(child.backup_id)
        for parent in (known[p] for p in child.parents if p in known):
            reasons.setdefault(parent.backup_id, []).append(f"parent of {child.backup_id}")
            waiting.append(parent)


def _counts(policy: Policy) -> tuple[int, int, int, int]:
    return (policy.hourly, policy.daily, policy.weekly, policy.monthly)
