"""The flows with base backups: the same phases as ``run()``, green, and red where the WAL is damaged."""

from __future__ import annotations

import pytest

from flows.backup import backup
from flows.restore_verify import restore_verify
from tests.fix_archive import archive_wal, commit
from tests.fix_physical import MakePhysical, world_of
from tests.fix_prefect import artifacts_of, flow_run_of, task_runs_of
from tests.fix_slack import TOKEN, Slack
from tests.fix_world import MakeWorld, World
from tests.physical_mutations import flip

pytestmark = pytest.mark.timeout(300)  # the server's start counts


@pytest.fixture
def physical_flows(
    prefect_api: None, make_physical: MakePhysical, make_world: MakeWorld, slack: Slack,
    monkeypatch: pytest.MonkeyPatch,
) -> World:  # fmt: skip
    """A physical world with a Slack, as a flow in this process finds it; the target is ``db``."""
    alerts = f'[alerts]\nslack_channel = "#ops"\nslack_base_url = "{slack.base_url}"\n'
    world = world_of(make_physical(18), make_world, extra=alerts)
    world.environment["PRA_ALERTS__SLACK_TOKEN"] = TOKEN
    for name, value in world.environment.items():
        monkeypatch.setenv(name, value)
    return world


def test_base_backups_are_taken_proven_and_shown(physical_flows: World, slack: Slack) -> None:
    """Full, then incremental; compared at the cut, rolled on to a moment; each page says so."""
    world = physical_flows
    for _ in range(2):
        state = backup("db", return_state=True)
        assert (state.type, state.name) == ("COMPLETED", "Completed"), state.message
    full, incremental = sorted(
        path.parent.name for path in (world.folder("near") / "backups").glob("*/manifest.json")
    )
    assert (full.split("-")[1], incremental.split("-")[1]) == ("full", "incremental")
    artifacts = artifacts_of(flow_run_of(state).id)
    assert incremental in artifacts["backup-db"]
    direct = world.backup()
    shown = {row["Phase"] for row in artifacts["backup-phases-db"]}
    assert shown == {phase.name for phase in direct.phases}

    commit(world, "INSERT INTO numbered (id) VALUES (5001)")
    _, moment = commit(world, "INSERT INTO numbered (id) VALUES (5002)")
    commit(world, "DELETE FROM numbered")
    archive_wal(world)
    state = restore_verify("db", "newest", "near", to=moment, return_state=True)
    assert (state.type, state.name) == ("COMPLETED", "Completed"), state.message
    artifacts = artifacts_of(flow_run_of(state).id)
    page = artifacts["verify-db"]
    for fact in ("PASS", "fingerprint", "page-checksums", "Compared at", "Recovered to", "db/evidence/"):
        assert fact in page
    rows = artifacts["verify-phases-db"]
    proven = world.verify("near")
    assert [row["Phase"] for row in rows] == [phase.name for phase in proven.phases]
    assert slack.posts == []


def test_damaged_wal_is_fail_and_named(physical_flows: World, slack: Slack) -> None:
    world = physical_flows
    world.backup()
    for number in range(2001, 2004):
        commit(world, f"INSERT INTO numbered (id) VALUES ({number})")
        archive_wal(world)
    victim = sorted((world.folder("near") / "wal").rglob("0*.zst.age"))[-2]
    victim.chmod(0o600)
    flip(victim)
    state = restore_verify("db", "newest", "near", return_state=True)
    assert (state.type, state.name) == ("FAILED", "Fail"), state.message
    assert victim.name.split("-")[0] in str(state.message)
    tasks = task_runs_of(flow_run_of(state).id, "evidence")
    assert tasks["evidence"].state_name == "Completed"
    (post,) = slack.posts
    assert victim.name.split("-")[0] in post.text
