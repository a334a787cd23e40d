"""The RPO is the truth: a writer's own ledger against what the program reports, after a real disaster.

A writer commits numbered rows and notes when each was committed. At a moment nobody chose, server and
streamer die by SIGKILL, and the data directory, the streamer's spool and the near repository are gone. What
comes back from the far repository alone says how much was lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pra.timing import to_iso
from tests.fix_cluster import Cluster
from tests.fix_physical import MakePhysical, world_of
from tests.fix_recovery import Standing
from tests.fix_store import KEY_ID, SECRET, Server
from tests.fix_stream import StartStreamer, Streamer, pra, wait_until
from tests.fix_world import MakeWorld, World

MOST_LOST = 5.0
"""Seconds of commits that may be lost."""
AGREEMENT = 1.0
"""Seconds by which the writer's count and the program's report may differ."""
FIRST = 1001  # the rows before it are there from the start


@dataclass
class Ledger:
    """Commits one row a transaction; ``committed[n]`` is when row ``FIRST + n`` was known to be committed."""

    cluster: Cluster
    committed: list[datetime] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with contextlib.suppress(psycopg.Error), self.cluster.connect("app") as connection:
            while not self._stop.is_set():
                number = FIRST + len(self.committed)
                connection.execute("INSERT INTO numbered (id, note) VALUES (%s, 'ledger')", (number,))
                self.committed.append(datetime.now(UTC))

    def stop(self) -> None:
        self._stop.set()

    def rate(self, seconds: float) -> float:
        """Commits a second, over the last so many seconds."""
        last = self.committed[-1]
        return sum((last - at).total_seconds() <= seconds for at in self.committed[-20_000:]) / seconds

    def lost(self, newest: int, disaster: datetime) -> float:
        """Seconds from the commit of the newest row that came back to the disaster."""
        noted = self.committed[
            min(newest - FIRST, len(self.committed) - 1)
        ]  # the last may not have been answered
        return (disaster - noted).total_seconds()


@contextmanager
def writing(cluster: Cluster) -> Iterator[Ledger]:
    ledger = Ledger(cluster)
    thread = threading.Thread(target=ledger.run, name="ledger", daemon=True)
    thread.start()
    try:
        yield ledger
    finally:
        ledger.stop()
        thread.join(30)


def offsite_in_s3(world: World, server: Server) -> None:
    """The far repository becomes a bucket."""
    bucket = f"akig-{world.cluster.port}"
    server.client().create_bucket(Bucket=bucket)
    config = Path(world.environment["PRA_CONFIG"])
    place = f'url = "file://{world.home}/far"'
    assert place in config.read_text()
    s3 = f'url = "s3://{bucket}/pra"\nendpoint = "{server.endpoint}"\naccess_key_id = "{KEY_ID}"'
    config.write_text(config.read_text().replace(place, s3))
    world.environment["PRA_REPOSITORIES__FAR__SECRET_ACCESS_KEY"] = SECRET


def away_for_a_while(world: World, name: str, streamer: Streamer, ledger: Ledger) -> None:
    """The repository is not there for three seconds of commits; then the streamer says it has caught up."""
    (world.home / name).rename(world.home / "away")
    written = len(ledger.committed)
    wait_until(lambda: f"repository {name} is not there" in streamer.said(), what="a loud error")
    time.sleep(3)
    assert len(ledger.committed) > written + 300, "the writer stood still while a repository was away"
    (world.home / "away").rename(world.home / name)
    caught_up = f"{name}: answers again, and has everything"
    wait_until(lambda: caught_up in streamer.said(), seconds=60, what=caught_up)


def disaster(world: World, streamer: Streamer, ledger: Ledger) -> datetime:
    """Everything dies at once, and all disks but the far repository's are gone."""
    server = world.cluster.process
    assert server is not None
    streamer.kill()
    os.killpg(server.pid, signal.SIGKILL)
    at = datetime.now(UTC)
    ledger.stop()
    server.wait(30)
    world.cluster.process = None
    shutil.rmtree(world.cluster.pgdata)
    shutil.rmtree(world.home / "state" / "wal")
    shutil.rmtree(world.home / "near")
    return at


def restore(world: World, place: Path, at: datetime) -> dict[str, Any]:
    arguments = ("--into", str(place), "--to", "latest", "--repository", "far", "--disaster-at", to_iso(at))
    said = pra(world, "restore", "db", *arguments, "--json", code=0, timeout=300)
    document: dict[str, Any] = json.loads(said.stdout)
    return document


ROUNDS = [
    # major, what is away for a part of the time, whether far is an S3 server
    pytest.param(18, "", False, id="1, all there"),
    *(
        pytest.param(*case, id=f"{number}, {case[0]}, {case[1] or 'all there'}", marks=pytest.mark.all)
        for number, case in enumerate(
            [
                (18, "near", False),
                (18, "far", False),
                (18, "", True),
                (17, "", False),
                (17, "far", False),
                (17, "near", True),
                (15, "", False),
                (15, "near", False),
                (15, "far", False),
            ],
            2,
        )
    ),
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("major", "away", "s3"), ROUNDS)
def test_what_is_reported_as_lost_is_what_was_lost(
    make_physical: MakePhysical, make_world: MakeWorld, streaming: StartStreamer, place: Path,
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None],
    major: int, away: str, s3: bool,
) -> None:  # fmt: skip
    world = world_of(make_physical(major), make_world)
    if s3:
        offsite_in_s3(world, request.getfixturevalue("rclone_server"))
    dice = random.SystemRandom()
    streamer = streaming(world)
    pra(world, "backup", "db", code=0)
    with writing(world.cluster) as ledger:
        if away:
            away_for_a_while(world, away, streamer, ledger)
            pra(world, "backup", "db", code=0)
        time.sleep(3 + dice.uniform(0, 6))
        rate = ledger.rate(2)
        at = disaster(world, streamer, ledger)
    report = restore(world, place / "restored", at)

    with Standing(world.cluster, place / "restored").started() as connection:
        row = connection.execute("SELECT count(*), max(id) FROM numbered").fetchone()
    assert row is not None
    count, newest = row
    assert count == newest, "a row is missing in the middle"
    lost = ledger.lost(newest, at)
    record_property("rpo", {"lost": lost, "reported": report["rpo_seconds"], "commits a second": rate})
    assert rate >= 300, f"the writer was too slow for this test: {rate:.0f} commits a second"
    assert lost <= MOST_LOST, f"{lost:.2f} s and {FIRST + len(ledger.committed) - newest - 1} rows were lost"
    assert abs(report["rpo_seconds"] - lost) <= AGREEMENT, (report["rpo_seconds"], lost)
    assert report["verdict"] == "PASS"
