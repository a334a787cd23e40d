"""The drill's flow: the phases of ``run()``, its artifacts, and its colour."""

from __future__ import annotations

import pytest

from flows.dr_drill import dr_drill
from pra.procedures import drill
from tests.fix_drill import keys_of, rehearsals
from tests.fix_prefect import artifacts_of, flow_run_of, task_runs_of
from tests.fix_world import World

pytestmark = pytest.mark.timeout(300)


def test_a_drill_is_green_shown_and_leaves_nothing(
    prefect_api: None, drill_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in drill_world.environment.items():
        monkeypatch.setenv(name, value)
    before, there = keys_of(drill_world), rehearsals(drill_world)
    state = dr_drill("db", "data-loss", "light", approval=False, return_state=True)
    assert (state.type, state.name) == ("COMPLETED", "Completed"), state.message
    assert "PASS: data-loss (evidence " in str(state.message)
    run = flow_run_of(state)
    assert run.name == "db data-loss"
    artifacts = artifacts_of(run.id)
    assert [row["Phase"] for row in artifacts["drill-phases-db"]] == list(drill.PHASES)
    for fact in ("PASS", "RTO", "RPO", "public.payments is gone", "moved back"):
        assert fact in artifacts["drill-db"]
    tasks = task_runs_of(run.id, "report")
    assert {name for name, each in tasks.items() if each.state_name == "Completed"} == {
        name for name in drill.PHASES if name != "approve"
    }
    assert keys_of(drill_world) == before
    assert rehearsals(drill_world) == there
