"""What comparison says of two fingerprints, and of restored sequences."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pra.errors import IntegrityError
from pra.postgres.comparison import compare, compare_matviews, incomparable
from pra.postgres.facts import Definition, Fingerprint, LargeObjects, SequenceValue, TableDigest
from pra.postgres.sequences import compare_sequences

USERS = TableDigest("public", "users", 3, "aa", 8192, "table")
TOTALS = TableDigest("public", "totals", 1, "cc", 8192, "matview")
FINGERPRINT = Fingerprint(
    depth="digest",
    server_version_num=180006,
    snapshot="00000003-1",
    visible="10:10:",
    taken_at=datetime(2026, 11, 22, 7, 9, tzinfo=UTC),
    seconds=1.5,
    tables=(USERS, TableDigest("public", "odd.name", 0, "00", 0, "table")),
    matviews=(TOTALS,),
    large_objects=LargeObjects(1, "dd"),
    sequences=(SequenceValue("public", "s", 5, True, 1, False, "public.users.id", True),),
    definitions=(Definition("table", "public.users", '{"owner": "x"}'),),
    gaps=("user mappings",),
)


def test_equal_fingerprints_have_no_difference() -> None:
    assert compare(FINGERPRINT, FINGERPRINT) == []
    assert compare_matviews(FINGERPRINT, FINGERPRINT) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"rows": 2}, "table public.users: rows: expected 3, observed 2"),
        ({"digest": "ab"}, "table public.users: content: expected aa, observed ab"),
        ({"kind": "unlogged"}, "table public.users: kind: expected table, observed unlogged"),
        ({"name": "people"}, "table public.users: existence: expected 3 rows, observed missing"),
    ],
)
def test_changed_table_is_named(change: dict[str, str], complaint: str) -> None:
    tables = (replace(USERS, **change), *FINGERPRINT.tables[1:])  # type: ignore[arg-type]
    assert complaint in [str(d) for d in compare(FINGERPRINT, replace(FINGERPRINT, tables=tables))]


def test_extra_table_is_named() -> None:
    extra = replace(FINGERPRINT, tables=(*FINGERPRINT.tables, replace(USERS, name="x")))
    assert [str(d) for d in compare(FINGERPRINT, extra)] == [
        "table public.x: existence: expected absent, observed 3 rows"
    ]


def test_dots_in_names_do_not_make_tables_one() -> None:
    """``"a.b".c`` and ``a."b.c"`` are two tables."""
    left = replace(FINGERPRINT, tables=(replace(USERS, schema="a.b", name="c"),))
    right = replace(FINGERPRINT, tables=(replace(USERS, schema="a", name="b.c"),))
    assert len(compare(left, right)) == 2


def test_large_objects_are_compared_by_count_then_content() -> None:
    fewer = replace(FINGERPRINT, large_objects=LargeObjects(0, "00"))
    other = replace(FINGERPRINT, large_objects=LargeObjects(1, "de"))
    assert [d.aspect for d in compare(FINGERPRINT, fewer)] == ["count"]
    assert [d.aspect for d in compare(FINGERPRINT, other)] == ["content"]


def test_materialized_views_are_apart() -> None:
    stale = replace(FINGERPRINT, matviews=(replace(TOTALS, digest="ce"),))
    assert compare(FINGERPRINT, stale) == []
    assert [d.aspect for d in compare_matviews(FINGERPRINT, stale)] == ["content"]


def test_counts_are_all_that_is_compared_where_one_side_only_counted_or_the_major_differs() -> None:
    tables = tuple(replace(table, digest="ff") for table in FINGERPRINT.tables)
    counted = replace(FINGERPRINT, depth="counts", tables=tables)
    newer = replace(FINGERPRINT, server_version_num=190000, tables=tables)
    assert compare(FINGERPRINT, counted) == []
    assert compare(FINGERPRINT, newer) == []
    assert incomparable(FINGERPRINT, counted) == ""
    assert incomparable(FINGERPRINT, newer) == "taken on PostgreSQL 18, restored on 19"


def test_json_keeps_everything() -> None:
    assert Fingerprint.from_json(FINGERPRINT.to_json()) == FINGERPRINT


@pytest.mark.parametrize(
    "damage", [{"schema": "pra/fingerprint/9"}, {"tables": [{"rows": 1}]}, {"depth": None}]
)
def test_misshapen_json_is_an_integrity_error(damage: dict[str, object]) -> None:
    data = FINGERPRINT.to_json() | damage
    if damage == {"depth": None}:
        del data["depth"]
    with pytest.raises(IntegrityError, match="read fingerprint"):
        Fingerprint.from_json(data)


SEQUENCE = FINGERPRINT.sequences[0]
DOWN = replace(SEQUENCE, increment=-3, last_value=-5)


@pytest.mark.parametrize(
    ("was", "now", "complaints"),
    [
        pytest.param(SEQUENCE, SEQUENCE, [], id="where it was"),
        pytest.param(SEQUENCE, replace(SEQUENCE, last_value=99), [], id="further on"),
        pytest.param(
            SEQUENCE,
            replace(SEQUENCE, last_value=4),
            ["expected next value at or past 6, observed 5"],
            id="behind",
        ),
        pytest.param(
            SEQUENCE,
            replace(SEQUENCE, is_called=False),
            ["next value at or past 6, observed 5"],
            id="not called",
        ),
        pytest.param(
            SEQUENCE,
            replace(SEQUENCE, covers=False),
            ["past its column public.users.id"],
            id="behind its column",
        ),
        pytest.param(
            replace(SEQUENCE, covers=False),
            replace(SEQUENCE, covers=False),
            [],
            id="behind its column already",
        ),
        pytest.param(DOWN, replace(DOWN, last_value=-8), [], id="descending, further on"),
        pytest.param(
            DOWN, replace(DOWN, last_value=-2), ["at or past -8, observed -5"], id="descending, behind"
        ),
        pytest.param(
            replace(SEQUENCE, cycle=True), replace(SEQUENCE, cycle=True, last_value=1), [], id="cycling"
        ),
        pytest.param(SEQUENCE, replace(SEQUENCE, name="t"), ["missing", "present"], id="another name"),
    ],
)
def test_sequence_may_only_be_at_or_past(
    was: SequenceValue, now: SequenceValue, complaints: list[str]
) -> None:
    found = [str(d) for d in compare_sequences([was], [now])]
    assert len(found) == len(complaints)
    assert all(part in line for part, line in zip(complaints, found, strict=True))
