"""The mutation table for base backups: the intact one passes, each damaged one fails by name."""

from __future__ import annotations

import re

import pytest

from pra.model import Status, Verdict
from tests.fix_physical_mutations import PhysicalVault
from tests.fix_world import complaints, failed
from tests.physical_mutations import IN_DIRECTORY, STORED, InDirectory, Stored, after, own


def test_the_intact_backup_passes(physical_vault: PhysicalVault) -> None:
    """And what is ruled out says why: unlogged tables, other databases, statistics."""
    report = physical_vault.world.verify("near", physical_vault.incremental)
    assert report.verdict is Verdict.PASS, complaints(report)
    ruled_out = {check.name for check in report.checks if check.status is Status.NOT_APPLICABLE}
    assert ruled_out >= {"unlogged:public.fleeting", "other-databases", "statistics"}
    passed = {check.name: check.observed for check in report.checks if check.status is Status.PASSED}
    assert {"fingerprint", "large-objects", "materialized-views", "page-checksums", "amcheck"} <= set(passed)
    assert report.recovery is not None
    assert report.recovery.chain == (physical_vault.full, physical_vault.incremental)
    assert report.recovery.cut is not None
    assert report.recovery.reached is not None
    assert report.recovery.reached > report.recovery.cut


@pytest.mark.parametrize("mutation", [pytest.param(m, id=m.name) for m in STORED])
def test_damage_to_stored_bytes_is_found(physical_vault: PhysicalVault, mutation: Stored) -> None:
    with physical_vault.damaged() as vault:
        words = {"full": vault.full, "own": own(vault), "after": after(vault)}
        mutation.damage(vault)
        report = vault.world.verify("near", vault.incremental)
    assert report.verdict is Verdict.FAIL, f"not seen: {mutation.name}"
    found = failed(report)
    assert found[mutation.check].status is Status.FAILED, complaints(report)
    for said in mutation.says:
        assert said.format(**words) in complaints(report), complaints(report)


@pytest.mark.parametrize("mutation", [pytest.param(m, id=m.name) for m in IN_DIRECTORY])
def test_damage_to_the_directory_is_found(
    physical_vault: PhysicalVault, monkeypatch: pytest.MonkeyPatch, mutation: InDirectory
) -> None:
    report = physical_vault.verify(monkeypatch, mutation.damage)
    assert report.verdict is Verdict.FAIL, f"not seen: {mutation.name}"
    wrong = [name for name, check in failed(report).items() if check.status is Status.FAILED]
    assert any(re.fullmatch(mutation.check, name) for name in wrong), complaints(report)
    assert re.search(mutation.says, complaints(report)), complaints(report)
