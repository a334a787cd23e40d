"""A streamer in a process of its own, as it runs in earnest, to be killed as things are killed in earnest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pra.postgres.wal import SEGMENT_BYTES
from tests.fix_cluster import Cluster
from tests.fix_physical import SETTINGS, SUMMARIES, bindir_of
from tests.fix_world import World

SMALL_SEGMENTS = 1 << 20


class Streamer:
    """``pra wal stream`` around a world. ``state`` may be another state directory than the world's."""

    def __init__(self, world: World, *, state: Path | None = None, arguments: tuple[str, ...] = ()) -> None:
        self.world = world
        self.log = world.home / f"streamer-{time.monotonic_ns()}.log"
        environment = os.environ | world.environment
        if state is not None:
            environment |= {"PRA_STATE_DIR": str(state)}
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deployments.cli", "wal", "stream", *arguments],
                env=environment,
                cwd=Path(__file__).parents[1],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """As the kernel does it: no time for anything."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self, timeout: float = 60) -> int:
        """As a service manager does it."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def ended(self, timeout: float = 60) -> int:
        return self.process.wait(timeout)


StartStreamer = Callable[..., Streamer]


@pytest.fixture
def streaming() -> Iterator[StartStreamer]:
    """Start streamers; all are gone at the end."""
    started: list[Streamer] = []

    def start(world: World, **options: object) -> Streamer:
        started.append(Streamer(world, **options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for streamer in started:
        if streamer.process.poll() is None:
            streamer.kill()


def wait_until(condition: Callable[[], object], *, seconds: float = 30, what: str = "") -> None:
    """Poll a condition; fail with ``what`` when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def small_server(major: int = 18, *, settings: str = "", segment_bytes: int = SMALL_SEGMENTS) -> Cluster:
    """A server whose segments are small, so that many of them pass in a test. Not started."""
    summaries = SUMMARIES if major >= 17 else ""
    initdb = () if segment_bytes == SEGMENT_BYTES else (f"--wal-segsize={segment_bytes >> 20}",)
    extra = "min_wal_size = 5MB\nmax_wal_size = 40MB\n" if initdb else ""
    return Cluster(bindir_of(major), settings=SETTINGS + summaries + extra + settings, initdb=initdb)
