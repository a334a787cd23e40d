"""The failover as a flow: approved by ``pra approve RUN``, aborted in its form; and the guarded restore."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from deployments.cli.app import run as run_cli
from flows.emergency import failover, restore
from pra.errors import UsageError
from pra.keys import make_approver_key
from pra.procedures.failover import PHASES
from tasks.restore import read_choice
from tests.fix_failover import FailoverWorld
from tests.fix_prefect import artifacts_of, flow_run_of, task_runs_of

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State

pytestmark = pytest.mark.timeout(300)  # the server's start counts


@pytest.fixture
def failing_flows(
    prefect_api: None, failing: FailoverWorld, monkeypatch: pytest.MonkeyPatch
) -> FailoverWorld:
    """A world as a flow in this process finds it; the target is ``db``."""
    for name, value in failing.world.environment.items():
        monkeypatch.setenv(name, value)
    failing.world.backup()
    return failing


def in_thread(flow: Callable[..., Any], *words: Any, **more: Any) -> Iterator[Any]:
    """Run a flow beside this test, which answers its forms: first yields None, at the end its state."""
    done: list[State[Any]] = []
    thread = threading.Thread(target=lambda: done.append(flow(*words, return_state=True, **more)))
    thread.start()
    yield None
    thread.join(200)
    yield done[0]


def paused(name: str, other_than: str = "") -> FlowRun:
    """The run of that flow once it waits for a form; ``other_than``: a pause that was answered."""
    from prefect.client.orchestration import get_client

    deadline = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while True:
            for run in client.read_flow_runs(limit=20):
                state = run.state
                if state is not None and state.is_paused() and run.name.startswith(name):
                    key = str(state.state_details.pause_key)
                    if key != other_than:
                        return run
            assert time.monotonic() < deadline, "no run waits for a form"
            time.sleep(0.2)


def answer_form(run_id: UUID, **words: Any) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        client.resume_flow_run(run_id, run_input=words)


def approve_run(run_id: UUID, key_file: Path) -> int:
    return run_cli(["approve", str(run_id), "--key-file", str(key_file), "--yes"])


def test_a_run_is_approved_by_the_approvers_own_key(
    failing_flows: FailoverWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stranger's answer leaves it waiting; the approver's lets it go on, to the end."""
    world = failing_flows
    stranger = tmp_path / "stranger.key"
    make_approver_key(stranger)
    states = in_thread(failover, "db")
    next(states)
    run = paused("db")
    assert approve_run(run.id, stranger) == 0
    assert run.state is not None
    again = paused("db", str(run.state.state_details.pause_key))
    assert again.id == run.id
    assert world.rows() == 1000
    assert world.times("fenced") == 0
    assert approve_run(run.id, world.key_file) == 0
    assert "Failover of db." in capsys.readouterr().err
    state = next(states)
    assert (state.type, state.name) == ("COMPLETED", "Completed"), state.message
    assert world.rows() == 1000
    in_tasks = set(PHASES) - {"approve", "fence"}
    assert set(task_runs_of(flow_run_of(state).id, *in_tasks)) == {*in_tasks, "report"}
    page = artifacts_of(flow_run_of(state).id)["failover-db"]
    assert world.approver.key_id in page
    (body,) = world.evidence("failover")
    assert [step["name"] for step in body["phases"]] == list(PHASES)
    assert run_cli(["approve", str(run.id), "--key-file", str(world.key_file)]) == 64
    assert "waits for no approval" in capsys.readouterr().err


def test_an_abort_in_the_form_touches_nothing(failing_flows: FailoverWorld) -> None:
    world, before = failing_flows, failing_flows.keys()
    states = in_thread(failover, "db")
    next(states)
    answer_form(paused("db").id, decision="abort", name="me", comment="false alarm")
    state = next(states)
    assert (state.type, state.name) == ("CANCELLED", "Aborted")
    assert world.rows() == 1000
    assert world.keys() == before
    assert not world.directory.exists()


def test_a_restore_goes_into_a_new_place_to_a_moment_that_was_offered(
    failing_flows: FailoverWorld,
) -> None:
    world = failing_flows
    taken = "a folder that is not empty"
    (world.place / taken).mkdir()
    (world.place / taken / "file").touch()
    for into in (str(world.place / taken), "relative", world.cluster.dsn("app"), "postgresql://x/y"):
        state = restore("db", into, return_state=True)
        assert state.type == "FAILED"
        error = state.result(raise_on_failure=False)
        assert isinstance(error, UsageError), error

    states = in_thread(restore, "db", str(world.place / "beside"))
    next(states)
    run = paused("db")
    assert run.state is not None
    keys = run.state.state_details.run_input_keyset
    assert keys is not None
    offered = json.dumps(read_input(run.id, keys["schema"]))
    (backup_id,) = [path.name for path in (world.world.folder("near") / "backups").iterdir()]
    assert backup_id in offered
    assert "newest" in offered
    picked = next(word for word in offered.split('"') if word.startswith(backup_id))
    answer_form(run.id, backup=picked, moment="")
    state = next(states)
    assert (state.type, state.name) == ("COMPLETED", "Completed"), state.message
    assert (world.place / "beside" / "PG_VERSION").exists()
    assert "restore-db" in artifacts_of(flow_run_of(state).id)


def read_input(run_id: UUID, key: str) -> Any:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return json.loads(client.read_flow_run_input(run_id, key))


@pytest.mark.parametrize(
    ("backup", "moment", "physical", "expected"),
    [
        ("newest", "", True, ("latest", None)),
        ("newest", "name:before-release", True, ("name:before-release", None)),
        ("B1 (2026-11-22 10:00:00 UTC)", "", True, ("immediate", "B1")),
        ("B1 (2026-11-22 10:00:00 UTC)", "", False, ("latest", "B1")),
    ],
)
def test_what_was_picked_and_what_was_typed(
    backup: str, moment: str, physical: bool, expected: tuple[str, str | None]
) -> None:
    found = read_choice(backup, moment, physical=physical)
    assert (found.moment.argument(), found.backup_id) == expected


def test_a_moment_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError):
        read_choice("newest", "yesterday-ish", physical=True)


def test_without_an_api_an_approval_says_so(tmp_path: Path) -> None:
    make_approver_key(tmp_path / "key")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment |= {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_HOME": str(tmp_path)}
    words = ["approve", "00000000-0000-0000-0000-000000000000", "--key-file", str(tmp_path / "key")]
    done = subprocess.run(
        [sys.executable, "-m", "deployments.cli", *words],
        env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert (done.returncode, "no Prefect API answers" in done.stderr) == (69, True), done.stderr
