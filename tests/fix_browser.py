"""Prefect's pages in a real browser, over a real server and worker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fix_world import World
from tests.requirements import require

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture
def browser() -> Iterator[Browser]:
    """Headless Chromium, as Debian packages it."""
    require("chromium", CHROMIUM.exists())
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


@dataclass
class Orchestra:
    """A Prefect server, a worker a pool, and a world's deployments."""

    ui_url: str
    api_url: str
    environment: dict[str, str]
    shots: Path

    def client(self) -> Any:
        from prefect.client.orchestration import SyncPrefectClient

        return SyncPrefectClient(self.api_url)

    def deployment(self, name: str) -> str:
        with self.client() as client:
            return str(client.read_deployment_by_name(name).id)

    def deployment_id(self, name: str) -> Any:
        from uuid import UUID

        return UUID(self.deployment(name))

    def runs(self, deployment: str, *, auto_scheduled: bool) -> list[Any]:
        """Those that a schedule made, or those that it did not."""
        from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId

        chosen = DeploymentFilter(id=DeploymentFilterId(any_=[self.deployment_id(deployment)]))
        with self.client() as client:
            found = client.read_flow_runs(deployment_filter=chosen)
        return [run for run in found if bool(run.auto_scheduled) == auto_scheduled]

    def artifact(self, run_id: str, key: str) -> str:
        """The id of the one that a run left under this key."""
        from uuid import UUID

        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(run_id)]))
        with self.client() as client:
            (found,) = [each for each in client.read_artifacts(artifact_filter=mine) if each.key == key]
        return str(found.id)

    def newest_run(self, deployment_id: str) -> Any:
        from uuid import UUID

        from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
        from prefect.client.schemas.sorting import FlowRunSort

        chosen = DeploymentFilter(id=DeploymentFilterId(any_=[UUID(deployment_id)]))
        with self.client() as client:
            found = client.read_flow_runs(deployment_filter=chosen, sort=FlowRunSort.START_TIME_DESC)
        manual = [run for run in found if not run.auto_scheduled]
        return manual[0] if manual else None

    def shot(self, page: Page, name: str) -> None:
        page.screenshot(path=str(self.shots / f"{name}.png"))


@contextmanager
def orchestra(world: World, home: Path, *pools: str) -> Iterator[Orchestra]:
    """Start them, register the world's deployments; all of it ends on leaving."""
    import subprocess
    import sys

    from deployments.supervise import prefect_server, process_worker

    shots = Path(os.environ.get("SHOTS", str(home / "shots")))
    shots.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        server = stack.enter_context(prefect_server(home))
        for pool in pools:
            stack.enter_context(process_worker(server, pool, environment=world.environment, poll_seconds=1))
        environment = {**os.environ, **world.environment, **server.environment}
        subprocess.run(
            [sys.executable, "-m", "deployments.cli", "deploy"], env=environment, check=True,
            capture_output=True, timeout=120, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        yield Orchestra(server.ui_url, server.api_url, dict(server.environment), shots)
