"""Business rules, run by Great Expectations in a child process: one, slow as it is, for many broken rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from checks import Checks, expectations
from checks.plan import plan, required
from pra.errors import UsageError
from pra.model import CheckResult, Status
from tests.fix_akig import Akig, target

SECRET = "12345.67"
UNLOCKED = "SET session_replication_role = replica"
# What is broken, and the sentence of checks/suites/akig.yaml that must say so. No two touch one rule.
BROKEN = (
    ("ALTER TABLE users DROP CONSTRAINT users_email_key; "
     "UPDATE users SET email = 'twice@example.com' WHERE id < 4",
     "users", "no two users share an e-mail address: 3 of 345 rows break it"),
    ("UPDATE users SET email = 'no domain@x' WHERE id = 9", "users",
     "e-mail addresses look like ones: 1 of 345 rows break it"),
    ("DELETE FROM user_roles WHERE user_id = 11", "users", "every user has a role: 1 row breaks it"),
    ("DELETE FROM owners WHERE id = (SELECT owner_id FROM properties WHERE id = 3)", "properties",
     "every property has an owner that exists: "),
    ("ALTER TABLE contracts DROP CONSTRAINT rent_positive; UPDATE contracts SET rent = -rent WHERE id <= 5",
     "contracts", "rents are positive: 5 of 246 rows break it"),
    ("DELETE FROM users WHERE id = 100", "contracts", "no contract without a user: 1 row breaks it"),
    ("ALTER TYPE contract_status ADD VALUE 'lost'", "contracts", None),
    ("UPDATE contracts SET status = 'lost' WHERE id = 9", "contracts", "statuses are known: 1 of 246"),
    ("UPDATE contract_periods SET starts_on = starts_on - 400 WHERE ordinal = 2 AND contract_id < 60",
     "contract_periods", "the periods of a contract follow one another without gap or overlap: "),
    ("UPDATE invoices SET total = total + 1 WHERE id = 1", "invoices",
     "the lines of an invoice add up to its total: 1 row"),
    (f"UPDATE payments SET amount = -{SECRET} WHERE id IN (1, 2)", "payments",
     "amounts are positive: 2 of 5775 rows break it"),
    ("UPDATE payments SET contract_id = contract_id + 1 WHERE id = 3", "payments",
     "no payment is without its invoice, and both belong to one contract: 1 row"),
    ("ALTER TABLE deposits RENAME TO deposits_old", "deposits", "no such table: deposits"),
    ("ALTER TABLE units RENAME surface TO area", "units", "could not be asked"),
)  # fmt: skip


@pytest.fixture(scope="module")
def broken(akig: Akig) -> dict[str, CheckResult]:
    """Every rule of `BROKEN` broken in one copy, and what one child said of it."""
    statements = [f"{UNLOCKED}; {damage}" if "TYPE" not in damage else damage for damage, *_ in BROKEN]
    with akig.restored(*statements, target=target(suites=["akig"])) as db:
        results = Checks().run("rules", db)
        assert {r.name for r in results} < set(required(plan(db)))
    return {result.name.removeprefix("rules:akig/"): result for result in results}


@pytest.mark.parametrize(("table", "says"), [row[1:] for row in BROKEN if row[2]])
def test_a_broken_rule_is_named_with_counts(broken: dict[str, CheckResult], table: str, says: str) -> None:
    result = broken[table]
    assert result.status is Status.FAILED
    assert any(says in line for line in (*result.details, result.reason)), result


def test_rules_that_hold_still_pass(broken: dict[str, CheckResult]) -> None:
    assert broken["maintenance_tickets"].status is Status.PASSED
    assert broken["audit.audit_log"].status is Status.PASSED


def test_values_of_rows_never_come_back(broken: dict[str, CheckResult]) -> None:
    said = json.dumps([result.as_json() for result in broken.values()])
    assert SECRET not in said
    assert "twice@example.com" not in said


def test_a_wrong_parameter_is_found_in_preflight(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(
        "schema: pra-suite/1\nname: ours\ntables:\n  users:\n"
        "    - says: rents are positive\n      expect_column_values_to_be_between: {colum: rent}\n"
    )
    suites = expectations.load_suites(target(suites=[str(path)]))
    with pytest.raises(UsageError, match=r"suite ours: users \(rents are positive\)"):
        expectations.check_parameters(suites)


def test_akigs_own_suite_has_sound_parameters() -> None:
    expectations.check_parameters(expectations.load_suites(target(suites=["akig"])))
