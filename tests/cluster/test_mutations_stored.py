"""The mutation table on stored bytes: the intact backups pass, every damaged one fails with its own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from pra import keys
from pra.errors import DecryptError, NotFoundError
from pra.model import Verdict
from pra.procedures.judging import VerifyReport
from tests.fix_mutations import Vault
from tests.fix_world import complaints, failed
from tests.mutations_stored import SEALED_ANEW, STORED, Stored, flipped, missing


def judge(report: VerifyReport, mutation: Stored) -> None:
    found = failed(report)
    assert report.verdict is Verdict.FAIL, f"not seen: {mutation.name}"
    assert list(found) == [mutation.check], complaints(report)
    for words in mutation.says:
        assert words in complaints(report)
    assert report.evidence


def test_the_intact_backups_pass(vault: Vault) -> None:
    for backup_id in (vault.first, vault.second):
        assert vault.world.verify("near", backup_id).verdict is Verdict.PASS


def test_the_intact_backup_is_fetched_without_a_complaint(vault: Vault) -> None:
    assert complaints(vault.fetched()) == ""


@pytest.mark.parametrize("mutation", [pytest.param(m, id=m.name) for m in STORED])
def test_damage_to_stored_bytes_is_named(vault: Vault, mutation: Stored) -> None:
    with vault.damaged():
        mutation.damage(vault)
        judge(vault.fetched(), mutation)


@pytest.mark.parametrize("mutation", [pytest.param(m, id=m.name) for m in SEALED_ANEW])
def test_damage_by_somebody_with_the_keys_is_named(vault: Vault, mutation: Stored) -> None:
    with vault.damaged():
        mutation.damage(vault)
        judge(vault.world.verify("near", vault.second), mutation)


def test_a_damaged_object_fails_the_whole_procedure(vault: Vault) -> None:
    """Through ``run()`` itself, once for the objects and once for the manifest."""
    for mutation in (STORED[2], next(m for m in STORED if m.name == "manifest: unsigned")):
        with vault.damaged():
            mutation.damage(vault)
            judge(vault.world.verify("near", vault.second), mutation)


def test_the_other_repository_is_untouched_by_damage_in_one(vault: Vault) -> None:
    with vault.damaged():
        flipped("dump", 0.5)(vault)
        assert vault.world.verify("far", vault.second).verdict is Verdict.PASS


def test_a_missing_manifest_is_no_backup(vault: Vault) -> None:
    with vault.damaged():
        vault.manifest().unlink()
        with pytest.raises(NotFoundError) as caught:
            vault.world.verify("near", vault.second)
    assert caught.value.exit_code == 64
    assert vault.second in caught.value.message


def test_another_age_identity_does_not_open_it(vault: Vault, tmp_path: Path) -> None:
    keys.make_keys(tmp_path / "keys")
    encryption = vault.world.settings.encryption.model_copy(
        update={"identity_file": tmp_path / "keys" / "identity.txt"}
    )
    settings = vault.world.settings.model_copy(update={"encryption": encryption})
    report = vault.world.verify("near", vault.second, settings=settings)
    judge(report, Stored("wrong identity", missing(""), "objects", ("no age identity given here opens",)))


def test_without_any_age_identity_there_is_no_verdict(vault: Vault, tmp_path: Path) -> None:
    encryption = vault.world.settings.encryption.model_copy(update={"identity_file": tmp_path / "none.txt"})
    settings = vault.world.settings.model_copy(update={"encryption": encryption})
    with pytest.raises(DecryptError, match="no age identity"):
        vault.world.verify("near", vault.second, settings=settings)
