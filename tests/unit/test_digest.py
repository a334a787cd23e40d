"""The digest's SQL and arithmetic, without a server."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pra.postgres.digest import Column, Part, Sums, count_sql, digest_sql, parts_of, row_expressions, sums_of

HALF = st.integers(-(2**70), 2**70)


def test_hostile_identifiers_are_quoted() -> None:
    query = digest_sql('s"; DROP TABLE x; --', "été.%s", [Column('a"b', 23)]).as_string(None)
    assert 'FROM ONLY "s""; DROP TABLE x; --"."été.%s"' in query
    assert '"a""b"::int4' in query


def test_columns_go_in_by_name_and_by_the_nature_of_their_type() -> None:
    """Safe types as they are, strings under C, eight-byte types in wire form, the rest together as text."""
    columns = [Column("z", 25), Column("y", 99999), Column("b", 20), Column("a", 23), Column("c", 701)]
    assert [e.as_string(None) for e in row_expressions(columns)] == [
        '"a"::int4',
        'int8send("b")',
        '"z"::text COLLATE "C"',
        'ROW("c", "y")::text COLLATE "C"',
    ]


def test_table_without_columns_is_counted() -> None:
    assert "0::int8 AS h" in digest_sql("s", "t", []).as_string(None)


def test_parts_become_ranges_of_pages() -> None:
    assert count_sql("s", "t", Part(3, None)).as_string(None) == (
        'SELECT count(*) FROM ONLY "s"."t" WHERE ctid >= \'(3,0)\'::tid'
    )
    assert count_sql("s", "t", Part(), "WHERE kept").as_string(None) == (
        'SELECT count(*) FROM ONLY "s"."t" WHERE kept'
    )


@given(st.integers(0, 10**6), st.integers(0, 10**12), st.integers(1, 10**9))
def test_parts_cover_every_page_once(pages: int, weight: int, share: int) -> None:
    """The first part has no beginning and the last no end; each starts where the one before it ends."""
    weight = min(weight, share * 500)
    parts = parts_of(pages, weight, share)
    assert parts[0].first is None
    assert parts[-1].last is None
    for left, right in pairwise(parts):
        assert left.last == right.first
        assert left.last is not None
        assert 0 < left.last < pages
    assert len(parts) <= max(1, pages)


@given(st.lists(st.tuples(HALF, HALF, HALF, HALF), max_size=5))
def test_sums_add_up_in_any_order(rows: list[tuple[int, int, int, int]]) -> None:
    parts = [sums_of((1, *row)) for row in rows]
    assert sum(parts, Sums()) == sum(reversed(parts), Sums())
    assert len(sum(parts, Sums()).hex) == 32


def test_halves_are_put_together_modulo_two_to_the_64() -> None:
    """High halves are signed: an arithmetic shift keeps the sign."""
    assert sums_of((2, -1, 2**32 - 1, 1, 0)) == Sums(2, 2**64 - 1, 2**32)
    assert sums_of((0, None, None, None, None)) == Sums(0, 0, 0)
