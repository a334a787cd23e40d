"""The failover on real servers: approved, fenced, recovered, protected again; and what it refuses."""

from __future__ import annotations

import pytest

from pra import service_file
from pra.drill.record import record_of
from pra.model import Status, Verdict
from pra.procedures import failover
from tests.fix_failover import FailoverWorld, streamed_rows

pytestmark = pytest.mark.timeout(200)


def test_a_lost_server_is_replaced_and_protected_again(failing: FailoverWorld) -> None:
    """Everything that had reached a repository comes back; the service file, the hooks, the proof."""
    world = failing.world
    world.backup()
    streamed_rows(failing, 2001, 20)
    hands = failing.hands()
    done = failing.failover(hands)
    assert done.verdict is Verdict.PASS, [c for c in done.record.checks if c.status is not Status.PASSED]
    assert done.finished
    assert failing.rows() == 1020
    assert [step.name for step in done.record.steps] == list(failover.PHASES)
    assert (failing.times("fenced"), failing.times("switched"), failing.times("announced")) == (1, 1, 1)
    words = service_file.read(failing.place / "pg_service.conf", "app")
    assert words["dbname"] == "app"
    assert "password" not in words

    by = [one.by for one in done.record.interventions]
    assert by == [f"key {failing.approver.key_id}"]
    kinds = [body["step"] for body in failing.evidence("failover-step") if body["state"] == "done"]
    assert kinds == list(failover.PHASES)
    (body,) = failing.evidence("failover")
    assert record_of("failover", body).verdict is Verdict.PASS
    (proof,) = failing.evidence("verification")
    assert proof["verdict"] == "PASS"
    (slot,) = failing.cluster.query(
        "app", "SELECT active FROM pg_replication_slots WHERE slot_name = 'pra_db'"
    )
    assert slot == (True,)
    text = (failing.directory / "postgresql.conf").read_text()
    assert "archive_mode" not in text
