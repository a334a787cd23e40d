"""The metrics flow: one run over all targets leaves a page, a table and the report's text."""

from __future__ import annotations

import pytest

from flows.metrics import metrics
from tests.fix_prefect import artifacts_of, flow_run_of, task_runs_of
from tests.fix_world import World

pytestmark = pytest.mark.timeout(300)


def test_nothing_known_is_unknown_and_shown_all_the_same(flow_world: World) -> None:
    state = metrics(return_state=True)
    assert (state.type, state.name) == ("COMPLETED", "Unknown"), state.message
    run = flow_run_of(state).id
    tasks = task_runs_of(run, "gather", "page", "table", "report")
    assert {each.state_name for each in tasks.values()} == {"Completed"}
    artifacts = artifacts_of(run)
    assert "there is no record of anything yet" in artifacts["metrics"]
    assert "Weekly recovery report of db" in artifacts["metrics-report-db"]
    assert {row["Target"] for row in artifacts["metrics-table"]} == {"db"}
    page = flow_world.settings.state_dir / "metrics" / "metrics.html"
    assert page.read_text().startswith("<!doctype html>")
