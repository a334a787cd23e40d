"""A Prefect server for the tests of one process, and a small world for its flows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from tests.fix_cluster import Cluster
from tests.fix_world import MakeWorld, World


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
    with prefect_test_harness(server_startup_timeout=90), temporary_settings(quiet):
        yield


@pytest.fixture
def flow_world(
    prefect_api: None,
    pg18: Cluster,
    chinook: str,
    make_world: MakeWorld,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    """Chinook with two repositories, as a flow in this process finds it."""
    world = make_world(pg18, chinook)
    for name, value in world.environment.items():
        monkeypatch.setenv(name, value)
    return world


def artifacts_of(flow_run_id: UUID | str) -> dict[str, Any]:
    """The data of a run's artifacts by key; progress artifacts, which have none, by their description."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(str(flow_run_id))]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=mine)
    return {artifact.key or str(artifact.description): artifact.data for artifact in found}
