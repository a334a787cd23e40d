"""What a scrub chooses, and what damage costs: pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pra.procedures.windows import Window
from pra.scrub.cost import missing_from
from pra.scrub.holdings import Item
from pra.scrub.plan import Amount, plan
from pra.scrub.state import ScrubState

NOW = datetime(2026, 11, 22, tzinfo=UTC)
MONTH = timedelta(days=30)


def items(*ages: float, size: int = 100) -> list[Item]:
    return [Item(f"db/backups/x/objects/{n}", size, NOW - timedelta(days=age)) for n, age in enumerate(ages)]


def names(found: tuple[Item, ...]) -> list[str]:
    return [item.key[-1] for item in found]


def chosen(
    given: list[Item], state: ScrubState | None = None, amount: Amount | None = None, most: int = 10**6
) -> tuple[list[str], int]:
    done = plan(given, state or ScrubState(), amount or Amount(), now=NOW, within=MONTH, most_bytes=most)
    return names(done.chosen), done.overdue


def test_the_oldest_check_comes_first() -> None:
    state = ScrubState()
    state.passed("db/backups/x/objects/0", NOW - timedelta(days=1))
    assert chosen(items(20, 5, 9), state, Amount(sample=2)) == (["2", "1"], 0)


def test_a_days_share_is_a_thirtieth_and_a_little_more() -> None:
    """60 objects in 30 days: two a day, and a third begun."""
    found, overdue = chosen(items(*(n / 10 for n in range(60)), size=1000))
    assert (len(found), overdue) == (3, 0)


def test_what_would_be_too_old_tomorrow_is_read_today() -> None:
    assert chosen(items(29.5, 29.5, 29.5, 3, 2)) == (["0", "1", "2"], 0)


def test_more_than_a_day_may_read_is_said() -> None:
    assert chosen(items(40, 40, 40, 3), most=200) == (["0", "1"], 1)


def test_one_object_larger_than_a_day_is_read_all_the_same() -> None:
    assert chosen(items(40, size=10**9))[0] == ["0"]


def test_known_damage_comes_first_each_time() -> None:
    state = ScrubState()
    state.failed("db/backups/x/objects/2", "it has changed", NOW)
    assert chosen(items(20, 10, 5), state, Amount(sample=1))[0] == ["2", "0"]


def window(start: int, end: int, timeline: int = 1) -> Window:
    first, last = (NOW + timedelta(minutes=n) for n in (start, end))
    return Window("near", "7", timeline, ("x",), first, start, last, end, "wal")


def test_the_lost_moments_are_what_no_window_covers_any_more() -> None:
    """From 0 to 100, a segment at 40 lost, the next backup at 70: 40 to 70 cannot be had."""
    (lost,) = missing_from([window(0, 100)], [window(0, 40), window(70, 100)])
    assert (lost.from_lsn, lost.to_lsn) == (40, 70)
    assert (lost.from_time, lost.to_time) == (NOW + timedelta(minutes=40), NOW + timedelta(minutes=70))
    assert missing_from([window(0, 100)], [window(0, 100)]) == []
    (all_of_it,) = missing_from([window(0, 100)], [window(0, 100, timeline=2)])
    assert (all_of_it.from_lsn, all_of_it.to_lsn) == (0, 100)
    begin, end = missing_from([window(0, 100)], [window(20, 60)])
    assert [(one.from_lsn, one.to_lsn) for one in (begin, end)] == [(0, 20), (60, 100)]
