"""The backup flow on a real server: what it leaves in Prefect, in which colour it ends, whom it tells."""

from __future__ import annotations

import shutil
import threading
import time

import pytest
from prefect.states import Failed

from flows.backup import backup
from pra.errors import ConnectError, UsageError
from tasks.step import transient
from tests.fix_prefect import artifacts_of, flow_run_of, task_runs_of
from tests.fix_slack import Slack
from tests.fix_world import World

pytestmark = pytest.mark.timeout(300)  # the server's start counts


def stored(world: World, repository: str) -> list[str]:
    """Backups whose manifest is there."""
    folder = world.folder(repository) / "backups"
    return sorted(path.parent.name for path in folder.glob("*/manifest.json"))


def break_repository(world: World, name: str) -> None:
    """A file where its directory should be: even root cannot write there."""
    shutil.rmtree(world.home / name)
    (world.home / name).write_text("not a directory")


def test_a_backup_is_published_named_and_shown(flow_world: World, slack: Slack) -> None:
    """Green, named after target and backup; its phases are those of ``run()``; nobody is woken."""
    state = backup("db", return_state=True)
    assert (state.type, state.name) == ("COMPLETED", "Completed"), state.message

    (backup_id,) = stored(flow_world, "near")
    assert stored(flow_world, "far") == [backup_id]
    run = flow_run_of(state)
    assert run.name == f"db {backup_id}"
    assert {"db", backup_id} <= set(run.tags)
    assert slack.posts == []

    artifacts = artifacts_of(run.id)
    assert {"backup-db", "backup-phases-db", "dump", "fingerprint"} <= set(artifacts)
    assert artifacts["dump"] == artifacts["fingerprint"] == 100
    assert backup_id in artifacts["backup-db"]
    phases = artifacts["backup-phases-db"]
    assert all(set(row) == {"Phase", "Seconds", "Share of the objective"} for row in phases)

    direct = flow_world.backup()
    assert sorted({row["Phase"] for row in phases}) == sorted({phase.name for phase in direct.phases})
    log = (flow_world.settings.state_dir / "logs" / "akig_backup.log").read_text().splitlines()
    said = [line.split()[2:6] for line in log]
    assert said == [["OK", "db", "backup:", f"{name},"] for name in (backup_id, direct.backup_id)]


def test_one_broken_repository_is_partial_and_named(flow_world: World, slack: Slack) -> None:
    """The other one keeps its copy; the run is red, not retried, and says which repository and why."""
    break_repository(flow_world, "far")
    state = backup("db", return_state=True)
    assert (state.type, state.name) == ("FAILED", "Partial"), state.message
    assert "near: published" in str(state.message)
    assert "far: " in str(state.message)
    assert len(stored(flow_world, "near")) == 1

    run = flow_run_of(state)
    tasks = task_runs_of(run.id, "publish to near", "publish to far")
    assert (tasks["publish to near"].state_name, tasks["publish to far"].state_name) == ("Completed", "Fail")
    assert run.run_count == 1
    assert tasks["publish to far"].run_count == 1
    assert "| far | **failed** |" in artifacts_of(run.id)["backup-db"]

    (post,) = slack.posts
    for fact in ("backup", "db", "Partial", "far: ", f"/runs/flow-run/{run.id}"):
        assert fact in post.text


def test_no_repository_at_all_is_fail(flow_world: World, slack: Slack) -> None:
    for name in ("near", "far"):
        break_repository(flow_world, name)
    state = backup("db", return_state=True)
    assert (state.type, state.name) == ("FAILED", "Fail"), state.message
    assert "near: " in str(state.message)
    assert "far: " in str(state.message)
    assert len(slack.posts) == 1


def test_an_error_keeps_its_hint_on_the_way_to_slack(
    flow_world: World, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was learned, there is no verdict: an exception; and it is not tried again."""
    text = (flow_world.home / "pra.toml").read_text()
    broken = flow_world.home / "broken.toml"
    broken.write_text(text.replace("[encryption]\nrecipients", "# recipients"))
    monkeypatch.setenv("PRA_CONFIG", str(broken))
    state = backup("db", return_state=True)
    assert (state.type, state.name) == ("FAILED", "Failed")
    assert task_runs_of(flow_run_of(state).id, "preflight")["preflight"].run_count == 1
    (post,) = slack.posts
    assert "no encryption is configured" in post.text
    assert "pra key make" in post.text
    assert not (flow_world.folder("near") / "backups").exists()


def test_a_passing_lock_is_waited_out_by_a_second_try(flow_world: World, slack: Slack) -> None:
    """The first try ends at the limit of its wait; the second has an id of its own, and both repositories
    hold that one only."""

    def blocked() -> bool:
        rows = flow_world.cluster.query(
            "postgres", "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        )
        return bool(rows[0][0])

    def wait_for(state: bool) -> None:
        deadline = time.monotonic() + 60
        while blocked() is not state and time.monotonic() < deadline:
            time.sleep(0.05)

    def hold() -> None:
        with flow_world.cluster.connect(flow_world.database, autocommit=False) as holder:
            holder.execute(b"LOCK TABLE artist IN ACCESS EXCLUSIVE MODE")
            held.set()
            wait_for(True)
            wait_for(False)

    held = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    state = backup("db", return_state=True)
    thread.join(60)
    assert state.name == "Completed", state.message
    assert task_runs_of(flow_run_of(state).id, "take")["take"].run_count == 2
    folders = [
        sorted(path.name for path in (flow_world.folder(n) / "backups").iterdir()) for n in ("near", "far")
    ]
    assert folders == [stored(flow_world, "near")] * 2
    assert slack.posts == []


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ConnectError("gone"), True),
        (ConnectError("wrong password", transient=False), False),
        (UsageError("no such table"), False),
        (ValueError("a mistake"), False),
    ],
    ids=lambda value: str(value),
)
def test_only_what_calls_itself_passing_is_tried_again(error: Exception, again: bool) -> None:
    assert transient(None, None, Failed(data=error)) is again  # type: ignore[arg-type]
