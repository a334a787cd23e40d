"""Cliffs and vanished tables: the rule's worked examples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.continuity import FEW_ROWS, findings
from pra.manifest import TableCount

MEGABYTE = 1 << 20


def tables(**rows: int) -> list[TableCount]:
    return [TableCount(name=f"public.{name}", rows=count, bytes=count * 100) for name, count in rows.items()]


@pytest.mark.parametrize(
    ("now", "earlier", "finding"),
    [
        pytest.param(100, [], None, id="first backup: nothing to compare"),
        pytest.param(100, [100], None, id="unchanged"),
        pytest.param(51, [100], None, id="fell, not by half"),
        pytest.param(49, [100], "49 rows, held 100 rows", id="fell by more than half"),
        pytest.param(0, [100], "empty, held 100 rows", id="emptied"),
        pytest.param(0, [1], "empty, held 1 row", id="emptied, though small"),
        pytest.param(2, [FEW_ROWS - 1], None, id="small tables may shrink"),
        pytest.param(40, [100, 100, 90], "40 rows, held 100 rows", id="below the median"),
        pytest.param(0, [0, 100, 100], "empty, held 100 rows", id="emptied two backups ago: still a finding"),
        pytest.param(0, [0, 0, 100], None, id="empty in most backups: settled"),
        pytest.param(0, [50, 0, 0, 0, 70], None, id="a queue that is often empty"),
        pytest.param(1000, [100], None, id="growth is no finding"),
    ],
)
def test_a_cliff_in_rows(now: int, earlier: list[int], finding: str | None) -> None:
    # The steady table keeps the sum of all tables out of the question.
    found = findings(
        tables(orders=now, steady=10_000), [tables(orders=rows, steady=10_000) for rows in earlier], {}
    )
    assert found == ([f"public.orders: {finding}"] if finding else [])


@pytest.mark.parametrize(
    ("present", "vanished"),
    [
        pytest.param([True], True, id="was in the last backup"),
        pytest.param([False, True, True], True, id="was in most"),
        pytest.param([False, False, True], False, id="long gone"),
        pytest.param([True, False, False], True, id="came and went"),
    ],
)
def test_a_vanished_table(present: list[bool], vanished: bool) -> None:
    earlier = [tables(steady=10_000, **({"gone": 5} if there else {})) for there in present]
    found = findings(tables(steady=10_000), earlier, {})
    assert found == (["public.gone: vanished, held 5 rows"] if vanished else [])


def test_many_small_falls_are_a_cliff_together() -> None:
    before = {f"t{i}": FEW_ROWS - 1 for i in range(50)}
    after = {f"t{i}": 3 for i in range(50)}
    assert findings(tables(**after), [tables(**before)], {}) == ["all tables: 150 rows, held 950 rows"]


def test_bytes_that_fall_while_rows_stay_are_a_cliff() -> None:
    def photos(size: int) -> list[TableCount]:
        return [TableCount(name="public.photos", rows=100, bytes=size)]

    assert findings(photos(3 * MEGABYTE), [photos(90 * MEGABYTE)], {}) == [
        "public.photos: 3,145,728 bytes on disk, was 94,371,840 bytes"
    ]
    assert findings(photos(60 * MEGABYTE), [photos(90 * MEGABYTE)], {}) == []


def test_partitions_count_as_their_parent() -> None:
    partitions = {f"public.log_2026_{month}": "public.log (partitions)" for month in (2, 3, 4)}
    now = tables(log_2026_2=100, log_2026_3=100, log_2026_4=10)
    before = tables(log_2026_1=100, log_2026_2=100, log_2026_3=90)
    assert findings(now, [before], partitions) == []
    emptied = tables(log_2026_2=10, log_2026_3=0, log_2026_4=10)
    assert findings(emptied, [before], partitions)[0] == "public.log (partitions): 20 rows, held 290 rows"


def test_a_table_whose_name_looks_like_a_partition_is_one_only_if_its_siblings_are() -> None:
    assert findings(tables(shard_1=100), [tables(shard_1=100, shard_2=30)], {}) == [
        "public.shard_2: vanished, held 30 rows"
    ]


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 10**6), min_size=1), st.integers(1, 5))
def test_the_same_tables_are_never_a_finding(rows: dict[str, int], backups: int) -> None:
    assert findings(tables(**rows), [tables(**rows)] * backups, {}) == []
