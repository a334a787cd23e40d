"""The status flow: one run over all targets, a task a probe, the colour of what it found."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.states import Scheduled

from deployments import register
from flows.watch import scrub, status
from pra.watch.status import schedule
from pra.watch.status.finding import Finding, Level
from tests.fix_prefect import artifacts_of, flow_run_of, task_runs_of
from tests.fix_slack import Slack
from tests.fix_world import World

pytestmark = pytest.mark.timeout(300)


def test_a_pass_is_recorded_and_shown_in_its_colour(flow_world: World, slack: Slack) -> None:
    """Without any backup it is Critical, and the probes that found so are red.

    People are told of the incident, once, and not of a run that broke.
    """
    state = status(return_state=True)
    assert (state.type, state.name) == ("FAILED", "Critical"), state.message
    assert "db backup.near: near holds no backup" in str(state.message)
    tasks = task_runs_of(flow_run_of(state).id, "db: database", "db: repository near", "disks", "record")
    assert tasks["db: database"].state_name == "Completed"
    assert tasks["db: repository near"].state_name == "Fail"
    rows = artifacts_of(flow_run_of(state).id)["status"]
    assert {row["name"] for row in rows} >= {"database", "backup.near", "backup.far", "disk.state", "keys"}
    assert [post.text.count("holds no backup") > 0 for post in slack.posts] == [True]

    folder = flow_world.settings.state_dir / "status"
    (line,) = next((folder / "samples").glob("*.jsonl")).read_text().splitlines()
    assert {"backup.near", "backup.far"} <= set(json.loads(line)["x"]["db"]["c"])
    assert json.loads((folder / "latest.json").read_text())["level"] == "critical"
    assert (
        "CRITICAL db backup.near"
        in (flow_world.settings.state_dir / "logs" / "akig_monitoring.log").read_text()
    )


def test_a_scrub_is_a_verdict_and_names_what_damage_costs(flow_world: World, slack: Slack) -> None:
    """Green with its evidence; red after a flipped byte, the task of that repository too; people are told."""
    backup_id = flow_world.backup().backup_id
    state = scrub("db", everything=True, return_state=True)
    assert (state.type, state.name) == ("COMPLETED", "Completed"), state.message
    assert "objects are what was published" in str(state.message)
    victim = flow_world.objects("far", backup_id)[0]
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.chmod(0o600)
    victim.write_bytes(data)
    state = scrub("db", everything=True, return_state=True)
    assert (state.type, state.name) == ("FAILED", "Fail"), state.message
    assert f"not to be restored from there: {backup_id}" in str(state.message)
    tasks = task_runs_of(flow_run_of(state).id, "reread near", "reread far", "record")
    assert (tasks["reread near"].state_name, tasks["reread far"].state_name) == ("Completed", "Fail")
    assert any(backup_id in post.text for post in slack.posts)


def test_the_schedule_is_read_from_a_real_api(flow_world: World) -> None:
    """Not deployed; deployed, and nothing planned since no scheduler runs; a wrong address is unknown."""
    api = str(PREFECT_API_URL.value())
    now = datetime.now(UTC)

    def asked(address: str) -> Finding:
        status_settings = flow_world.settings.status.model_copy(update={"prefect_api": address})
        settings = flow_world.settings.model_copy(update={"status": status_settings})
        (found,) = schedule.schedule(settings, now)
        return found

    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments():
            client.delete_deployment(deployment.id)
    assert "there is no deployment backup/db" in asked(api).message
    register.deploy(flow_world.settings)
    found = asked(api)
    assert (found.level, "is planned although its schedule is active" in found.message) == (
        Level.CRITICAL,
        True,
    )
    with get_client(sync_client=True) as client:
        for deployment in [each for each in client.read_deployments() if each.schedules]:
            planned = now + timedelta(minutes=30)
            client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=planned))
        assert asked(api).level is Level.OK, asked(api).message
        backup = client.read_deployment_by_name("backup/db")
        late = now - timedelta(hours=2)
        client.create_flow_run_from_deployment(backup.id, state=Scheduled(scheduled_time=late))
    found = asked(api)
    assert (found.level, "backup/db was due 2 h 00 min ago" in found.message) == (Level.WARNING, True)
    assert asked("http://127.0.0.1:9/api").level is Level.UNKNOWN
