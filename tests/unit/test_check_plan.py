"""How answers become a verdict, and how tools' words become findings. No server."""

from __future__ import annotations

from typing import cast

import pytest

from checks.database import Check, bounded, number
from checks.integrity import ForeignKey, anti_join, findings_of
from checks.plan import Plan, required, run
from checks.structure import line
from checks.verdict import verdict
from pra.errors import PostgresError
from pra.model import CheckResult, Status, Verdict
from pra.postgres.facts import Difference
from pra.restored import RestoredDatabase

NOTHING = cast(RestoredDatabase, None)


def passed(name: str) -> CheckResult:
    return CheckResult(name, Status.PASSED, "1", "1")


def raising(error: Exception) -> Check:
    def ask(db: RestoredDatabase) -> CheckResult:
        raise error

    return Check("broken", "content", ask, ("one", "two"))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PostgresError("the connection was lost", op="read"), "read: the connection was lost"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_a_check_that_raises_leaves_all_its_questions_open(error: Exception, reason: str) -> None:
    results = run(raising(error), NOTHING)
    assert [(r.name, r.status, r.reason) for r in results] == [
        ("one", Status.SKIPPED, reason),
        ("two", Status.SKIPPED, reason),
    ]


def test_an_unanswered_question_makes_the_verdict_partial() -> None:
    good, bad = Check("good", "content", lambda db: passed("good")), raising(ValueError("x"))
    results = [result for check in (good, bad) for result in run(check, NOTHING)]
    assert verdict(Plan((good, bad), ()), results) is Verdict.PARTIAL


def test_an_answer_that_never_came_makes_the_verdict_partial() -> None:
    forgetful = Check("content", "content", lambda db: [passed("one")], ("one", "two"))
    plan = Plan((forgetful,), ())
    assert required(plan) == ("one", "two")
    assert verdict(plan, run(forgetful, NOTHING)) is Verdict.PARTIAL


def test_what_the_plan_ruled_out_does_not_lower_the_verdict() -> None:
    good = Check("good", "content", lambda db: passed("good"))
    out = CheckResult("service", Status.NOT_APPLICABLE, reason="not configured")
    assert verdict(Plan((good,), (out,)), [out, *run(good, NOTHING)]) is Verdict.PASS


def test_time_is_measured() -> None:
    (result,) = run(Check("good", "content", lambda db: passed("good")), NOTHING)
    assert result.seconds > 0


def test_amchecks_findings_carry_names_and_messages_without_details() -> None:
    said = (
        'btree index "akig.public.payments_pkey":\n'
        '    ERROR:  invalid page in block 3 of relation "base/5/16400"\n'
        "    DETAIL:  Key (email)=(secret@example.com)\n"
        'heap table "akig.public.users", block 0, offset 4:\n'
        "    xmin 4294967295 equals or exceeds next valid transaction ID\n"
    )
    assert findings_of(said) == [
        'btree index "akig.public.payments_pkey": invalid page in block 3 of relation "base/5/16400"',
        'heap table "akig.public.users", block 0, offset 4: '
        "xmin 4294967295 equals or exceeds next valid transaction ID",
    ]


@pytest.mark.parametrize(("full", "given"), [(False, " AND "), (True, " OR ")])
def test_match_full_asks_of_half_empty_keys_too(full: bool, given: str) -> None:
    equal = (("pg_catalog", "="),) * 2
    key = ForeignKey("k", ("s", "T"), ("a", "b"), ("s", "p"), ("x", "y"), equal, full, True, False)
    assert anti_join(key).as_string() == (
        f'SELECT count(*) FROM "s"."T" f WHERE (f."a" IS NOT NULL{given}f."b" IS NOT NULL) '
        'AND NOT EXISTS (SELECT FROM ONLY "s"."p" p '
        'WHERE p."x" OPERATOR("pg_catalog".=) f."a" AND p."y" OPERATOR("pg_catalog".=) f."b")'
    )


@pytest.mark.parametrize(
    ("difference", "says"),
    [
        (Difference("column a.b.c", "default", "'0612345678'", "none"), "column a.b.c: default differs"),
        (Difference("view v", "existence", "SELECT 'secret'", "missing"), "view v: missing"),
        (Difference("view v", "existence", "absent", "SELECT 'secret'"), "view v: not in the backup"),
        (Difference("table t", "owner", "ada", "bob"), "table t: owner: expected ada, observed bob"),
    ],
)
def test_definitions_are_named_without_the_data_they_may_quote(difference: Difference, says: str) -> None:
    assert line(difference) == says


def test_details_are_bounded_and_say_so() -> None:
    assert bounded([str(i) for i in range(200)])[-1] == "and 151 more"
    assert len(bounded(["x"] * 50)) == 50


@pytest.mark.parametrize(
    ("count", "noun", "says"),
    [(1, "index", "1 index"), (2, "index", "2 indexes"), (1204, "row", "1,204 rows"),
     (3, "query", "3 queries"), (2, "foreign key", "2 foreign keys")],
)  # fmt: skip
def test_numbers_read_well(count: int, noun: str, says: str) -> None:
    assert number(count, noun) == says
