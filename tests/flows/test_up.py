"""`pra up` for real: a physical target, Prefect's own server and workers, a streamer; each killed in turn."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import pytest

from pra.errors import UnavailableError
from pra.postgres.wal import SEGMENT_BYTES
from pra.settings_running import read_auth
from tests.fix_physical import MakePhysical, world_of
from tests.fix_stream import holes, reached
from tests.fix_up import ROOT, StartUp, Up, clean, mention, pra
from tests.fix_world import MakeWorld, World

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.timeout(600), pytest.mark.all]
BACK_SECONDS = 30
# A base backup of this small server then takes some ten seconds: time enough to be killed in.
SLOW = 'max_rate = "4MB"\n'


@pytest.fixture
def slow_world(make_physical: MakePhysical, make_world: MakeWorld) -> World:
    return world_of(make_physical(18), make_world, extra=SLOW)


def test_what_is_killed_is_back_in_30_seconds_and_nothing_is_lost(
    slow_world: World, start_up: StartUp, browser: Browser
) -> None:
    up = start_up(slow_world)
    up.wait_ready()
    alone(up)
    asks_for_its_password(up)
    keeps_runs_for_a_bounded_time(up)
    shows_deployments_and_schedules(up, browser)
    with api(up) as client, writing(slow_world) as written:
        # After the kills: one that starts in the very seconds without a server ends as Crashed (ADR 15).
        soon = schedule(client, seconds=90)
        under_way = backup(up, client)
        back(up, "worker-backup")
        assert final(up, client, under_way) == "Completed"
        under_way = backup(up, client)
        back(up, "prefect", lambda: answers(up))
        assert final(up, client, under_way) == "Completed"
        back(up, "wal-db")
        # Whatever it found: it came to a verdict, at its time.
        assert final(up, client, soon) in ("Completed", "Warning", "Critical")
    # Throwaway servers run under the other account, below the umask of every part.
    assert pra(slow_world, "verify", "--flow")["verdict"] == "PASS"
    wal_is_whole(slow_world, up)
    assert value(slow_world, "app", "SELECT count(*) FROM numbered") == str(1000 + written[0])
    assert pra(slow_world, "up", "--status")["watched"] is True
    for part in ("worker-backup", "prefect", "wal-db"):
        assert f"{part} ended (terminated by SIGKILL) and is started again" in up.said()
    assert pra(slow_world, "down") == {"schema": "pra/down/1", "ran": True, "left": [], "waited_for": 0}
    assert up.process.wait(10) == 0, up.said()
    assert mention(slow_world.settings.state_dir) == {}
    stopped = [line.split()[-1] for line in up.said().splitlines() if " Stopping " in line]
    assert stopped == ["everything.", "worker-backup.", "worker-verify.", "wal-db.", "prefect."]


def test_a_killed_pra_up_leaves_nothing_that_down_does_not_end(slow_world: World, start_up: StartUp) -> None:
    first = start_up(slow_world)
    first.wait_ready()
    first.process.kill()
    first.process.wait(10)
    # Protection outlives the console that started it.
    assert pra(slow_world, "up", "--status")["watched"] is False
    second = start_up(slow_world)
    second.wait_ready()
    assert "An earlier pra up was killed" in second.said()
    with api(second) as client:
        manager = int(second.place.pidfile.read_text())
        os.kill(manager, signal.SIGKILL)
        until(lambda: "supervisord ended" in second.said(), 20, second.said)
        until(lambda: all_up(second), 60, second.logs)
        under_way = backup(second, client)
        before = manifests(slow_world)
        down = pra(slow_world, "down")
        assert down["ran"] is True
    assert mention(slow_world.settings.state_dir) == {}
    # What was under way is cancelled: nothing half-published, and nothing left on the server.
    assert manifests(slow_world) == before
    walsenders = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'"
    assert value(slow_world, "postgres", walsenders) == "0"
    third = start_up(slow_world)
    third.wait_ready()
    with api(third) as client:
        assert name_of(client, under_way) == "Cancelled"
        backup(third, client)
        waited = pra(slow_world, "down", "--wait", "2min")
        assert waited["waited_for"] == 1
    # In both repositories.
    assert len(manifests(slow_world)) == len(before) + 2, "the run that was waited for was cancelled"
    assert mention(slow_world.settings.state_dir) == {}


def alone(up: Up) -> None:
    """A second one is refused; every command that shares the state finds the server and its password."""
    second = subprocess.run(
        [sys.executable, "-m", "deployments.cli", "up"],
        env=clean(up.world), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (second.returncode, "pra down" in second.stderr) == (75, True), second.stderr
    changes = pra(up.world, "deploy")["items"]
    assert {each["action"] for each in changes} == {"unchanged"}
    found = pra(up.world, "status", "--all", code=None)["items"]
    (schedule,) = [each for each in found if each["name"] == "schedule"]
    assert (schedule["level"], "no run is late" in schedule["message"]) == ("ok", True), schedule


def asks_for_its_password(up: Up) -> None:
    answer = httpx.post(f"{up.url}/api/deployments/filter", json={}, timeout=10)
    assert answer.status_code == 401
    environments = [
        process for process in mention(up.place.state_dir).values() if password(up) in process
    ]  # of all that others can read, the arguments
    assert environments == []


def keeps_runs_for_a_bounded_time(up: Up) -> None:
    auth = httpx.BasicAuth(*password(up).split(":"))
    server = httpx.get(f"{up.url}/api/admin/settings", auth=auth, timeout=10).json()["server"]
    vacuum = server["services"]["db_vacuum"]
    assert sorted(vacuum["enabled"]) == ["events", "flow_runs"]
    assert (vacuum["retention_period"], server["events"]["retention_period"]) == ("P90D", "P7D")
    assert vacuum["event_retention_overrides"] == {"prefect.flow-run.heartbeat": "P1D"}


def shows_deployments_and_schedules(up: Up, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 1200})
    page.goto(f"{up.url}/deployments")
    page.locator("input[type=password]").fill(password(up))
    page.get_by_role("button", name="Login").click()
    for flow in ("backup", "restore-verify", "load-test", "dr-drill", "scrub", "failover", "restore"):
        page.locator(".deployment-list-item, tr, .p-list-item", has_text=flow).first.wait_for(timeout=60_000)
    for flow in ("status", "metrics"):
        page.get_by_text(flow, exact=True).first.wait_for(timeout=60_000)
    shots = os.environ.get("SHOTS", str(up.world.home))
    page.screenshot(path=f"{shots}/up-deployments.png")
    with api(up) as client:
        deployment = client.read_deployment_by_name("backup/db").id
    page.goto(f"{up.url}/deployments/deployment/{deployment}?tab=Upcoming")
    page.get_by_text("hourly", exact=True).first.wait_for(timeout=60_000)
    page.get_by_text("Scheduled for").first.wait_for(timeout=60_000)
    page.screenshot(path=f"{shots}/up-schedule.png")
    page.close()


def password(up: Up) -> str:
    found = read_auth(up.place.state_dir)
    assert found is not None
    return found


def back(up: Up, part: str, works: Callable[[], bool] = lambda: True) -> None:
    """Kill it; within 30 seconds it must be there, and work, again."""
    victim = up.kill(part)
    began = time.monotonic()

    def is_back() -> bool:
        state = up.states()[part]
        return state.pid not in (0, victim) and state.state == "RUNNING" and works()

    until(is_back, BACK_SECONDS, up.logs)
    took = time.monotonic() - began
    assert took < BACK_SECONDS
    sys.stderr.write(f"{part} was back after {took:.1f} s\n")


def all_up(up: Up) -> bool:
    try:
        return {each.state for each in up.states().values()} == {"RUNNING"}
    except UnavailableError:
        return False


def answers(up: Up) -> bool:
    try:
        return httpx.get(f"{up.url}/api/health", timeout=5).is_success
    except httpx.HTTPError:
        return False


def until(condition: Callable[[], bool], seconds: float, why: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(0.2)


@contextmanager
def api(up: Up) -> Iterator[Any]:
    from prefect.client.orchestration import SyncPrefectClient

    with SyncPrefectClient(f"{up.url}/api", auth_string=password(up)) as client:
        yield client


def backup(up: Up, client: Any) -> UUID:
    """Start one from its deployment, and return once it reads the server."""
    deployment = client.read_deployment_by_name("backup/db")
    started: UUID = client.create_flow_run_from_deployment(deployment.id, parameters={"full": True}).id
    query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'backup'"
    until(lambda: value(up.world, "app", query) == "1", 60, up.logs)
    return started


def schedule(client: Any, seconds: int) -> UUID:
    from prefect.states import Scheduled

    deployment = client.read_deployment_by_name("status/all")
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    created: UUID = client.create_flow_run_from_deployment(
        deployment.id, state=Scheduled(scheduled_time=moment)
    ).id
    return created


def final(up: Up, client: Any, run: UUID) -> str:
    until(lambda: bool((state := client.read_flow_run(run).state) and state.is_final()), 180, up.logs)
    return name_of(client, run)


def name_of(client: Any, run: UUID) -> str:
    return str(client.read_flow_run(run).state.name)


@contextmanager
def writing(world: World) -> Iterator[list[int]]:
    """Twenty rows a second meanwhile; yields how many were committed."""
    count, stop = [0], threading.Event()

    def write() -> None:
        with world.cluster.connect("app") as connection:
            while not stop.wait(0.05):
                connection.execute(
                    "INSERT INTO numbered (id, note) VALUES (%s, 'meanwhile')", [100_000 + count[0]]
                )
                count[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield count
    finally:
        stop.set()
        writer.join()


def wal_is_whole(world: World, up: Up) -> None:
    """Every row that was written meanwhile is in both repositories, without a hole before it."""
    from pra.postgres.wal import parse_lsn

    last = parse_lsn(value(world, "app", "SELECT pg_current_wal_flush_lsn()"))
    for repository in ("near", "far"):
        until(lambda name=repository: reached(world, name, size=SEGMENT_BYTES) >= last, 30, up.logs)  # type: ignore[misc]
        assert holes(world, repository, size=SEGMENT_BYTES) == ()
    assert [item["gaps"] for item in pra(world, "wal", "check")["items"]] == [[], []]


def value(world: World, database: str, query: str) -> str:
    return str(world.cluster.query(database, query)[0][0])


def manifests(world: World) -> list[str]:
    found = (world.home / name / "db" / "backups" for name in ("near", "far"))
    return sorted(str(each) for folder in found for each in folder.glob("*/manifest.json"))
