"""The status flow: one run over all targets, a task a probe, the colour of what it found."""

from __future__ import annotations

import json

import pytest

from flows.watch import status
from tests.fix_prefect import artifacts_of, flow_run_of, task_runs_of
from tests.fix_slack import Slack
from tests.fix_world import World

pytestmark = pytest.mark.timeout(300)


def test_a_pass_is_recorded_and_shown_in_its_colour(flow_world: World, slack: Slack) -> None:
    """Without any backup it is Critical; the probes that found so are red; nobody is woken by the flow."""
    state = status(return_state=True)
    assert (state.type, state.name) == ("FAILED", "Critical"), state.message
    assert "db backup.near: near holds no backup" in str(state.message)
    tasks = task_runs_of(flow_run_of(state).id, "db: database", "db: repository near", "disks", "record")
    assert tasks["db: database"].state_name == "Completed"
    assert tasks["db: repository near"].state_name == "Fail"
    rows = artifacts_of(flow_run_of(state).id)["status"]
    assert {row["name"] for row in rows} >= {"database", "backup.near", "backup.far", "disk.state", "keys"}
    assert slack.posts == []

    folder = flow_world.settings.state_dir / "status"
    (line,) = next((folder / "samples").glob("*.jsonl")).read_text().splitlines()
    assert {"backup.near", "backup.far"} <= set(json.loads(line)["x"]["db"]["c"])
    assert json.loads((folder / "latest.json").read_text())["level"] == "critical"
    assert (
        "CRITICAL db backup.near"
        in (flow_world.settings.state_dir / "logs" / "akig_monitoring.log").read_text()
    )
