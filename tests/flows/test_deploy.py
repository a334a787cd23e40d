"""Registering deployments, and what a run does that comes too late."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending

from deployments import entries, register
from deployments.change import Change
from flows.backup import backup
from pra.errors import UnavailableError
from pra.settings import load_settings
from tests.fix_world import World

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def client(prefect_api: None) -> Iterator[SyncPrefectClient]:
    """A client of a server on which nothing is registered."""
    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments():
            client.delete_deployment(deployment.id)
        for pool in client.read_work_pools():
            client.delete_work_pool(pool.name)
        yield client


def actions(changes: list[Change]) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {change.name: (change.action, change.what) for change in changes}


def test_a_second_deploy_changes_nothing_and_a_pause_survives_a_change(
    flow_world: World, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = actions(register.deploy(flow_world.settings))
    assert {name: action for name, (action, _) in done.items()} == {
        "work pool backup": "created",
        "work pool verify": "created",
        "work pool emergency": "created",
        "backup/db": "created",
        "restore-verify/db": "created",
        "restore/db": "created",  # neither a drill nor a failover: this target is backed up logically
        "scrub/db": "created",
        "load-test/db": "created",
        "status/all": "created",
        "metrics/all": "created",
    }
    before = client.read_deployment_by_name("backup/db")
    assert before.parameters == {"target": "db"}
    assert (before.entrypoint, before.work_pool_name) == ("flows.backup.backup", "backup")
    assert [(each.slug, each.active) for each in before.schedules] == [("hourly", True)]
    assert "a name below [targets]" in str(before.parameter_openapi_schema)

    assert {action for action, _ in actions(register.deploy(flow_world.settings)).values()} == {"unchanged"}
    assert client.read_deployment_by_name("backup/db").updated == before.updated

    client.update_deployment_schedule(before.id, before.schedules[0].id, active=False)
    changed = [replace(each, description="changed") for each in entries.read_entries()]
    monkeypatch.setattr(entries, "read_entries", lambda: changed)
    done = actions(register.deploy(flow_world.settings))
    assert done["backup/db"] == ("updated", ("description",))
    after = client.read_deployment_by_name("backup/db")
    assert after.description == "changed"
    assert [(each.slug, each.active) for each in after.schedules] == [("hourly", False)]


def test_only_a_physical_target_can_be_drilled(flow_world: World) -> None:
    db = flow_world.settings.target("db")
    for engine, count in (("logical", 0), ("physical", 2)):
        targets = {"db": db.model_copy(update={"engine": engine})}
        settings = flow_world.settings.model_copy(update={"targets": targets})
        everything = entries.expanded(entries.read_entries(), ["db"])
        kept = [each for each in everything if entries.fits(each, settings)]
        assert sum(each.entrypoint in entries.PHYSICAL_ONLY for each in kept) == count


def test_without_an_api_it_says_so(tmp_path: Path) -> None:
    settings = load_settings(None, {"PRA_STATE_DIR": str(tmp_path / "state"), "PRA_CONFIG": ""})
    nobody = {PREFECT_API_URL: "http://127.0.0.1:9/api"}
    with temporary_settings(nobody), pytest.raises(UnavailableError) as caught:
        register.deploy(settings)
    assert caught.value.exit_code == 69
    assert caught.value.hint


def late_runs(client: SyncPrefectClient, deployment_id: UUID, hours: int) -> list[FlowRun]:
    """Let the server schedule the past hours, as its scheduler had before it was down. Oldest first."""
    now = datetime.now(UTC)
    body = {"start_time": (now - timedelta(hours=hours)).isoformat(), "end_time": now.isoformat()}
    client.request("POST", "/deployments/{id}/schedule", path_params={"id": deployment_id}, json=body)
    chosen = DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id]))
    runs = client.read_flow_runs(deployment_filter=chosen)
    due = [run for run in runs if run.expected_start_time and run.expected_start_time <= now]
    return sorted(due, key=lambda run: str(run.expected_start_time))


def carry_out(client: SyncPrefectClient, run: FlowRun) -> State[Any]:
    """As a worker would."""
    client.set_flow_run_state(run.id, Pending(), force=True)
    state = run_flow(backup, client.read_flow_run(run.id), {"target": "db"}, return_type="state")
    assert isinstance(state, State)
    return state


def test_of_the_runs_missed_only_the_newest_is_made_good(
    flow_world: World, client: SyncPrefectClient
) -> None:
    register.deploy(flow_world.settings)
    deployment = client.read_deployment_by_name("backup/db")
    oldest, *_, newest = late_runs(client, deployment.id, hours=3)
    skipped, made = carry_out(client, oldest), carry_out(client, newest)
    assert (skipped.type, skipped.name) == ("COMPLETED", "Skipped")
    assert f"{newest.expected_start_time:%Y-%m-%d %H:%M} UTC is due" in str(skipped.message)
    assert made.name == "Completed", made.message
    assert len(list((flow_world.folder("near") / "backups").iterdir())) == 1


def test_a_run_that_a_person_asked_for_is_never_skipped(flow_world: World, client: SyncPrefectClient) -> None:
    register.deploy(flow_world.settings)
    deployment = client.read_deployment_by_name("backup/db")
    asked = client.create_flow_run_from_deployment(deployment.id)
    late_runs(client, deployment.id, hours=2)
    state = carry_out(client, asked)
    assert state.name == "Completed", state.message
