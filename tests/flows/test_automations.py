"""The automations on a real server: a run whose machine is gone ends as Crashed, one that waits does not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from tests.fix_browser import Orchestra, orchestra
from tests.fix_world import World
from tests.flows.test_drill_ui import paused, state_of

pytestmark = [pytest.mark.timeout(600), pytest.mark.all]
BEAT = 30  # seconds; Prefect allows no less
SILENCE = 50.0


@pytest.fixture
def stage(drill_world: World, tmp_path: Path) -> Iterator[Orchestra]:
    beating = {**drill_world.environment, "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(BEAT)}
    with orchestra(replace(drill_world, environment=beating), tmp_path / "prefect", "emergency") as found:
        yield found


def test_a_run_that_was_killed_with_its_worker_ends_as_crashed(stage: Orchestra, tmp_path: Path) -> None:
    """A worker that lives reports the end itself: both are killed, as when a machine is lost."""
    from deployments import automations

    with stage.client() as client:
        status = client.read_deployment_by_name("status/all")
        sooner = automations.wanted(
            "status/all", status.id, ["backup", "restore"], silence=timedelta(seconds=SILENCE)
        )
        assert {change.action for change in automations.upsert(client, sooner)} == {"updated"}
        parameters = {"into": str(tmp_path / "beside")}
        run = client.create_flow_run_from_deployment(stage.deployment_id("restore/db"), parameters=parameters)
    paused(stage, str(run.id))

    time.sleep(SILENCE + 15)
    assert state_of(stage, str(run.id)).name == "Paused", "it waits, and says so"

    for pid in [*of_worker(stage), *of_run(run.id)]:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + SILENCE + BEAT + 60
    while (state := state_of(stage, str(run.id))).name == "Paused":
        assert time.monotonic() < deadline, "nobody noticed"
        time.sleep(1)
    assert (state.name, "no sign of life" in str(state.message)) == ("Crashed", True), state


def of_run(run_id: UUID) -> list[int]:
    found = [pid for pid, _argv, environment in processes() if f"FLOW_RUN_ID={run_id}" in environment]
    assert found, "the run has no process"
    return found


def of_worker(stage: Orchestra) -> list[int]:
    """The worker of this stage alone: other tests have theirs."""
    api = f"PREFECT_API_URL={stage.api_url}"
    return [pid for pid, argv, env in processes() if "worker\0start" in argv and api in env]


def processes() -> Iterator[tuple[int, str, str]]:
    """Number, arguments and environment of each that can be read."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            argv, environment = (
                (folder / name).read_text(errors="replace") for name in ("cmdline", "environ")
            )
        except OSError:
            continue
        yield int(folder.name), argv, environment
