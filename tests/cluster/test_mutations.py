"""The mutation table on restored databases: the intact one passes, each damaged one fails its own check."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest

from checks import Checks
from pra.engines.logical_restore import Restored
from pra.model import Status, Verdict
from pra.procedures import verify
from pra.procedures.judging import conclude
from pra.procedures.session import Session, describe
from pra.restored import RestoredDatabase
from tests.fix_mutations import RULES, Quick, Sandboxed, Vault
from tests.fix_world import complaints, failed
from tests.mutations import RESTORED, Mutation


def judge(box: Sandboxed, mutation: Mutation) -> None:
    with box.clone() as server:
        place = server.database if mutation.where == "restored" else "template1"
        box.execute(place, *mutation.statements)
        try:
            report = box.prove(
                server, Checks() if mutation.widely or mutation.check == "amcheck" else Quick()
            )
        finally:
            if mutation.undo:
                box.execute("template1", mutation.undo)
    found = failed(report)
    assert report.verdict is Verdict.FAIL, f"not seen: {mutation.name}"
    assert mutation.check in found, complaints(report)
    assert found[mutation.check].status is Status.FAILED
    assert re.search(mutation.says, complaints(report)), complaints(report)
    assert set(found) <= {mutation.check, *mutation.also}, complaints(report)


def named(mutations: tuple[Mutation, ...]) -> list[object]:
    return [pytest.param(mutation, id=mutation.name) for mutation in mutations]


def test_the_intact_backup_passes(sandboxed18: Sandboxed) -> None:
    with sandboxed18.clone() as server:
        report = sandboxed18.prove(server)
    assert report.verdict is Verdict.PASS, complaints(report)


@pytest.mark.parametrize("mutation", named(RESTORED))
def test_damage_is_found_on_18(sandboxed18: Sandboxed, mutation: Mutation) -> None:
    judge(sandboxed18, mutation)


def test_the_intact_backup_passes_on_15(sandboxed15: Sandboxed) -> None:
    with sandboxed15.clone() as server:
        report = sandboxed15.prove(server)
    assert report.verdict is Verdict.PASS, complaints(report)


@pytest.mark.parametrize("mutation", named(tuple(m for m in RESTORED if m.widely)))
def test_damage_is_found_on_15(sandboxed15: Sandboxed, mutation: Mutation) -> None:
    judge(sandboxed15, mutation)


@pytest.mark.all
@pytest.mark.parametrize("mutation", named(tuple(m for m in RESTORED if not m.widely)))
def test_all_damage_is_found_on_15(sandboxed15: Sandboxed, mutation: Mutation) -> None:
    judge(sandboxed15, mutation)


def test_the_table_is_long_enough_and_says_each_thing_once() -> None:
    names = Counter(mutation.name for mutation in RESTORED)
    assert len(names) >= 40
    assert max(names.values()) == 1
    assert sum(mutation.widely for mutation in RESTORED) >= 12


@pytest.mark.parametrize(
    ("relation", "says"),
    [
        ("tenants_pkey", r"amcheck: .*tenants_pkey.*invalid page"),
        ("tenants", r"amcheck: .*tenants.*invalid page"),
    ],
)
def test_a_corrupted_page_on_disk_is_found(sandboxed18: Sandboxed, relation: str, says: str) -> None:
    """The page's checksum is wrong, as when a disk returned other bytes than were written."""
    with sandboxed18.clone() as server:
        sandboxed18.corrupt_page(server, relation)
        report = sandboxed18.prove(server)
    assert report.verdict is Verdict.FAIL
    assert re.search(says, complaints(report)), complaints(report)


def test_a_broken_business_rule_is_found(sandboxed18: Sandboxed) -> None:
    """And the rule about the other table, asked in the same breath, holds."""
    rule = "rules:mutable/payments"
    with sandboxed18.clone() as server:
        sandboxed18.execute(server.database, "ALTER TABLE payments ALTER due TYPE numeric",
                            "UPDATE payments SET due = -5 WHERE id = 77")  # fmt: skip
        report = sandboxed18.prove(server, suites=[RULES])
    found = failed(report)
    assert set(found) == {rule, "fingerprint", "definitions"}
    held = next(check for check in report.checks if check.name == "rules:mutable/tenants")
    assert held.status is Status.PASSED
    assert "nothing is due that is negative: 1 of 500 rows break it" in complaints(report)
    assert "-5" not in complaints(report)


def test_a_check_that_could_not_be_asked_is_never_green(sandboxed18: Sandboxed) -> None:
    """The plan names what must be answered: without it a verdict is PARTIAL, whatever else passed."""
    checks = Checks()
    with sandboxed18.clone() as server:
        sandboxed18.session.database = database = replace(sandboxed18.intact, server=server)
        required = checks.required(database)
        names = [name for name in checks.names(database) if name != "fingerprint"]
        results = [result for name in names for result in checks.run(name, database)]
        report = conclude(sandboxed18.session, results, required=required)
    assert failed(report) == {}
    assert report.verdict is Verdict.PARTIAL


def test_a_backup_with_damage_fails_through_the_whole_procedure(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``run()`` itself, with the damage done between its restore and its checks."""

    def damaging(this: Session, restored: Restored) -> RestoredDatabase:
        with restored.server.connect() as connection:
            connection.execute("DELETE FROM payments WHERE id = 500")
        return describe(this, restored)

    monkeypatch.setattr(verify, "describe", damaging)
    report = vault.world.verify("near", vault.second)
    assert report.verdict is Verdict.FAIL
    assert list(failed(report)) == ["fingerprint"]
    assert "table public.payments: rows: expected 500, observed 499" in complaints(report)
