"""The arithmetic of a load test: spreads, percentiles, forecast; its queries, its comparison, its record."""

from __future__ import annotations

import json
import statistics
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pra.loadtest import diagnosis, judge, queries
from pra.loadtest.diagnosis import Condition, Plan
from pra.loadtest.forecast import LAST, Point, forecast
from pra.loadtest.measures import Load, Query, Round, Spread, durable_ratio, percentile
from pra.loadtest.pgbench import read_log
from pra.loadtest.record import load_test_of
from pra.model import Status
from pra.postgres.facts import Definition
from tests.fix_load_record import failing, passing

START = datetime(2026, 1, 1, tzinfo=UTC)
GB = 10**9


def points(*sizes: float, days: float = 30, rate: float = 100e6) -> list[Point]:
    """Sizes in GB, so many days apart, each restored at that rate."""
    return [
        Point(START + timedelta(days=i * days), round(s * GB), s * GB / rate) for i, s in enumerate(sizes)
    ]


# -- forecast


def test_the_date_is_where_the_line_of_sizes_meets_what_can_be_restored_in_time() -> None:
    """100, 110, 120 GB a month apart, 100 MB/s, 30 min: 180 GB is the limit, 180 days away."""
    found = forecast(points(100, 110, 120), 1800)
    assert (found.state, found.points) == ("until", 3)
    assert found.at is not None
    assert abs(found.at - (START + timedelta(days=60 + 180))) < timedelta(minutes=1)
    assert found.bytes_a_day == round(10 / 30 * GB)
    assert found.rate == 100_000_000


def test_a_crooked_history_gives_the_date_that_the_library_of_statistics_gives() -> None:
    past = points(50, 58, 55, 71, 69, 80, rate=90e6)
    line = statistics.linear_regression([i * 30.0 for i in range(6)], [float(each.bytes) for each in past])
    day = (1200 * 90e6 - line.intercept) / line.slope
    found = forecast(past, 1200)
    assert found.at is not None
    assert abs(found.at - (START + timedelta(days=day))) < timedelta(minutes=5)


def test_the_speed_is_the_median_of_the_newest_restores() -> None:
    slow = points(10, 11, 12, 13, 14, 15, rate=10e6)
    fast = [Point(p.at + timedelta(days=400), p.bytes + 6 * GB, (p.bytes + 6 * GB) / 50e6) for p in slow]
    assert len(fast) > LAST
    assert forecast([*fast, *slow], 1800).rate == 50_000_000


@pytest.mark.parametrize("given", [[], points(1), points(1, 2)])
def test_fewer_than_three_restores_say_nothing(given: list[Point]) -> None:
    found = forecast(given, 1800)
    assert (found.state, found.at, found.points) == ("unknown", None, len(given))
    assert "fewer than 3" in found.reason


def test_restores_of_one_day_say_nothing() -> None:
    assert forecast(points(1, 2, 3, days=0.3), 1800).reason == "all restores on record lie within one day"


@pytest.mark.parametrize("sizes", [(100, 100, 100), (120, 110, 100), (100, 100.0001, 100.0002)])
def test_what_does_not_grow_towards_the_limit_holds(sizes: tuple[float, ...]) -> None:
    assert forecast(points(*sizes), 1800).state == "holds"


def test_what_takes_too_long_today_is_broken() -> None:
    assert forecast(points(100, 150, 200), 1800).state == "broken"


def test_points_without_a_size_do_not_count() -> None:
    assert forecast([*points(1, 2), Point(START, 0, 5.0)], 1800).points == 2


# -- measures


def test_spread_and_percentiles_by_nearest_rank() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0, 3)
    assert Spread.of([]) is None
    hundred = [float(n) for n in range(1, 101)]
    assert [percentile(hundred, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile([7.0], 0.99) == 7.0


def test_the_ratio_is_of_medians() -> None:
    rounds = [Round("restore", s, 1, 1) for s in (4, 9, 6)] + [
        Round("restore-fast", s, 1, 1) for s in (2, 3, 7)
    ]
    assert durable_ratio(rounds) == 2.0
    assert durable_ratio(rounds[:3]) is None


def test_the_log_of_pgbench_is_read_and_failures_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(
        "0 1 1500 0 1700000000 5\n0 2 failed 1 1700000000 6\n0 3 2500 0 1700000000 7\n0 4"
    )
    (tmp_path / "b").write_text("1 1 900 1 1700000000 5\n")
    assert read_log([tmp_path / "a", tmp_path / "b"]) == ({0: [0.0015, 0.0025], 1: [0.0009]}, 1)


# -- queries


def test_the_shipped_queries_have_what_they_need() -> None:
    scripts = queries.akig()
    assert len(scripts) == 10
    for script in scripts:
        values = {name: 100 for name, _ in script.needs}
        statements = script.statements(values)
        assert statements
        assert not any(":" in each.replace("::", "") for each in statements), "every variable has a value"
    writers = {table for script in scripts for table in script.writes}
    assert writers == {"public.payments", "public.invoices", "public.messages"}


def test_a_variable_gets_the_middle_of_its_range() -> None:
    script = queries.parse(
        "x", "-- needs: most = SELECT 1\n\\set a random(1, :most)\nBEGIN;\nSELECT :a, now()::date;\nEND;"
    )
    assert script.statements({"most": 21})[0] == "SELECT 11, now()::date"


# -- comparison


def load(**medians: float) -> Load:
    return Load(4, 10.0, 100, 0, tuple(Query(name, 10, m / 1000, m, m) for name, m in medians.items()))


def test_slow_is_more_than_twice_and_more_than_five_milliseconds() -> None:
    other = load(a=1, b=6, c=100, d=1)
    found = diagnosis.slower(load(a=5.9, b=11.9, c=201, d=20), other)
    assert [name for name, _, _ in found] == ["c", "d"]


def test_the_reason_is_what_is_missing_among_the_tables_of_the_query() -> None:
    here, there = Plan(frozenset({"s.t"}), frozenset({"s.t"})), Plan(frozenset({"s.t"}))

    def why(lacks: Condition) -> tuple[str, tuple[str, ...]]:
        slow = diagnosis.explain("q", 1, 0.1, here, there, lacks)
        return slow.reason, slow.names

    assert why(Condition({"s.i": "s.t", "s.j": "s.other"}, ("s.t",))) == ("index", ("s.i",))
    assert why(Condition({"s.j": "s.other"}, ("s.t", "s.x"))) == ("statistics", ("s.t",))
    assert why(Condition()) == ("scan", ("s.t",))
    assert diagnosis.explain("q", 1, 0.1, there, there, Condition()).reason == "unknown"


def index(name: str, *, valid: bool = True) -> Definition:
    text = f"CREATE INDEX {name} ON public.t USING btree (a)"
    return Definition("index", f"public.{name}", json.dumps({"definition": text, "valid": valid}))


def test_an_index_is_missing_unless_somebody_dropped_it_or_it_was_never_valid() -> None:
    saved = [index("a"), index("b"), index("c", valid=False)]
    assert diagnosis.missing_indexes(saved, [index("a")]) == {"public.b": "public.t"}
    assert diagnosis.missing_indexes(saved, [index("a")], [index("a")]) == {}


def test_nothing_to_compare_with_is_skipped_or_ruled_out() -> None:
    assert judge.slow_queries([], 0, "nothing", asked=True).status is Status.SKIPPED
    assert judge.slow_queries([], 0, "nothing", asked=False).status is Status.NOT_APPLICABLE


def test_a_query_that_never_came_to_an_end_is_not_passed_over() -> None:
    found = judge.slow_queries([], 9, "copy", asked=True, unfinished=["inbox"])
    assert found.status is Status.SKIPPED
    assert "inbox" in found.reason


# -- record


@pytest.mark.parametrize("record", [passing(), failing()], ids=["passing", "failing"])
def test_a_record_is_read_back_as_it_was(record: object) -> None:
    from pra.loadtest.record import LoadTestRecord

    assert isinstance(record, LoadTestRecord)
    stored = json.loads(json.dumps(record.as_json()))
    assert load_test_of(stored).as_json() == stored
    assert not any(isinstance(value, float) for value in flat(stored)), "evidence holds no floats"


def flat(value: object) -> list[object]:
    if isinstance(value, dict):
        return [one for each in value.values() for one in flat(each)]
    if isinstance(value, list):
        return [one for each in value for one in flat(each)]
    return [value]
