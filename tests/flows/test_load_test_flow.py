"""The load test's flow: the phases of ``run()``, its artifacts, and its colour."""

from __future__ import annotations

import pytest

from flows.load_test import load_test
from pra.procedures import loadtest
from tests.fix_loadtest import left_behind
from tests.fix_prefect import artifacts_of, flow_run_of, task_runs_of
from tests.fix_world import World

pytestmark = [pytest.mark.timeout(300), pytest.mark.all]


def test_a_load_test_is_green_shown_and_leaves_nothing(
    prefect_api: None, load_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in load_world.environment.items():
        monkeypatch.setenv(name, value)
    state = load_test("db", rounds=1, clients=2, seconds=1, return_state=True)
    assert (state.type, state.name) == ("COMPLETED", "Completed"), state.message
    assert "PASS: load test (evidence " in str(state.message)
    run = flow_run_of(state)
    assert run.name == "db"
    artifacts = artifacts_of(run.id)
    assert [row["Phase"] for row in artifacts["load-test-phases-db"]] == list(loadtest.PHASES)
    for fact in ("PASS", "contract-page", "Backup, full", "Forecast"):
        assert fact in artifacts["load-test-db"]
    tasks = task_runs_of(run.id, "report")
    assert {name for name, each in tasks.items() if each.state_name == "Completed"} == set(loadtest.PHASES)
    assert left_behind(load_world) == []
