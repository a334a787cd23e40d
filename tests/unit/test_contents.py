"""An archive's table of contents is read by its form, whatever the names in it."""

from __future__ import annotations

import pytest

from pra.engines.contents import (
    dials_out,
    entries,
    kind_of,
    plan_listing,
    rest_of,
    without,
)

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
222; 0 0 COMMENT - SUBSCRIPTION inbound owner
223; 3466 16397 EVENT TRIGGER - seen owner
3456; 0 16390 TABLE DATA public payments owner
3457; 2606 16400 CONSTRAINT public payments payments_pkey owner
3458; 2606 16401 FK CONSTRAINT public payments payments_fk owner
3459; 0 16402 MATERIALIZED VIEW DATA public per city the owner
""".splitlines()


def test_entries_are_told_by_their_place_in_the_line() -> None:
    assert [kind_of(line) for line in entries(LISTING)] == [
        "EXTENSION", "TABLE", "TABLE", "TABLE", "TABLE", "SERVER", "USER MAPPING", "SUBSCRIPTION",
        "COMMENT", "EVENT TRIGGER", "TABLE DATA", "CONSTRAINT", "FK CONSTRAINT", "MATERIALIZED VIEW DATA",
    ]  # fmt: skip


def test_a_comment_is_no_entry() -> None:
    assert kind_of(LISTING[1]) == ""
    assert rest_of(LISTING[1]) == ""


def test_without_drops_kinds_and_never_names() -> None:
    kept = without(LISTING, {"RULE", "USER MAPPING"}.__contains__)
    assert len(kept) == len(entries(LISTING)) - 1
    assert LISTING[4] in kept


def test_nothing_is_left_out_where_nothing_can_be_reached() -> None:
    keep, left_out, _ = plan_listing(LISTING)
    assert left_out == ()
    assert len(keep) == len(entries(LISTING)) - 1


@pytest.mark.parametrize("major", [15, 18])
def test_what_dials_out_is_left_out_by_name_with_what_is_said_about_it(major: int) -> None:
    keep, left_out, refresh = plan_listing(LISTING, dials_out(major))
    assert refresh == ["public per city the owner"]
    names = ("user mapping public SERVER far", "subscription inbound", "event trigger seen")
    assert left_out == names[: 2 if major == 18 else 3]
    gone = {line for line in entries(LISTING) if line not in keep}
    assert {kind_of(line) for line in gone} == {
        "USER MAPPING", "SUBSCRIPTION", "COMMENT", "MATERIALIZED VIEW DATA",
        *(["EVENT TRIGGER"] if major == 15 else []),
    }  # fmt: skip
