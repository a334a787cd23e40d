"""Which WAL stays: worked examples, and what must hold whatever the backups are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pra.postgres.wal import segment_end, segment_name, segment_start
from pra.retention import BackupFacts, Policy
from pra.retention import plan as backup_plan
from pra.wal.archive import Archive, ArchivedPartial, ArchivedSegment
from pra.wal.retention import WalBackup, kept_whole_from, plan

SIZE = 16 << 20
SERVER = "7000000000000000001"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY, WEEK = timedelta(days=1), timedelta(days=7)


def seg(number: int, timeline: int = 1) -> str:
    return segment_name(timeline, number * SIZE, SIZE)


def sha(number: int) -> str:
    return f"{number:064x}"


def backup(days: float, first: int, last: int | None = None, **changed: object) -> WalBackup:
    """Taken so many days ago, in need of the segments from ``first`` to ``last``."""
    numbers = range(first, (first if last is None else last) + 1)
    one = WalBackup(
        f"backup-{days}-{first}",
        NOW - timedelta(days=days),
        SERVER,
        first * SIZE + 40,
        tuple((seg(n), sha(n)) for n in numbers),
    )
    return replace(one, **changed)  # type: ignore[arg-type]


def archive(*numbers: int, age: timedelta = 3 * DAY, system_id: str = SERVER) -> Archive:
    segments = {seg(n): (ArchivedSegment(f"key-{n}", seg(n), sha(n), True, 100, NOW - age),) for n in numbers}
    return Archive("near", "db", system_id, segments)


def kept(listing: Archive, *backups: WalBackup, window: timedelta = WEEK) -> set[int]:
    """Numbers of the segments that stay."""
    found = plan(listing, backups, segment_bytes=SIZE, window=window, longest_backup=DAY, now=NOW)
    gone = {one.name for one in found.expire}
    assert found.keep == len(listing.segments) - len(gone)
    return {segment_start(name, SIZE) // SIZE for name in listing.segments if name not in gone}


@pytest.mark.parametrize(
    ("backups", "expected"),
    [
        pytest.param(
            [backup(1, 50), backup(3, 30), backup(9, 10), backup(12, 5)],
            {5, *range(10, 61)},
            id="whole from the newest backup older than the window, before it what backups name",
        ),
        pytest.param([backup(1, 50), backup(3, 30)], set(range(30, 61)), id="all backups in the window"),
        pytest.param([backup(9, 10, 12)], set(range(10, 61)), id="the only backup, older than the window"),
        pytest.param([], set(range(61)), id="no backup: the first may be under way"),
        pytest.param(
            [backup(1, 50), backup(9, 40), backup(3, 20)],
            set(range(20, 61)),
            id="a backup of a server that was put back starts before an older one",
        ),
        pytest.param(
            [backup(1, 50), backup(9, 30), backup(20, 10, 12, in_use=True)],
            set(range(10, 61)),
            id="somebody restores from an old backup",
        ),
        pytest.param(
            [backup(1, 50), backup(10, 0, readable=False, wal=(), system_id=""), backup(12, 20)],
            set(range(20, 61)),
            id="an unreadable backup may need all from the readable one before it",
        ),
        pytest.param(
            [backup(1, 50), backup(10, 0, readable=False, wal=(), system_id="")],
            set(range(61)),
            id="an unreadable backup and none before it: everything stays",
        ),
        pytest.param(
            [backup(40, 50), backup(44, 30), backup(49, 10)],
            {10, *range(10, 61)},
            id="after forty days without a backup the window reaches back from the newest one",
        ),
    ],
)
def test_what_stays(backups: list[WalBackup], expected: set[int]) -> None:
    assert kept(archive(*range(61)), *backups) == expected


def test_what_has_just_landed_stays_whatever_its_position() -> None:
    """A backup that is being copied here brings old WAL before its manifest."""
    listing = archive(*range(10), age=timedelta(hours=23))
    assert kept(listing, backup(1, 50), backup(9, 40)) == set(range(10))
    assert kept(archive(*range(10), age=timedelta(hours=25)), backup(1, 50), backup(9, 40)) == set()


def test_a_replaced_server_keeps_what_its_kept_backups_name() -> None:
    other = "7000000000000000002"
    mine = [backup(20, 10, 12), backup(2, 5, system_id=other), backup(9, 3, system_id=other)]
    assert kept(archive(*range(61)), *mine) == {10, 11, 12}


def test_servers_that_take_turns_each_begin_from_their_own_backup() -> None:
    """Between the other's backup of 9 days and its own of 5, a moment is reached from its own of 11."""
    other = "7000000000000000002"
    turns = [backup(11, 10), backup(9, 3, system_id=other), backup(5, 40), backup(1, 20, system_id=other)]
    assert kept_whole_from(turns, SERVER, WEEK, NOW) == 10 * SIZE + 40
    assert kept_whole_from(turns, other, WEEK, NOW) == 3 * SIZE + 40


def test_what_was_streamed_under_a_lock_stays_until_that_is_over() -> None:
    """A deletion would be refused, segment by segment, at every expiry."""
    backups = [backup(1, 50), backup(9, 40)]
    for age, expected in ((8 * DAY, {1, 2}), (9 * DAY, set())):
        found = plan(
            archive(1, 2, age=age),
            backups,
            segment_bytes=SIZE,
            window=WEEK,
            longest_backup=DAY,
            now=NOW,
            locked=9 * DAY,
        )
        assert {1, 2} - {segment_start(one.name, SIZE) // SIZE for one in found.expire} == expected


def test_wal_of_a_server_without_any_backup_goes_after_the_window() -> None:
    assert kept(archive(1, 2, age=8 * DAY)) == set()
    assert kept(archive(1, 2, age=6 * DAY)) == {1, 2}


def test_a_segment_of_other_contents_than_a_backup_names_is_not_what_it_needs() -> None:
    """A fork: of two contents only the one that a backup names is kept before the window."""
    listing = archive(5)
    forked = replace(listing.segments[seg(5)][0], key="key-other", sha256=sha(99))
    both = replace(listing, segments={seg(5): (*listing.segments[seg(5)], forked)})
    found = plan(
        both,
        [backup(1, 50), backup(9, 30), backup(12, 5)],
        segment_bytes=SIZE,
        window=WEEK,
        longest_backup=DAY,
        now=NOW,
    )
    assert [one.key for one in found.expire] == ["key-other"]


def test_superfluous_and_old_beginnings_go_and_the_newest_stays() -> None:
    def begun(number: int, age: timedelta) -> ArchivedPartial:
        return ArchivedPartial(f"begun-{number}", seg(number), number * SIZE + 9, True, 10, NOW - age)

    listing = replace(
        archive(50, 51),
        partials={seg(52): begun(52, 2 * DAY), seg(20): begun(20, 9 * DAY)},
        stale=(begun(51, 2 * DAY),),
    )
    found = plan(
        listing,
        [backup(1, 50), backup(9, 40)],
        segment_bytes=SIZE,
        window=WEEK,
        longest_backup=DAY,
        now=NOW,
    )
    assert {one.key: one.reason for one in found.expire} == {
        "begun-20": "before the window, and no backup names it",
        "begun-51": "a longer piece of the same segment is here",
    }


@given(
    st.lists(st.integers(1, 24 * 40), min_size=1, max_size=40, unique=True),
    st.integers(0, 24 * 20),
    st.tuples(*[st.integers(0, 6)] * 4),
)
def test_both_retentions_mean_the_same_window(
    ages: list[int], hours: int, counts: tuple[int, int, int, int]
) -> None:
    """Among the backups that stay is one that the window's WAL begins from, if there ever was one."""
    window = timedelta(hours=hours)
    taken = {f"b{age:04d}": NOW - timedelta(hours=age) for age in ages}
    facts = [BackupFacts(name, moment, system_id=SERVER) for name, moment in taken.items()]
    stays = {one.backup_id for one in backup_plan(facts, Policy(*counts, window=window), NOW).keep}
    starts = {name: number for number, name in enumerate(sorted(taken, reverse=True))}
    remaining = [WalBackup(name, taken[name], SERVER, starts[name]) for name in stays]
    horizon = max(taken.values()) - window
    before = [name for name in stays if taken[name] <= horizon]
    assert kept_whole_from(remaining, SERVER, window, NOW) == (
        max(starts[name] for name in before) if before else min(starts[name] for name in stays)
    )
    firsts = {moment.date(): moment for moment in sorted(taken.values(), reverse=True)}
    assert bool(before) or all(moment > horizon for moment in firsts.values())


days = st.floats(min_value=0, max_value=400, allow_nan=False)


@given(
    backups=st.lists(
        st.builds(
            lambda age, first, more, readable: backup(age, first, first + more, readable=readable),
            days,
            st.integers(0, 60),
            st.integers(0, 3),
            st.booleans(),
        ),
        max_size=8,
    ),
    window=st.integers(1, 60),
    late=st.integers(0, 400),
)
def test_no_kept_backup_and_no_moment_of_the_window_loses_anything(
    backups: list[WalBackup], window: int, late: int
) -> None:
    """Whatever the ages, and however far ahead our clock is."""
    listing = archive(*range(61), age=500 * DAY)
    found = plan(
        listing,
        backups,
        segment_bytes=SIZE,
        window=timedelta(days=window),
        longest_backup=DAY,
        now=NOW + timedelta(days=late),
    )
    gone = {one.name for one in found.expire}
    readable = sorted((b for b in backups if b.readable), key=lambda b: (b.taken_at, b.backup_id))
    for one in readable:
        assert not gone & {name for name, _ in one.wal}
    if readable:
        # From the newest backup, and from each one in the window that ends with it, WAL leads to the end.
        reach = readable[-1].taken_at - timedelta(days=window)
        for one in readable:
            if one.taken_at > reach or one is readable[-1]:
                assert not {name for name in gone if segment_end(name, SIZE) > one.start}
    whole = kept_whole_from(backups, SERVER, timedelta(days=window), NOW + timedelta(days=late))
    assert whole == found.keep_from
