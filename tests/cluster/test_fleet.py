"""200 targets: looked at and listed in time, and one that is sick neither delays nor hides the others."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fix_status import way_to
from tests.fix_status_fleet import BACKUPS, Fleet

pytestmark = [pytest.mark.all, pytest.mark.timeout(600)]
LIMIT = 30
"""Seconds for the status of all."""
FIRST = 90
"""Once in the life of an installation: thousands of manifests and records are read and verified."""


def of(document: dict[str, Any], target: str) -> dict[str, str]:
    return {item["name"]: item["level"] for item in document["items"] if item["target"] == target}


def worse(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in document["items"] if item["level"] != "ok"]


CHECKS = (
    "database", "size", "unprotected", "disk.server", "backup.near", "backup.far", "proof.near", "proof.far",
    "drill", "scrub",
)  # fmt: skip
ALL_OK = dict.fromkeys(CHECKS, "ok")


def test_200_targets_are_looked_at_and_listed_in_time(fleet: Fleet) -> None:
    took: dict[str, float] = {}
    for name in ("status, nothing remembered", "status", "status again"):
        code, document, took[name] = fleet.run("status", "--all")
        assert (code, worse(document)) == (0, [])
        assert all(of(document, target) == ALL_OK for target in fleet.names)
    code, listed, took["backups --all"] = fleet.run("backups", "--all")
    assert code == 0
    assert len(listed["items"]) >= BACKUPS * len(fleet.names)
    assert all(item["repositories"] == ["near", "far"] and not item["error"] for item in listed["items"])
    code, listed, took["backups --all again"] = fleet.run("backups", "--all")
    print(", ".join(f"{name}: {seconds:.1f} s" for name, seconds in took.items()))  # noqa: T201
    assert max(took.pop("status, nothing remembered"), took.pop("backups --all")) < FIRST
    assert max(took.values()) < LIMIT


def test_a_database_that_hangs_delays_and_hides_nothing_else(fleet: Fleet) -> None:
    with way_to(fleet.cluster.port) as way:
        way.how = "later"
        code, document, seconds = fleet.run("status", "--all", **fleet.through(way.port, "t007"))
    print(f"a database that hangs: {seconds:.1f} s")  # noqa: T201
    assert code == 1
    first = document["items"][0]
    assert (first["target"], first["name"], first["level"]) == ("t007", "database", "critical")
    assert "no answer within 15 s" in first["message"]
    assert {item["target"] for item in worse(document)} == {"t007"}
    assert {name for name, level in of(document, "t007").items() if level == "ok"} >= {
        "backup.near", "backup.far", "proof.near", "proof.far", "drill", "scrub",
    }  # fmt: skip
    assert all(of(document, target) == ALL_OK for target in fleet.names if target != "t007")
    assert seconds < LIMIT


@pytest.mark.parametrize("how", ["stall", "reset"])
def test_a_repository_that_is_not_reached_delays_and_hides_nothing_else(fleet: Fleet, how: str) -> None:
    port = int(fleet.server.endpoint.rpartition(":")[2])
    with way_to(port) as way:
        way.how = how
        endpoint = f"http://127.0.0.1:{way.port}"
        code, document, seconds = fleet.run("status", "--all", PRA_REPOSITORIES__FAR__ENDPOINT=endpoint)
    print(f"a repository that is not reached ({how}): {seconds:.1f} s")  # noqa: T201
    assert code == 2
    lost = {"backup.far": "unknown", "proof.far": "unknown"}
    assert all(of(document, target) == ALL_OK | lost for target in fleet.names)
    messages = {item["message"] for item in worse(document)}
    assert "not asked: repository far does not answer" in messages
    assert seconds < LIMIT
