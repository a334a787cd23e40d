"""Registering deployments, and what a run does that comes too late."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending

from deployments import entries, register
from deployments.change import Change
from flows.backup import backup
from pra.errors import UnavailableError, UsageError
from pra.settings import load_settings
from pra.watch.status import schedule
from tests.fix_fleet import configure
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
        for automation in client.read_automations():
            client.delete_automation(automation.id)
        yield client


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> list[entries.Entry]:
    """prefect.yaml as if it had three deployments: each costs a tenth of a second."""
    kept = [each for each in entries.read_entries() if each.entrypoint in FEW]
    monkeypatch.setattr(entries, "read_entries", lambda: kept)
    return kept


def actions(changes: list[Change]) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {change.name: (change.action, change.what) for change in changes}


def done_to(changes: list[Change], action: str) -> set[str]:
    """What was created, updated or removed."""
    return {change.name for change in changes if change.action == action}


def names(client: SyncPrefectClient) -> set[str]:
    """Every deployment there is, as ``flow/name``."""
    flows = {flow.id: flow.name for flow in client.read_flows()}
    return {f"{flows[each.flow_id]}/{each.name}" for each in client.read_deployments()}


FEW = ("flows.backup.backup", "flows.watch.scrub", "flows.watch.status")
OF_A_TARGET = ("backup", "restore-verify", "restore", "scrub", "load-test")
"""Of one that is backed up logically: neither a drill nor a failover."""
LOOK = "automation pra: look at everything when a run fails (status/all)"
ZOMBIE = "automation pra: a run that gives no sign of life has crashed"


def test_a_second_deploy_changes_nothing_and_a_pause_survives_a_change(
    tmp_path: Path, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pra.toml"
    settings = configure(file, ["db"])
    done = register.deploy(settings, config=file)
    assert done_to(done, "created") == {
        "work pool backup",
        "work pool verify",
        "work pool emergency",
        *(f"{flow}/db" for flow in OF_A_TARGET),
        "status/all",
        "metrics/all",
        LOOK,
        ZOMBIE,
    } == set(actions(done))  # fmt: skip
    before = client.read_deployment_by_name("backup/db")
    assert before.parameters == {"target": "db"}
    assert (before.entrypoint, before.work_pool_name) == ("flows.backup.backup", "backup")
    assert before.job_variables == {"env": {"PRA_CONFIG": str(file)}}
    assert [(each.slug, each.active) for each in before.schedules] == [("hourly", True)]
    form = before.parameter_openapi_schema
    assert form is not None
    assert "a name below [targets]" in str(form)
    assert form["properties"]["target"]["enum"] == ["db"], "no other target can be typed in"
    assert client.read_deployment_by_name("status/all").work_queue_name == "watch"

    artifacts = len(client.read_artifacts())
    assert {action for action, _ in actions(register.deploy(settings, config=file)).values()} == {"unchanged"}
    assert client.read_deployment_by_name("backup/db").updated == before.updated
    assert len(client.read_artifacts()) == artifacts

    client.update_deployment_schedule(before.id, before.schedules[0].id, active=False)
    client.pause_deployment(client.read_deployment_by_name("scrub/db").id)
    changed = [replace(each, description="changed") for each in entries.read_entries()]
    monkeypatch.setattr(entries, "read_entries", lambda: changed)
    done = register.deploy(settings, config=file)
    assert actions(done)["backup/db"] == ("updated", ("description",))
    after = client.read_deployment_by_name("backup/db")
    assert after.description == "changed"
    assert after.parameters == before.parameters
    assert [(each.slug, each.active) for each in after.schedules] == [("hourly", False)]
    assert client.read_deployment_by_name("scrub/db").paused


def test_what_left_goes_with_its_runs_and_nothing_else_does(
    tmp_path: Path, client: SyncPrefectClient, few: list[entries.Entry]
) -> None:
    """Gone: the deployments of a target that left. Kept: another installation's, and a person's copy."""
    here, there = tmp_path / "here" / "pra.toml", tmp_path / "there" / "pra.toml"
    register.deploy(configure(there, ["theirs"]), config=there)
    register.deploy(configure(here, ["stays", "leaves"]), config=here)
    left = client.read_deployment_by_name("backup/leaves")
    copied = client.create_deployment(
        left.flow_id, "leaves-in-full", entrypoint=left.entrypoint, tags=left.tags,
        parameters={"target": "leaves", "full": True}, job_variables=left.job_variables,
    )  # fmt: skip
    client.create_flow_run_from_deployment(left.id)
    done = register.deploy(configure(here, ["stays"]), config=here)
    assert done_to(done, "removed") == {"backup/leaves", "scrub/leaves"}
    assert not done_to(done, "created") | done_to(done, "updated")
    chosen = DeploymentFilter(id=DeploymentFilterId(any_=[left.id]))
    assert client.read_flow_runs(deployment_filter=chosen) == []
    assert names(client) >= {"backup/theirs", "scrub/theirs", "backup/leaves-in-full"}
    assert client.read_deployment(copied).parameters["full"] is True
    assert register.deploy(configure(here, []), config=None) is not None, "nobody's: nothing is removed"
    assert "backup/stays" in names(client)


def test_two_installations_on_one_server_have_each_their_own(
    tmp_path: Path, client: SyncPrefectClient, few: list[entries.Entry]
) -> None:
    """What is about all targets has a name of its own; one target of both is refused, and nothing written."""
    first, second = tmp_path / "first" / "pra.toml", tmp_path / "second" / "pra.toml"
    register.deploy(configure(first, ["one"]), config=first)
    created = done_to(register.deploy(configure(second, ["two"]), config=second), "created")
    (status,) = [name for name in created if name.startswith("status/")]
    assert status.startswith("status/all-")
    assert {"status/all", status} < names(client)
    keys = {artifact.key for artifact in client.read_artifacts()}
    assert {"start-here", f"start-here-{status.removeprefix('status/all-')}"} <= keys
    assert {a for a, _ in actions(register.deploy(configure(second, ["two"]), config=second)).values()} == {
        "unchanged"
    }
    before = names(client)
    with pytest.raises(UsageError, match=f"one belongs to the installation of {first}") as caught:
        register.deploy(configure(second, ["new", "one"]), config=second)
    assert (caught.value.exit_code, "--take-over" in caught.value.hint) == (64, True)
    assert names(client) == before

    # The first one's file was moved.
    done = register.deploy(configure(second, ["one", "two"]), config=second, take_over=True)
    assert actions(done)["backup/one"] == ("updated", ("variables",))
    assert actions(done)["status/all"] == ("updated", ("variables",))
    assert status in done_to(done, "removed")


def test_what_somebody_else_made_is_not_written_over(
    tmp_path: Path, client: SyncPrefectClient, few: list[entries.Entry]
) -> None:
    """Flows called backup and status are not rare: theirs run their own code, and say nothing of pra.toml."""
    file = tmp_path / "pra.toml"
    backup_id, status_id = (client.create_flow_from_name(name) for name in ("backup", "status"))
    theirs = client.create_deployment(backup_id, "db", entrypoint="theirs.py:backup")
    client.create_deployment(status_id, "all", entrypoint="theirs.py:status")
    for take_over in (False, True):
        with pytest.raises(UsageError, match="backup/db is a deployment of somebody else: it runs theirs"):
            register.deploy(configure(file, ["db"]), config=file, take_over=take_over)
    assert names(client) == {"backup/db", "status/all"}
    assert client.read_deployment(theirs).entrypoint == "theirs.py:backup"
    created = done_to(register.deploy(configure(file, ["other"]), config=file), "created")
    assert any(name.startswith("status/all-") for name in created)
    assert client.read_deployment_by_name("status/all").entrypoint == "theirs.py:status"


@pytest.mark.parametrize("dies_at", ["update_deployment", "delete_deployment_schedule"])
def test_a_deploy_that_dies_half_way_leaves_a_schedule(
    tmp_path: Path, client: SyncPrefectClient, few: list[entries.Entry],
    monkeypatch: pytest.MonkeyPatch, dies_at: str,
) -> None:  # fmt: skip
    file = tmp_path / "pra.toml"
    settings = configure(file, ["db"])
    register.deploy(settings, config=file)
    renamed = [replace(few[0], schedules=({**few[0].schedules[0], "slug": "each-hour"},)), *few[1:]]
    monkeypatch.setattr(entries, "read_entries", lambda: renamed)

    def die(*_: Any) -> None:
        raise httpx.ConnectError("the server is gone")

    with monkeypatch.context() as dying:
        dying.setattr(SyncPrefectClient, dies_at, die)
        with pytest.raises(UnavailableError):
            register.deploy(settings, config=file)
    assert any(each.active for each in client.read_deployment_by_name("backup/db").schedules)
    register.deploy(settings, config=file)
    assert [each.slug for each in client.read_deployment_by_name("backup/db").schedules] == ["each-hour"]


def test_a_schedule_that_a_person_added_stays_and_one_of_before_goes(
    tmp_path: Path, client: SyncPrefectClient, few: list[entries.Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours paused and one's own added: the way to a time of one's own, and no deploy undoes it."""
    file = tmp_path / "pra.toml"
    settings = configure(file, ["db"])
    register.deploy(settings, config=file)
    there = client.read_deployment_by_name("backup/db")
    client.update_deployment_schedule(there.id, there.schedules[0].id, active=False)
    own = CronSchedule(cron="15 12 * * *", timezone="Europe/Paris")
    client.create_deployment_schedules(there.id, [DeploymentScheduleCreate(schedule=own)])
    assert done_to(register.deploy(settings, config=file), "updated") == set()

    hourly = {**few[0].schedules[0], "slug": "each-hour"}
    renamed = [replace(few[0], schedules=(hourly,)), *few[1:]]
    monkeypatch.setattr(entries, "read_entries", lambda: renamed)
    assert actions(register.deploy(settings, config=file))["backup/db"] == ("updated", ("schedules",))
    after = client.read_deployment_by_name("backup/db")
    assert {(each.slug, each.active) for each in after.schedules} == {("each-hour", True), (None, True)}
    (kept,) = [each for each in after.schedules if each.slug is None]
    assert kept.schedule == own
    assert done_to(register.deploy(settings, config=file), "updated") == set()

    monkeypatch.setattr(entries, "read_entries", lambda: [replace(each, schedules=()) for each in few])
    assert actions(register.deploy(settings, config=file))["scrub/db"] == ("updated", ("schedules",))
    assert client.read_deployment_by_name("scrub/db").schedules == []
    assert done_to(register.deploy(settings, config=file), "updated") == set()


def test_what_an_operator_tuned_stays(
    tmp_path: Path, client: SyncPrefectClient, few: list[entries.Entry]
) -> None:
    """A pool's slots, an automation switched off, a variable beside ours; a bare pool is completed."""
    file = tmp_path / "pra.toml"
    settings = configure(file, ["db"])
    client.create_work_pool(WorkPoolCreate(name="backup", type="process"))  # as a worker makes it
    client.create_work_pool(WorkPoolCreate(name="verify", type="process", concurrency_limit=7))
    done = actions(register.deploy(settings, config=file))
    assert [done[f"work pool {name}"][0] for name in ("backup", "verify", "emergency")] == [
        "updated", "unchanged", "created",
    ]  # fmt: skip
    assert client.read_work_pool("backup").concurrency_limit == 4
    assert client.read_work_pool("verify").concurrency_limit == 7
    client.update_work_pool("backup", WorkPoolUpdate(concurrency_limit=9))
    there = client.read_deployment_by_name("backup/db")
    variables = {"env": {"PRA_CONFIG": str(file), "TZ": "Europe/Paris"}, "stream_output": False}
    client.request(
        "PATCH", "/deployments/{id}", path_params={"id": there.id}, json={"job_variables": variables}
    )
    (look,) = client.read_automations_by_name(LOOK.removeprefix("automation "))
    client.pause_automation(look.id)
    assert {action for action, _ in actions(register.deploy(settings, config=file)).values()} == {"unchanged"}
    assert client.read_work_pool("backup").concurrency_limit == 9
    assert client.read_deployment_by_name("backup/db").job_variables == variables


def test_an_automation_is_brought_up_to_date_by_its_name_and_stays_off(
    tmp_path: Path, client: SyncPrefectClient, few: list[entries.Entry]
) -> None:
    file = tmp_path / "pra.toml"
    settings = configure(file, ["db"])
    register.deploy(settings, config=file)
    (look,) = client.read_automations_by_name(LOOK.removeprefix("automation "))
    assert "prefect.flow-run.Partial" in str(look.trigger)
    said = look.model_dump(exclude={"id", "created", "updated", "owner_resource"})
    somebodys = AutomationCore.model_validate({**said, "description": "somebody's", "enabled": False})
    client.update_automation(look.id, somebodys)
    assert actions(register.deploy(settings, config=file))[LOOK] == ("updated", ("description",))
    (after,) = client.read_automations_by_name(LOOK.removeprefix("automation "))
    assert (after.id, after.enabled, after.description) == (look.id, False, look.description)
    # Deployed anew it has another id, which the action must follow.
    client.delete_deployment(client.read_deployment_by_name("status/all").id)
    assert actions(register.deploy(settings, config=file))[LOOK] == ("updated", ("actions",))
    (after,) = client.read_automations_by_name(LOOK.removeprefix("automation "))
    assert str(client.read_deployment_by_name("status/all").id) in str(after.actions)


@pytest.mark.all
def test_200_deployments_are_registered_in_under_a_minute(tmp_path: Path, client: SyncPrefectClient) -> None:
    """40 targets with five flows each; a second time, when nothing differs, takes a tenth of it."""
    file = tmp_path / "pra.toml"
    settings = configure(file, [f"customer-{number:02}" for number in range(40)])
    began = time.monotonic()
    assert len([n for n in done_to(register.deploy(settings, config=file), "created") if "/" in n]) >= 202
    first = time.monotonic() - began
    began = time.monotonic()
    assert {action for action, _ in actions(register.deploy(settings, config=file)).values()} == {"unchanged"}
    second = time.monotonic() - began
    assert first < 60, f"{first:.1f} s"
    assert second < 15, f"{second:.1f} s"
    api = settings.status.model_copy(update={"prefect_api": str(PREFECT_API_URL.value())})
    (found,) = schedule.schedule(settings.model_copy(update={"status": api}), datetime.now(UTC))
    assert found.value == 162, "the status sees those beyond the first page, too; no scheduler runs here"


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
    flow_world: World, client: SyncPrefectClient, few: list[entries.Entry]
) -> None:
    register.deploy(flow_world.settings)
    deployment = client.read_deployment_by_name("backup/db")
    oldest, *_, newest = late_runs(client, deployment.id, hours=3)
    skipped, made = carry_out(client, oldest), carry_out(client, newest)
    assert (skipped.type, skipped.name) == ("COMPLETED", "Skipped")
    assert f"{newest.expected_start_time:%Y-%m-%d %H:%M} UTC is due" in str(skipped.message)
    assert made.name == "Completed", made.message
    assert len(list((flow_world.folder("near") / "backups").iterdir())) == 1


def test_a_run_that_a_person_asked_for_is_never_skipped(
    flow_world: World, client: SyncPrefectClient, few: list[entries.Entry]
) -> None:
    register.deploy(flow_world.settings)
    deployment = client.read_deployment_by_name("backup/db")
    asked = client.create_flow_run_from_deployment(deployment.id)
    late_runs(client, deployment.id, hours=2)
    state = carry_out(client, asked)
    assert state.name == "Completed", state.message
