"""A drill's flow run killed in any phase leaves nothing; one whose worker is killed carries on to its end."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pra.drill.record import INTERRUPTED
from pra.procedures import drill
from tests.cluster.test_drill_killed import SHORT, has_come_to, wait_until_alone, wait_until_swept
from tests.fix_browser import Orchestra, orchestra
from tests.fix_drill import keys_of, rehearsals
from tests.fix_world import World

pytestmark = [pytest.mark.timeout(600), pytest.mark.all]


@pytest.fixture(scope="module")
def stage(drill_world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orchestra]:
    with orchestra(drill_world, tmp_path_factory.mktemp("prefect"), "verify") as found:
        yield found


@pytest.mark.parametrize("phase", [name for name in drill.PHASES if name != "approve"])
def test_a_killed_run_leaves_nothing_and_is_recorded(
    stage: Orchestra, drill_world: World, phase: str
) -> None:
    keys = kept(drill_world)
    run_id = begin(stage, approval=False)
    folder, pid = wait_for_phase(drill_world, phase)
    kill_with_group(pid)
    wait_until_alone(folder)
    wait_until_swept(drill_world, folder)
    assert kept(drill_world) == keys
    assert newest(drill_world).body["verdict"] == INTERRUPTED
    said_of = newest(drill_world).body["deviations"][0]
    assert f"in its phase {phase};" in said_of or phase in SHORT
    assert final(stage, run_id).name == "Crashed"


def kept(world: World) -> dict[str, str]:
    """What the real repositories hold; that the run crashed is an incident, and makes a status pass look."""
    return {key: digest for key, digest in keys_of(world).items() if not key.startswith(WATCHED)}


WATCHED = ("near/.lock", "near/_status/")


def test_a_run_killed_while_it_waits_for_approval_leaves_nothing(
    stage: Orchestra, drill_world: World
) -> None:
    begin(stage, approval=True)
    folder, pid = wait_for_phase(drill_world, "approve")
    kill_with_group(pid)
    wait_until_alone(folder)
    wait_until_swept(drill_world, folder)
    assert "approve" in newest(drill_world).body["deviations"][0]


def test_a_cancelled_run_leaves_nothing(stage: Orchestra, drill_world: World) -> None:
    run_id = begin(stage, approval=False)
    folder, _ = wait_for_phase(drill_world, "baseline")
    with stage.client() as client:
        from prefect.states import Cancelling

        client.set_flow_run_state(UUID(run_id), Cancelling())
    wait_until_alone(folder)
    deadline = time.monotonic() + 60
    while folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert final(stage, run_id).is_cancelled()


def test_a_run_cancelled_behind_the_fault_is_on_record(stage: Orchestra, drill_world: World) -> None:
    run_id = begin(stage, approval=False)
    folder, _ = wait_for_phase(drill_world, "recover")
    with stage.client() as client:
        from prefect.states import Cancelling

        client.set_flow_run_state(UUID(run_id), Cancelling())
    wait_until_alone(folder)
    assert final(stage, run_id).is_cancelled()
    assert not folder.exists()
    head = newest(drill_world)
    assert (head.kind, head.body["verdict"]) == ("drill", INTERRUPTED)
    assert "in its phase recover;" in head.body["deviations"][0]


def test_a_drill_whose_worker_is_killed_finishes(drill_world: World, tmp_path: Path) -> None:
    before = rehearsals(drill_world)
    with orchestra(drill_world, tmp_path / "prefect", "verify") as own:
        run_id = begin(own, approval=False)
        _, pid = wait_for_phase(drill_world, "inject")
        os.kill(worker_of(pid), signal.SIGKILL)
        ended = final(own, run_id)
        told = said(own, run_id)
    assert (ended.name, "PASS" in str(ended.message)) == ("Completed", True), told
    assert rehearsals(drill_world) == before
    assert newest(drill_world).body["verdict"] == "PASS"


def begin(stage: Orchestra, *, approval: bool) -> str:
    deployment = stage.deployment("dr-drill/db")
    with stage.client() as client:
        run = client.create_flow_run_from_deployment(
            UUID(deployment), parameters={"scenario": "database-down", "approval": approval}
        )
    return str(run.id)


def wait_for_phase(world: World, phase: str) -> tuple[Path, int]:
    """The drill's folder, and the process that drives it."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        for folder in rehearsals(world):
            file = folder / "drill.json"
            if file.exists() and has_come_to(phase, (found := json.loads(file.read_text()))["phase"]):
                time.sleep(0 if phase in SHORT else 0.1)
                return folder, int(found["pid"])
        time.sleep(0.001)
    raise AssertionError(f"it never came to {phase}")


def kill_with_group(pid: int) -> None:
    """The run's own process group; the worker's is left alone where both share one."""
    group = os.getpgid(pid)
    if group == pid:
        os.killpg(group, signal.SIGKILL)
    else:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}/fd").exists() and any_open(pid):
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.05)


def any_open(pid: int) -> bool:
    """Whether it still holds files; what is dead and not yet waited for holds none."""
    try:
        return any(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def worker_of(pid: int) -> int:
    """The nearest ancestor that is Prefect's worker."""
    while pid > 1:
        stat = Path(f"/proc/{pid}/stat").read_text()
        pid = int(stat.rpartition(")")[2].split()[1])
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"worker" in words:
            return pid
    raise AssertionError("the run has no worker above it")


def final(stage: Orchestra, run_id: str) -> Any:
    deadline = time.monotonic() + 240
    while not (state := state_of(stage, run_id)).is_final():
        assert time.monotonic() < deadline, state.name
        time.sleep(0.5)
    return state


def said(stage: Orchestra, run_id: str) -> str:
    """The end of what the run logged."""
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

    with stage.client() as client:
        lines = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(run_id)])))
    return "\n".join(line.message for line in lines[-20:])


def state_of(stage: Orchestra, run_id: str) -> Any:
    with stage.client() as client:
        return client.read_flow_run(UUID(run_id)).state


def newest(world: World) -> Any:
    with world.context() as context:
        head = context.evidence.head()
    assert head is not None
    return head
