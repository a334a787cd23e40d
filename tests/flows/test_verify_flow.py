"""The restore-verify flow on real servers: green, and red by name for each way of being wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.restore_verify import restore_verify
from tests.fix_prefect import artifacts_of, flow_run_of, task_runs_of
from tests.fix_slack import Slack
from tests.fix_world import World, later

pytestmark = pytest.mark.timeout(300)  # the server's start counts


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_newest_and_stalest_are_proven_from_both_repositories(flow_world: World, slack: Slack) -> None:
    """With one backup, both proofs are of it: one from each repository. The phases are those of ``run()``."""
    backup_id = flow_world.backup().backup_id
    state = restore_verify("db", return_state=True)
    assert (state.type, state.name) == ("COMPLETED", "Completed"), state.message
    for sentence in (f"PASS: {backup_id} from near", f"PASS: {backup_id} from far"):
        assert sentence in str(state.message)

    run = flow_run_of(state)
    assert run.name == f"db {backup_id}"
    artifacts = artifacts_of(run.id)
    page = artifacts["verify-db"]
    assert page.count("PASS") == 2
    for fact in ("RTO", "RPO", "fingerprint", "15,607 rows", "db/evidence/", "| Expected | Observed |"):
        assert fact in page
    rows = artifacts["verify-phases-db"]
    assert {row["Backup"] for row in rows} == {f"{backup_id} (near)", f"{backup_id} (far)"}
    assert slack.posts == []

    direct = flow_world.verify()
    flow_phases = [row["Phase"] for row in rows if row["Backup"].endswith("(near)")]
    assert flow_phases == [phase.name for phase in direct.phases]


def test_a_damaged_object_is_fail_and_named(flow_world: World, slack: Slack) -> None:
    """The step that met the damage is red, the steps after it are left out, evidence is kept."""
    backup_id = flow_world.backup().backup_id
    victim = next(path for path in flow_world.objects("far", backup_id) if path.name.startswith("dump"))
    flip(victim)
    state = restore_verify("db", "newest", "far", return_state=True)
    assert (state.type, state.name) == ("FAILED", "Fail"), state.message
    assert victim.name in str(state.message)

    run = flow_run_of(state)
    tasks = task_runs_of(run.id, "fetch", "evidence")
    assert tasks["fetch"].state_name == "Failed"
    assert tasks["fetch"].run_count == 1
    assert "restore" not in tasks
    assert tasks["evidence"].state_name == "Completed"
    page = artifacts_of(run.id)["verify-db"]
    assert "FAIL" in page
    assert "db/evidence/0000000001.json" in page
    (post,) = slack.posts
    with flow_world.context() as context:
        record = context.evidence.head()
    assert record is not None
    assert record.body["operator"] == f"prefect flow run {run.id}"
    # What people are told names the head, so that somebody outside of the repositories remembers it.
    assert f"Evidence head: `{record.head.short}`" in page
    for fact in ("restore-verify", "db", "Fail", victim.name, f"evidence {record.head.short}"):
        assert fact in post.text


def test_an_unreadable_newest_is_fail_never_passed_over(flow_world: World) -> None:
    flow_world.backup()
    newest = flow_world.backup(clock=later(hours=0.05)).backup_id
    flip(flow_world.folder("near") / "backups" / newest / "manifest.json")
    state = restore_verify("db", "newest", "near", return_state=True)
    assert (state.type, state.name) == ("FAILED", "Fail"), state.message
    assert newest in str(state.message)


def test_a_wrong_answer_shows_in_red_and_is_not_asked_again(flow_world: World) -> None:
    """A table that vanished between two backups is caught by the check of that name."""
    flow_world.backup()
    flow_world.execute("DROP TABLE playlist_track")
    flow_world.backup()
    state = restore_verify("db", "newest", "near", return_state=True)
    assert (state.type, state.name) == ("FAILED", "Partial"), state.message
    tasks = task_runs_of(flow_run_of(state).id, "check continuity")
    assert tasks["check continuity"].state_name == "Fail"
    assert tasks["check continuity"].run_count == 1
    page = artifacts_of(flow_run_of(state).id)["verify-db"]
    assert "- **continuity** " in page
    assert "playlist" in page.partition("| Objective |")[0]
