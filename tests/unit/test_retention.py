"""Retention: the worked examples are the specification; the properties hold for any history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pra.errors import UsageError
from pra.retention import BackupFacts, Policy, RetentionPlan, gfs_end, plan

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)  # a Sunday
USUAL = Policy(hourly=24, daily=7, weekly=5, monthly=12)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def backup(text: str, **changed: object) -> BackupFacts:
    moment = at(text)
    return replace(BackupFacts(f"{moment:%m-%dT%H:%M}", moment), **changed)  # type: ignore[arg-type]


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


def test_no_lock_when_the_policy_keeps_nothing_by_time() -> None:
    assert gfs_end(NOON, Policy(0, 0, 0, 0)) == NOON


# -- properties ----------------------------------------------------------------------------------

counts = st.integers(0, 6)
policies = st.builds(Policy, counts, counts, counts, counts)
moments = st.integers(0, 60 * 24 * 150).map(lambda minutes: NOON - timedelta(minutes=minutes))


@st.composite
def histories(draw: st.DrawFn) -> list[BackupFacts]:
    """Up to 40 backups, shuffled; some incremental on an earlier one, some proven, some unreadable."""
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
    newer = BackupFacts("newer", NOON + timedelta(minutes=minutes), proven=proven)
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


@settings(max_examples=50)
@given(st.lists(moments, min_size=1, max_size=80, unique=True), policies)
def test_nothing_expires_before_its_lock_ends(taken: list[datetime], policy: Policy) -> None:
    """Living through a history, deleting after each backup as planned, no lock is ever in the way."""
    alive: dict[str, datetime] = {}
    locked: dict[str, datetime] = {}
    for moment in sorted(taken):
        name = moment.isoformat()
        locked[name] = gfs_end(moment, policy, alive.values())
        alive[name] = moment
        result = plan([BackupFacts(n, m) for n, m in alive.items()], policy, moment)
        for expired in result.expire:
            assert locked[expired.backup_id] <= moment
            del alive[expired.backup_id]
