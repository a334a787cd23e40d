"""Retention: the worked examples are the specification; the properties hold for any history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pra.errors import UsageError
from pra.retention import BASES_APART, BackupFacts, Policy, RetentionPlan, gfs_end, plan

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)  # a Sunday
USUAL = Policy(hourly=24, daily=7, weekly=5, monthly=12)
WEEK = timedelta(days=7)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def backup(text: str, **changed: object) -> BackupFacts:
    moment = at(text)
    return replace(BackupFacts(f"{moment:%m-%dT%H:%M}", moment), **changed)  # type: ignore[arg-type]


def base(text: str, **changed: object) -> BackupFacts:
    """A base backup, of server 1 unless told otherwise."""
    return backup(text, **{"system_id": "1", **changed})


def hourly(first: str, last: str) -> list[BackupFacts]:
    moment, end, found = at(first), at(last), []
    while moment <= end:
        found.append(BackupFacts(f"{moment:%Y-%m-%dT%H}", moment))
        moment += timedelta(hours=1)
    return found


def kept(result: RetentionPlan) -> list[str]:
    return [k.backup_id for k in result.keep]


@dataclass(frozen=True)
class Example:
    """``keeps`` maps each kept backup, newest first, to the reasons given."""

    backups: list[BackupFacts]
    policy: Policy
    keeps: dict[str, tuple[str, ...]]
    now: datetime = NOON


EXAMPLES = {
    "no backup, nothing to plan": Example([], USUAL, {}),
    "a backup by hand in the same hour is kept as long as its hour": Example(
        [backup("2026-11-22T10:00"), backup("2026-11-22T10:40"), backup("2026-11-22T11:00")],
        Policy(2, 0, 0, 0),
        {
            "11-22T11:00": ("newest", "hourly 2026-11-22T11"),
            "11-22T10:40": ("hourly 2026-11-22T10",),
            "11-22T10:00": ("hourly 2026-11-22T10",),
        },
    ),
    "an hour without a backup does not count": Example(
        [backup("2026-11-22T03:00"), backup("2026-11-22T04:00"), backup("2026-11-22T11:00")],
        Policy(2, 0, 0, 0),
        {
            "11-22T11:00": ("newest", "hourly 2026-11-22T11"),
            "11-22T04:00": ("hourly 2026-11-22T04",),
        },
    ),
    "the first backup of a day stands for it": Example(
        [
            backup("2026-11-20T05:00"),
            backup("2026-11-21T00:30"),
            backup("2026-11-21T23:00"),
            backup("2026-11-22T09:00"),
        ],
        Policy(0, 2, 0, 0),
        {"11-22T09:00": ("newest", "daily 2026-11-22"), "11-21T00:30": ("daily 2026-11-21",)},
    ),
    "a week begins on Monday, UTC": Example(
        [backup("2026-11-15T23:59"), backup("2026-11-16T00:00"), backup("2026-11-22T09:00")],
        Policy(0, 0, 2, 0),
        {
            "11-22T09:00": ("newest",),
            "11-16T00:00": ("weekly 2026-W47",),
            "11-15T23:59": ("weekly 2026-W46",),
        },
    ),
    "the last days of a year belong to the next year's first week": Example(
        [backup("2025-12-29T00:00"), backup("2026-01-01T00:00")],
        Policy(0, 0, 1, 1),
        {"01-01T00:00": ("newest", "monthly 2026-01"), "12-29T00:00": ("weekly 2026-W01",)},
    ),
    "a month of silence expires nothing": Example(
        [backup("2026-10-01T00:00"), backup("2026-10-01T01:00"), backup("2026-10-02T00:00")],
        Policy(3, 1, 1, 1),
        {
            "10-02T00:00": ("newest", "hourly 2026-10-02T00", "daily 2026-10-02"),
            "10-01T01:00": ("hourly 2026-10-01T01",),
            "10-01T00:00": ("hourly 2026-10-01T00", "weekly 2026-W40", "monthly 2026-10"),
        },
    ),
    "all counts zero still keeps the newest": Example(
        [backup("2026-11-22T10:00"), backup("2026-11-22T11:00")],
        Policy(0, 0, 0, 0),
        {"11-22T11:00": ("newest",)},
    ),
    "the last proven backup stays whatever its age": Example(
        [
            backup("2020-06-01T00:00", proven=True),
            backup("2026-01-01T00:00", proven=True),
            backup("2026-11-22T11:00"),
        ],
        Policy(1, 0, 0, 0),
        {"11-22T11:00": ("newest", "hourly 2026-11-22T11"), "01-01T00:00": ("last proven",)},
    ),
    "a chain is kept down to its full backup": Example(
        [
            backup("2026-11-01T00:00"),
            backup("2026-11-10T00:00", parents=("11-01T00:00",)),
            backup("2026-11-15T00:00", parents=("11-01T00:00",)),
            backup("2026-11-22T11:00", parents=("11-10T00:00",)),
        ],
        Policy(1, 0, 0, 0),
        {
            "11-22T11:00": ("newest", "hourly 2026-11-22T11"),
            "11-10T00:00": ("parent of 11-22T11:00",),
            "11-01T00:00": ("parent of 11-10T00:00",),
        },
    ),
    "an unreadable newest neither expires nor displaces the good one": Example(
        [
            backup("2026-11-20T11:00"),
            backup("2026-11-21T11:00"),
            backup("2026-11-22T11:00", readable=False, parents=("11-20T11:00",)),
        ],
        Policy(1, 0, 0, 0),
        {
            "11-22T11:00": ("unreadable",),
            "11-21T11:00": ("newest", "hourly 2026-11-21T11"),
            "11-20T11:00": ("parent of 11-22T11:00",),
        },
    ),
    "the schedule keeps three days, the window of seven needs a base backup older than that": Example(
        [base("2026-11-10T01:00"), base("2026-11-13T01:00"), base("2026-11-14T01:00"),
         base("2026-11-15T01:00"), base("2026-11-16T01:00"), base("2026-11-16T13:00"),
         base("2026-11-22T01:00")],
        Policy(1, 0, 0, 0, window=WEEK),
        {
            "11-22T01:00": ("newest", "hourly 2026-11-22T01", "window 2026-11-22"),
            "11-16T01:00": ("window 2026-11-16",),
            "11-15T01:00": ("window 2026-11-15",),
            "11-14T01:00": ("window 2026-11-14",),
        },
    ),
    "without a base backup for days the window begins from an old one, and its chain": Example(
        [base("2026-10-01T00:00"), base("2026-10-02T00:00", parents=("10-01T00:00",)),
         base("2026-11-22T01:00")],
        Policy(1, 0, 0, 0, window=WEEK),
        {
            "11-22T01:00": ("newest", "hourly 2026-11-22T01", "window 2026-11-22"),
            "10-02T00:00": ("window 2026-10-02",),
            "10-01T00:00": ("parent of 10-02T00:00",),
        },
    ),
    "the window reaches back from the newest backup: silence moves it nowhere": Example(
        [base("2026-10-01T00:00"), base("2026-10-09T00:00")],
        Policy(1, 0, 0, 0, window=WEEK),
        {
            "10-09T00:00": ("newest", "hourly 2026-10-09T00", "window 2026-10-09"),
            "10-01T00:00": ("window 2026-10-01",),
        },
    ),
    "a server replaced within the window: each moment of it from the server that it was on": Example(
        [base("2026-11-12T00:00"), base("2026-11-18T00:00", system_id="2"),
         base("2026-11-18T01:00", system_id="2"), base("2026-11-22T01:00", system_id="2")],
        Policy(1, 0, 0, 0, window=WEEK),
        {
            "11-22T01:00": ("newest", "hourly 2026-11-22T01", "window 2026-11-22"),
            "11-18T00:00": ("window 2026-11-18",),
            "11-12T00:00": ("window 2026-11-12",),
        },
    ),
    "a server replaced before the window": Example(
        [base("2026-11-10T00:00"), base("2026-11-12T00:00", system_id="2"),
         base("2026-11-22T01:00", system_id="2")],
        Policy(1, 0, 0, 0, window=WEEK),
        {
            "11-22T01:00": ("newest", "hourly 2026-11-22T01", "window 2026-11-22"),
            "11-12T00:00": ("window 2026-11-12",),
        },
    ),
    "two servers that take turns each keep what their part of the window begins from": Example(
        [base("2026-11-11T00:00"), base("2026-11-12T00:00", system_id="2"), base("2026-11-18T00:00"),
         base("2026-11-22T01:00", system_id="2")],
        Policy(1, 0, 0, 0, window=WEEK),
        {
            "11-22T01:00": ("newest", "hourly 2026-11-22T01", "window 2026-11-22"),
            "11-18T00:00": ("window 2026-11-18",),
            "11-12T00:00": ("window 2026-11-12",),
            "11-11T00:00": ("window 2026-11-11",),
        },
    ),
    "a target that is dumped by now keeps no base backup for ever": Example(
        [base("2026-10-01T00:00"), backup("2026-11-21T00:00"), backup("2026-11-22T01:00")],
        Policy(1, 0, 0, 0, window=WEEK),
        {"11-22T01:00": ("newest", "hourly 2026-11-22T01")},
    ),
    "a parent that is gone already is no reason to fail": Example(
        [backup("2026-11-22T11:00", parents=("gone",))], Policy(1, 0, 0, 0),
        {"11-22T11:00": ("newest", "hourly 2026-11-22T11")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_worked_example(example: Example) -> None:
    result = plan(example.backups, example.policy, example.now)
    assert {k.backup_id: k.reasons for k in result.keep} == example.keeps
    assert kept(result) == list(example.keeps)
    assert {e.backup_id for e in result.expire} == {b.backup_id for b in example.backups} - set(example.keeps)
    assert result.refused is None


def test_a_year_of_hourly_backups_leaves_the_schedule() -> None:
    history = hourly("2025-11-22T13:00", "2026-11-22T12:00")
    result = plan(history, USUAL, NOON)
    names = [reason.split()[0] for k in result.keep for reason in k.reasons]
    assert {n: names.count(n) for n in set(names)} == {
        "newest": 1, "hourly": 24, "daily": 7, "weekly": 5, "monthly": 12,
    }  # fmt: skip
    assert len(result.keep) + len(result.expire) == len(history)
    assert "newest 24 hours, 7 days, 5 weeks, 12 months" in result.expire[0].reason


def test_clock_set_back_expires_nothing_and_says_why() -> None:
    history = hourly("2026-11-20T00:00", "2026-11-22T12:00")
    result = plan(history, USUAL, NOON - timedelta(hours=1))
    assert result.expire == ()
    assert len(result.keep) == len(history)
    assert result.refused is not None
    assert "2026-11-22T12:00:00.000000Z, which lies in the future of this clock" in result.refused


def test_unreadable_backup_in_the_future_counts_as_a_clock_in_doubt_too() -> None:
    history = [backup("2026-11-22T11:00"), backup("2026-11-23T11:00", readable=False)]
    assert plan(history, USUAL, NOON).refused


def test_clocks_a_few_seconds_apart_are_no_reason_to_refuse() -> None:
    assert plan([backup("2026-11-22T12:00")], USUAL, NOON - timedelta(seconds=20)).refused is None


def test_clock_a_year_ahead_costs_one_period_of_each_kind() -> None:
    history = hourly("2026-09-01T00:00", "2026-11-22T12:00")
    before = plan(history, USUAL, NOON)
    survivors = [b for b in history if b.backup_id in kept(before)]
    ahead = BackupFacts("ahead", NOON + timedelta(days=365))
    result = plan([*survivors, ahead], USUAL, ahead.taken_at)
    # Every hour, day, week and month that is held moves by one, none by a year.
    assert len(result.expire) <= 3
    assert {b.backup_id for b in survivors[-22:]} <= set(kept(result))
    # And when the clock is right again, the backup from the future blocks expiry until somebody looks.
    assert plan([*survivors, ahead], USUAL, NOON).refused


def test_now_alone_expires_nothing_more() -> None:
    history = hourly("2026-11-01T00:00", "2026-11-22T12:00")
    assert plan(history, USUAL, NOON) == plan(history, USUAL, NOON + timedelta(days=3650))


def test_periods_are_counted_in_utc() -> None:
    east = datetime.fromisoformat("2026-11-22T00:30:00+02:00")  # still the 21st in UTC
    result = plan([BackupFacts("east", east)], Policy(0, 1, 0, 0), NOON)
    assert result.keep[0].reasons == ("newest", "daily 2026-11-21")


@pytest.mark.parametrize("index", range(4))
def test_negative_count_is_refused(index: int) -> None:
    counts = [1, 1, 1, 1]
    counts[index] = -1
    with pytest.raises(UsageError, match="negative"):
        Policy(*counts)


# -- object lock ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taken", "earlier", "end"),
    [
        pytest.param("2026-11-11T01:20", ["2026-11-11T00:00", "2026-11-09T00:00", "2026-11-01T00:00"],
                     "2026-11-12T01:00", id="one of the hour: 24 hours"),
        pytest.param("2026-11-11T00:00", ["2026-11-09T00:00", "2026-11-01T00:00"],
                     "2026-11-18T00:00", id="first of the day: 7 days"),
        pytest.param("2026-11-09T00:00", ["2026-11-01T00:00"], "2026-12-14T00:00",
                     id="first of the week: 5 weeks"),
        pytest.param("2026-11-01T00:00", ["2026-10-31T23:00"], "2027-11-01T00:00",
                     id="first of the month: a year"),
        pytest.param("2026-11-11T01:20", [], "2027-11-01T00:00", id="first of all: the longest"),
        pytest.param("2026-11-11T01:20", ["2026-11-11T02:00"], "2027-11-01T00:00",
                     id="later ones count for nothing"),
    ],
)  # fmt: skip
def test_lock_lasts_as_long_as_the_schedule_keeps(taken: str, earlier: list[str], end: str) -> None:
    assert gfs_end(at(taken), USUAL, map(at, earlier)) == at(end)


@pytest.mark.parametrize(
    ("taken", "same_server", "end"),
    [
        pytest.param("2026-11-11T01:20", [], "2026-11-20T00:00", id="the first of its day"),
        pytest.param("2026-11-11T01:20", ["2026-11-10T23:59"], "2026-11-20T00:00",
                     id="the day before counts for nothing"),
        pytest.param("2026-11-11T01:20", ["2026-11-11T00:00"], "2026-11-12T01:00", id="another of its day"),
        pytest.param("2026-11-11T01:20", None, "2026-11-12T01:00", id="logical"),
    ],
)  # fmt: skip
def test_lock_of_a_base_backup_covers_the_window(taken: str, same_server: list[str] | None, end: str) -> None:
    servers = None if same_server is None else map(at, same_server)
    others = map(at, ["2026-11-11T00:00", "2026-11-09T00:00", "2026-11-01T00:00"])
    assert gfs_end(at(taken), Policy(24, 3, 5, 12, window=WEEK), others, servers) == at(end)


def test_no_lock_when_the_policy_keeps_nothing_by_time() -> None:
    assert gfs_end(NOON, Policy(0, 0, 0, 0)) == NOON


# -- properties ----------------------------------------------------------------------------------

counts = st.integers(0, 6)
windows = st.integers(0, 24 * 20).map(lambda hours: timedelta(hours=hours))
policies = st.builds(Policy, counts, counts, counts, counts, window=windows)
servers = st.sampled_from(["", "1", "1", "1", "2"])
moments = st.integers(0, 60 * 24 * 150).map(lambda minutes: NOON - timedelta(minutes=minutes))


@st.composite
def histories(draw: st.DrawFn) -> list[BackupFacts]:
    """Up to 40 backups, logical or of two servers, shuffled; some incremental, proven or unreadable."""
    taken = sorted(draw(st.lists(moments, max_size=40, unique=True)))
    found: list[BackupFacts] = []
    for number, moment in enumerate(taken):
        parent = draw(st.sampled_from([None, None, *[b.backup_id for b in found]])) if found else None
        found.append(
            BackupFacts(
                backup_id=f"b{number:02d}",
                taken_at=moment,
                parents=(parent,) if parent else (),
                proven=draw(st.booleans()),
                readable=draw(st.sampled_from([True, True, True, False])),
                system_id=draw(servers),
            )
        )
    return list(draw(st.permutations(found)))


def survivors(backups: Iterable[BackupFacts], result: RetentionPlan) -> list[BackupFacts]:
    return [b for b in backups if b.backup_id in set(kept(result))]


@given(histories(), policies)
def test_every_backup_is_either_kept_or_expired(history: list[BackupFacts], policy: Policy) -> None:
    result = plan(history, policy, NOON)
    named = kept(result) + [e.backup_id for e in result.expire]
    assert sorted(named) == sorted(b.backup_id for b in history)
    assert all(k.reasons for k in result.keep)


@given(histories(), policies)
def test_planning_again_expires_nothing_more(history: list[BackupFacts], policy: Policy) -> None:
    result = plan(history, policy, NOON)
    assert plan(survivors(history, result), policy, NOON).expire == ()


@given(histories(), policies)
def test_order_of_the_backups_does_not_matter(history: list[BackupFacts], policy: Policy) -> None:
    in_order = sorted(history, key=lambda b: b.backup_id)  # histories come shuffled
    assert plan(in_order, policy, NOON) == plan(history, policy, NOON)


@given(histories(), policies, st.booleans(), st.integers(1, 10**6))
def test_a_newer_backup_brings_no_expired_one_back(
    history: list[BackupFacts], policy: Policy, proven: bool, minutes: int
) -> None:
    newest = max((b for b in history if b.readable), key=lambda b: b.taken_at, default=None)
    newer = BackupFacts(
        "newer",
        NOON + timedelta(minutes=minutes),
        proven=proven,
        system_id=newest.system_id if newest else "",
    )
    before = plan(history, policy, newer.taken_at)
    after = plan([*history, newer], policy, newer.taken_at)
    assert {e.backup_id for e in before.expire} <= {e.backup_id for e in after.expire}


@given(histories(), policies)
def test_what_must_never_go_stays(history: list[BackupFacts], policy: Policy) -> None:
    stays = set(kept(plan(history, policy, NOON)))
    readable = sorted((b for b in history if b.readable), key=lambda b: b.taken_at)
    assert bool(stays) == bool(history)
    assert {b.backup_id for b in readable[-1:]} <= stays
    assert {b.backup_id for b in readable if b.proven} & stays or not any(b.proven for b in readable)
    assert {b.backup_id for b in history if not b.readable} <= stays
    assert all(set(b.parents) <= stays for b in history if b.backup_id in stays)


@given(histories(), policies)
def test_every_moment_of_the_window_has_a_base_backup(history: list[BackupFacts], policy: Policy) -> None:
    """As far as there ever was one: of the server that the newest backup came from."""
    readable = sorted((b for b in history if b.readable), key=lambda b: b.taken_at)
    if not readable or not readable[-1].system_id:
        return
    begin = readable[-1].taken_at - policy.window
    own = [b for b in readable if b.system_id == readable[-1].system_id]
    days = {b.taken_at.date(): b for b in reversed(own)}
    stays = set(kept(plan(history, policy, NOON)))
    assert not any(b.taken_at <= begin for b in days.values()) or any(
        b.backup_id in stays for b in own if b.taken_at <= begin
    )
    assert {b.backup_id for b in days.values() if b.taken_at > begin} <= stays


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(moments, st.sampled_from(["", "1", "2"])), min_size=1, max_size=80, unique_by=lambda p: p[0]
    ),
    policies,
)
def test_nothing_expires_before_its_lock_ends(taken: list[tuple[datetime, str]], policy: Policy) -> None:
    """Living through a history, deleting after each backup as planned, no lock is ever in the way."""
    alive: dict[str, BackupFacts] = {}
    locked: dict[str, datetime] = {}
    for moment, server in sorted(taken):
        name = moment.isoformat()
        same = [b.taken_at for b in alive.values() if b.system_id == server]
        locked[name] = gfs_end(moment, policy, [b.taken_at for b in alive.values()], same if server else None)
        alive[name] = BackupFacts(name, moment, system_id=server)
        result = plan(list(alive.values()), policy, moment)
        for expired in result.expire:
            assert locked[expired.backup_id] <= moment
            del alive[expired.backup_id]


def test_living_by_the_hour_the_window_begins_less_than_two_days_early_from_a_locked_backup() -> None:
    """Hourly base backups, three days in the schedule, a window of seven."""
    policy = Policy(24, 3, 0, 0, window=WEEK)
    alive: dict[str, BackupFacts] = {}
    locked: dict[str, datetime] = {}
    for hour in range(24 * 30):
        now = NOON + timedelta(hours=hour)
        moments = [b.taken_at for b in alive.values()]
        locked[now.isoformat()] = gfs_end(now, policy, moments, moments)
        alive[now.isoformat()] = BackupFacts(now.isoformat(), now, system_id="1")
        for expired in plan(list(alive.values()), policy, now).expire:
            del alive[expired.backup_id]
        begins = max(
            (b for b in alive.values() if b.taken_at <= now - WEEK), key=lambda b: b.taken_at, default=None
        )
        if hour >= 24 * 7:
            assert begins is not None
            assert now - WEEK - begins.taken_at < BASES_APART
            assert locked[begins.backup_id] > now
    assert len(alive) <= 24 + 10
