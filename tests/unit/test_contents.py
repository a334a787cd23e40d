"""An archive's table of contents is read by its form, whatever the names in it."""

from __future__ import annotations

import pytest

from pra.engines.contents import entries, is_about, kind_of, rest_of, without
from pra.engines.logical_restore import plan_listing

LISTING = """\
;
; Archive created at 2026-11-22 07:09:55 UTC
2; 3079 16385 EXTENSION - hstore
215; 1259 16390 TABLE public payments owner
216; 1259 16391 TABLE public  RULE  owner
217; 1259 16392 TABLE DATA payments owner
218; 1259 16393 TABLE public a USER MAPPING b owner
219; 1417 16394 SERVER - far owner
220; 1418 16395 USER MAPPING - USER MAPPING public SERVER far owner
221; 6100 16396 SUBSCRIPTION - inbound owner
3456; 0 16390 TABLE DATA public payments owner
3457; 2606 16400 CONSTRAINT public payments payments_pkey owner
3458; 2606 16401 FK CONSTRAINT public payments payments_fk owner
3459; 0 16402 MATERIALIZED VIEW DATA public per city the owner
""".splitlines()


def test_entries_are_told_by_their_place_in_the_line() -> None:
    assert [kind_of(line) for line in entries(LISTING)] == [
        "EXTENSION", "TABLE", "TABLE", "TABLE", "TABLE", "SERVER", "USER MAPPING", "SUBSCRIPTION",
        "TABLE DATA", "CONSTRAINT", "FK CONSTRAINT", "MATERIALIZED VIEW DATA",
    ]  # fmt: skip


def test_a_comment_is_no_entry() -> None:
    assert kind_of(LISTING[1]) == ""
    assert rest_of(LISTING[1]) == ""


def test_rows_are_found_by_schema_and_name() -> None:
    assert [
        line for line in LISTING if kind_of(line) == "TABLE DATA" and is_about(line, "public", "payments")
    ] == [LISTING[10]]
    assert not is_about(LISTING[10], "public", "pay")


def test_without_drops_kinds_and_never_names() -> None:
    kept = without(LISTING, {"RULE", "USER MAPPING"}.__contains__)
    assert len(kept) == len(entries(LISTING)) - 1
    assert LISTING[4] in kept


@pytest.mark.parametrize("leave_out", [True, False])
def test_what_dials_out_is_left_out_by_name_and_nothing_else(leave_out: bool) -> None:
    keep, left_out, refresh = plan_listing(LISTING, leave_out=leave_out)
    assert refresh == ["public per city the owner"]
    assert left_out == (
        ("user mapping public SERVER far", "subscription inbound")
        if leave_out
        else ()
    )
    assert len(keep) == len(entries(LISTING)) - 1 - len(left_out)
