"""A Prefect server for the tests of one process, and a small world for its flows."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from deployments.zones import SERVER
from tests.fix_cluster import Cluster
from tests.fix_slack import TOKEN, Slack
from tests.fix_world import MakeWorld, World

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State, TaskRun


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[None]:
    """A server that lives as long as this test process. Starting it takes some eight seconds."""
    # Imported here: collecting the other tests must not cost what importing Prefect does.
    from prefect.settings import (
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_SERVER_ANALYTICS_ENABLED,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    # The heartbeat's thread costs a second at the end of each flow.
    quiet: dict[Any, Any] = {
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        PREFECT_SERVER_ANALYTICS_ENABLED: False,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SERVER.items():
            patch.setenv(name, value)
        with prefect_test_harness(server_startup_timeout=110), temporary_settings(quiet):
            yield


@pytest.fixture
def flow_world(
    prefect_api: None,
    pg18: Cluster,
    chinook: str,
    make_world: MakeWorld,
    slack: Slack,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    """Chinook with two repositories and a Slack, as a flow in this process finds it; the target is ``db``."""
    alerts = f'[alerts]\nslack_channel = "#ops"\nslack_base_url = "{slack.base_url}"\n'
    world = make_world(pg18, chinook, extra=alerts)
    world.environment["PRA_ALERTS__SLACK_TOKEN"] = TOKEN
    for name, value in world.environment.items():
        monkeypatch.setenv(name, value)
    return world


def flow_run_of(state: State[Any]) -> FlowRun:
    """The run as the server has it."""
    from prefect.client.orchestration import get_client

    assert state.state_details.flow_run_id is not None
    with get_client(sync_client=True) as client:
        return client.read_flow_run(state.state_details.flow_run_id)


def task_runs_of(flow_run_id: UUID, *names: str) -> dict[str, TaskRun]:
    """Its tasks by name, once these are there and have ended: the server learns of tasks a little later."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    deadline = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while True:
            found = {run.name: run for run in client.read_task_runs(flow_run_filter=chosen)}
            ended = {name for name, run in found.items() if run.state is not None and run.state.is_final()}
            if ended >= {*names, *found}:
                return found
            assert time.monotonic() < deadline, f"no end of {set(names) - ended}"
            time.sleep(0.2)


def artifacts_of(flow_run_id: UUID) -> dict[str, Any]:
    """The data of its artifacts by key, tables as rows; progress, which has no key, by its description."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=mine)
    return {
        artifact.key or str(artifact.description): json.loads(str(artifact.data))
        if artifact.type == "table"
        else artifact.data
        for artifact in found
    }
