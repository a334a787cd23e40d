"""The commands on a real server: what they print, how they exit, what they leave behind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fix_cluster import Cluster
from tests.fix_operator import Operator


@pytest.fixture
def protected(operator: Operator, pg18: Cluster, chinook: str) -> Operator:
    operator.protect(pg18, chinook)
    return operator


def test_a_backup_is_taken_listed_and_proven(protected: Operator) -> None:
    ran = protected.pra("backup", "--json")
    assert not ran.prefect, "in an incident the Prefect server may be the casualty"
    backup = ran.document
    assert backup["schema"] == "pra/backup/1"
    assert {"backup_id", "target", "kind", "bytes", "seconds", "phases", "repositories"} <= set(backup)
    assert (backup["target"], backup["kind"]) == ("akig", "full")
    assert backup["repositories"] == [
        {"name": "local", "ok": True, "error": None},
        {"name": "second", "ok": True, "error": None},
    ]
    assert all(set(phase) == {"name", "seconds"} for phase in backup["phases"])

    ran = protected.pra("verify", "--repository", "second", "--json")
    assert not ran.prefect
    verified = ran.document
    assert verified["schema"] == "pra/verify/1"
    assert verified["verdict"] == "PASS", verified["checks"]
    assert (verified["backup_id"], verified["repository"]) == (backup["backup_id"], "second")
    assert 0 < verified["rto_seconds"] <= verified["proof_seconds"]
    assert verified["rpo_seconds"] >= 0
    assert verified["evidence"].startswith("akig/evidence/")
    wanted = {"name", "status", "expected", "observed", "reason"}
    assert verified["checks"]
    assert all(wanted <= set(check) for check in verified["checks"])

    listed = protected.pra("backups", "--json").document
    assert listed["schema"] == "pra/backups/1"
    (item,) = listed["items"]
    assert item["backup_id"] == backup["backup_id"]
    assert item["repositories"] == ["local", "second"]
    assert item["bytes"] == backup["bytes"]
    assert item["verdict"] == "PASS"
    assert item["proven_at"] > item["taken_at"]

    people = protected.pra("backups")
    assert backup["backup_id"] in people.out
    assert "PASS" in people.out


def test_one_damaged_byte_is_named_and_exits_1(protected: Operator) -> None:
    backup_id = protected.pra("backup", "--json").document["backup_id"]
    objects = sorted((protected.home / "second/akig/backups" / backup_id / "objects").iterdir())
    victim = next(path for path in objects if path.name.startswith("dump-"))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.chmod(0o600)
    victim.write_bytes(data)

    failed = protected.pra("verify", "--repository", "second", "--json", code=1).document
    assert failed["verdict"] == "FAIL"
    (culprit,) = [check for check in failed["checks"] if check["status"] == "failed"]
    assert victim.name in culprit["observed"]
    assert protected.pra("verify", "--repository", "local", "--json").document["verdict"] == "PASS"


def test_one_repository_of_two_that_fails_exits_2_and_is_named(protected: Operator) -> None:
    (protected.home / "second").rmdir()
    (protected.home / "second").write_text("a file where a directory should be")
    backup = protected.pra("backup", "--json", code=2).document
    assert [each["ok"] for each in backup["repositories"]] == [True, False]
    assert backup["repositories"][1]["error"]
    (protected.home / "second").unlink()
    (protected.home / "second").mkdir()
    again = protected.pra("backup", "--json").document
    assert any(backup["backup_id"] in copied for copied in again["caught_up"])


def test_dry_runs_change_nothing(protected: Operator) -> None:
    protected.pra("backup")

    def everything() -> set[Path]:
        return {path for name in ("local", "second") for path in (protected.home / name).rglob("*")}

    before = everything()
    expire = protected.pra("expire", "--dry-run", "--json").document
    assert expire["schema"] == "pra/expire/1"
    assert [item["repository"] for item in expire["items"]] == ["local", "second"]
    assert all(item["expire"] == [] and len(item["keep"]) == 1 for item in expire["items"])
    garbage = protected.pra("gc", "--dry-run", "--json").document
    assert garbage["schema"] == "pra/gc/1"
    assert all(item["removed"] == [] for item in garbage["items"])
    into = protected.home / "new"
    plan = protected.pra("restore", "akig", "--into", str(into), "--dry-run", "--json").document
    assert plan["schema"] == "pra/restore-plan/1"
    assert plan["tables"] == 11
    assert not into.exists()
    refused = protected.pra(
        "restore", "akig", "--into", str(protected.home), "--dry-run", "--json", code=64
    ).document
    assert "is not empty" in refused["error"]["message"]
    assert {path for path in everything() if "leases" not in path.parts} == {
        path for path in before if "leases" not in path.parts
    }


def test_a_restore_into_an_empty_database_is_checked_and_recorded(
    protected: Operator, pg18: Cluster, database: str
) -> None:
    backup_id = protected.pra("backup", "--json").document["backup_id"]
    into = pg18.dsn(database)
    ran = protected.pra("restore", "akig", "--into", into, "--json")
    assert not ran.prefect
    restored = ran.document
    assert restored["schema"] == "pra/restore/1"
    assert restored["verdict"] == "PASS", restored["checks"]
    assert restored["backup_id"] == backup_id
    assert database in restored["destination"]
    assert restored["evidence"]
    again = protected.pra("restore", "akig", "--into", into, code=64)
    assert "is not empty" in again.err


def test_without_encryption_or_keys_a_backup_is_refused_with_the_command_to_run(protected: Operator) -> None:
    toml = protected.home / "pra.toml"
    said = toml.read_text()
    toml.write_text(said.replace("[encryption]\nrecipients", "#"))
    assert "pra key make" in protected.pra("backup", code=64).err
    toml.write_text(said)
    (protected.home / "state/keys/signing.key").unlink()
    assert "pra key make" in protected.pra("backup", code=64).err


def test_a_bad_signature_stops_a_restore_unless_the_targets_name_is_typed(
    protected: Operator, pg18: Cluster, database: str
) -> None:
    backup_id = protected.pra("backup", "--json").document["backup_id"]
    for name in ("local", "second"):
        path = protected.home / name / "akig/backups" / backup_id / "manifest.json"
        signature = re.search(r'"signature":"([^"]+)"', path.read_text())
        assert signature is not None
        path.chmod(0o600)
        path.write_text(path.read_text().replace(signature[1], signature[1][::-1]))
    into = ("restore", "akig", "--into", pg18.dsn(database), "--backup", backup_id)
    assert "signature" in protected.pra(*into, code=None).err
    assert "--accept-unverified akig" in protected.pra(*into, "--accept-unverified", "yes", code=64).err
    assert pg18.query(database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    restored = protected.pra(*into, "--accept-unverified", "akig", "--json", code=2).document
    assert restored["verdict"] == "PARTIAL"
    (accepted,) = [check for check in restored["checks"] if check["status"] == "skipped"]
    assert accepted["name"] == "signature"


def test_a_restore_goes_on_to_the_next_repository(protected: Operator) -> None:
    protected.pra("backup")
    for path in sorted((protected.home / "local").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    plan = protected.pra("restore", "akig", "--into", str(protected.home / "x"), "--dry-run", "--json")
    assert plan.document["repository"] == "second"
    assert "local holds no backup" in plan.err


def test_chosen_tables_come_back_beside_the_live_ones(
    protected: Operator, pg18: Cluster, chinook: str
) -> None:
    protected.pra("backup")
    pg18.execute(chinook, "UPDATE invoice SET total = 0")
    restored = protected.pra(
        "restore", "akig", "--into", pg18.dsn(chinook), "--table", "invoice", "--json"
    ).document
    assert restored["verdict"] == "PASS", restored["checks"]
    saved = pg18.query(chinook, f"SELECT count(*) FROM {restored['tables_schema']}.invoice WHERE total > 0")
    assert saved[0][0] > 0
    assert pg18.query(chinook, "SELECT count(*) FROM invoice WHERE total > 0") == [(0,)]
