"""What real runs leave as evidence, and what their manifests know of it."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pra.evidence_body import configuration_sha256
from pra.manifest import Manifest
from pra.procedures.evidence_audit import Audit, audit
from pra.timing import from_iso
from tests.fix_world import World


def newest_body(world: World) -> Mapping[str, Any]:
    with world.context() as context:
        head = context.evidence.head()
    assert head is not None
    return head.body


def manifest_of(world: World, backup_id: str) -> Manifest:
    with world.context() as context:
        return context.catalog("near").load(backup_id)


def audited(world: World) -> Audit:
    with world.context() as context:
        return audit(context)


def test_a_manifest_knows_the_head_and_a_cut_tail_shows(world: World) -> None:
    first = world.backup()
    assert manifest_of(world, first.backup_id).evidence_head is None
    assert audited(world).sound is None

    proof = world.verify()
    assert proof.head is not None
    known = manifest_of(world, world.backup().backup_id).evidence_head
    assert known is not None
    assert (known.sequence, known.sha256) == (proof.head.sequence, proof.head.sha256)
    found = audited(world)
    assert (found.sound, found.heads, found.chain.head) == (True, 2, proof.head)

    for repository in ("near", "far"):
        for path in (world.folder(repository) / "evidence").glob("*.json"):
            path.unlink()
    complaints = [(p.sequence, p.sentence) for p in audited(world).chain.problems]
    assert len(complaints) == 2
    assert all(number == 1 and "the tail was cut off" in sentence for number, sentence in complaints)


def test_evidence_out_of_reach_costs_a_backup_its_head_and_nothing_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.backup()
    world.verify()
    for repository in ("near", "far"):
        (world.folder(repository) / "evidence" / "0000000001.json").write_bytes(b"no record")
    with caplog.at_level(logging.WARNING):
        report = world.backup()
    assert report.ok
    assert manifest_of(world, report.backup_id).evidence_head is None
    assert "evidence 1 of near: evidence 1 is not readable JSON" in caplog.text


def test_the_record_of_a_verification_is_what_an_auditor_asks_for(world: World) -> None:
    backup = world.backup()
    for _ in range(2):
        world.verify()
    body = newest_body(world)

    assert re.fullmatch("[0-9a-f]{32}", body["id"])
    assert re.fullmatch(r"\S+@\S+", body["operator"])
    assert set(body["versions"]) == {"pra", "postgres", "python"}
    assert body["versions"]["postgres"].startswith("18")
    assert re.fullmatch("[0-9a-f]{64}", body["configuration_sha256"])
    assert set(body["isolation"]) == {"network_namespace", "account"}

    assert body["backup"]["backup_id"] == backup.backup_id
    assert body["backup"]["bytes"] == backup.bytes
    assert body["backup"]["signature"] == "valid"
    assert re.fullmatch("[0-9a-f]{64}", body["backup"]["manifest_sha256"])
    age = (from_iso(body["started_at"]) - backup.taken_at).total_seconds() * 1000
    assert body["backup"]["age_milliseconds"] == pytest.approx(age, abs=1)

    names = [phase["name"] for phase in body["phases"]]
    assert names == ["choose", "preflight", "fetch", "restore", "statistics", "checks"][-len(names) :]
    begun = [from_iso(phase["started_at"]) for phase in body["phases"]]
    assert begun == sorted(begun)
    assert body["rto"] == {
        "target_milliseconds": 1_800_000,
        "actual_milliseconds": body["rto_milliseconds"],
        "met": True,
        "how": "from the start until the restored database answered, planner statistics included, "
        "in a sandbox, without fsync",
    }
    assert body["rpo"]["actual_milliseconds"] == body["rpo_milliseconds"]
    assert body["findings"] == []
    assert len(body["deviations"]) == len([c for c in body["checks"] if c["status"] == "not_applicable"])
    assert body["comparison"]["records"] == [1]
    assert body["comparison"]["rto_milliseconds"]["ratio"] > 0


def test_the_first_of_its_kind_is_compared_with_nothing_and_a_finding_is_named(world: World) -> None:
    backup = world.backup()
    victim = next(p for p in world.objects("near", backup.backup_id) if p.name.startswith("dump-"))
    _flip(victim)
    report = world.verify()
    body = newest_body(world)
    assert body["comparison"] is None
    assert body["verdict"] == report.verdict == "FAIL"
    assert body["rto"]["met"] is None
    assert [line for line in body["findings"] if victim.name in line]


def test_the_configuration_is_told_apart_by_what_matters_and_holds_no_secret(world: World) -> None:
    target, settings = world.settings.target(None), world.settings
    digest = configuration_sha256(settings, target)
    assert configuration_sha256(settings, target) == digest
    elsewhere = settings.model_copy(update={"state_dir": Path("/elsewhere"), "language": "fr"})
    assert configuration_sha256(elsewhere, target) == digest
    stricter = target.model_copy(update={"rto": target.rto / 2})
    assert configuration_sha256(settings, stricter) != digest
    with_password = target.model_copy(update={"password": SecretStr("hunter2")})
    assert configuration_sha256(settings, with_password) == digest


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
