"""The whole way of a scheduled run: the server's scheduler creates it, a process worker executes it.

Versions of what Prefect rests on have broken exactly this while every run by hand went well.
"""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments import entries, register
from deployments.supervise import prefect_server, process_worker
from tests.fix_cluster import Cluster
from tests.fix_world import MakeWorld

pytestmark = pytest.mark.timeout(600)


def final_run(client: SyncPrefectClient, seconds: float) -> FlowRun:
    deadline = time.monotonic() + seconds
    while True:
        runs = [run for run in client.read_flow_runs() if run.auto_scheduled]
        for run in runs:
            if run.state is not None and run.state.is_final():
                return run
        assert time.monotonic() < deadline, f"no run ended; scheduled: {len(runs)}"
        time.sleep(0.5)


def test_an_every_minute_schedule_is_created_and_executed(
    pg18: Cluster, chinook: str, make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(pg18, chinook)
    every_minute = [
        replace(entry, schedules=({**entry.schedules[0], "cron": "* * * * *"},))
        for entry in entries.read_entries()
        if entry.work_pool == "backup"
    ]
    monkeypatch.setattr(entries, "read_entries", lambda: every_minute)
    with (
        prefect_server(world.home / "state") as server,
        process_worker(server, "backup", environment=world.environment),
        temporary_settings({PREFECT_API_URL: server.api_url}),
        get_client(sync_client=True) as client,
    ):
        register.deploy(world.settings, config=world.home / "pra.toml")
        run = final_run(client, seconds=240)
    assert run.state_name == "Completed", run.state
    (backup_id,) = [path.parent.name for path in world.folder("far").glob("backups/*/manifest.json")]
    assert run.name == f"db {backup_id}"
