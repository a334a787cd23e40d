"""A streamer in a process of its own, as it runs in earnest, to be killed as things are killed in earnest."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pra.keys import load_identities
from pra.postgres.wal import SEGMENT_BYTES, format_lsn, segment_start
from pra.storage import open_storage
from pra.storage.base import Storage
from pra.wal.archive import Archive, Gap, covered_until, gaps, load_histories, read_archive, systems
from pra.wal.reading import read_segment
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


def pra(world: World, *arguments: str, code: int, timeout: float = 100) -> subprocess.CompletedProcess[str]:
    """Run the command line around a world, and demand this exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "deployments.cli", *arguments],
        env=os.environ | world.environment,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == code, (
        f"pra {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    )
    return done


def small_server(major: int = 18, *, settings: str = "", segment_bytes: int = SMALL_SEGMENTS) -> Cluster:
    """A server whose segments are small, so that many of them pass in a test. Not started."""
    summaries = SUMMARIES if major >= 17 else ""
    initdb = () if segment_bytes == SEGMENT_BYTES else (f"--wal-segsize={segment_bytes >> 20}",)
    extra = "min_wal_size = 5MB\nmax_wal_size = 40MB\n" if initdb else ""
    return Cluster(bindir_of(major), settings=SETTINGS + summaries + extra + settings, initdb=initdb)


def open_repository(world: World, name: str) -> Storage:
    return open_storage(
        next(r for r in world.settings.repositories_of(world.settings.target(None)) if r.name == name)
    )


def archive_in(world: World, repository: str) -> Archive:
    """The WAL of the world's server in one repository; empty when there is none."""
    storage = open_repository(world, repository)
    found = systems(storage, "db")
    return read_archive(storage, "db", found[0]) if found else Archive(repository, "db", "0")


def reached(world: World, repository: str, timeline: int = 1, size: int = SMALL_SEGMENTS) -> int:
    """How far the WAL there leads, from its first segment on, to this timeline."""
    archive = archive_in(world, repository)
    if not archive.segments and not archive.partials:
        return 0
    histories = load_histories(open_repository(world, repository), archive)
    if timeline > 1 and timeline not in histories:
        return 0
    first = min(segment_start(name, size) for name in (*archive.segments, *archive.partials))
    return covered_until(archive, timeline, first, size, histories)


def holes(world: World, repository: str, size: int = SMALL_SEGMENTS) -> tuple[Gap, ...]:
    archive = archive_in(world, repository)
    return gaps(archive, load_histories(open_repository(world, repository), archive), size)


def read_through(world: World, repository: str, folder: Path, timeline: int = 1) -> int:
    """Decrypt everything there and have pg_waldump read it; how many commits it saw on this timeline.

    pg_waldump stops at a record that is not sound, or that does not follow the one before it.
    """
    archive, storage = archive_in(world, repository), open_repository(world, repository)
    identities = load_identities(world.settings.encryption, world.settings.state_dir)
    folder.mkdir(exist_ok=True)
    entries = [found[0] for found in archive.segments.values()]
    entries += list(archive.partials.values())  # type: ignore[arg-type]
    own = sorted((one for one in entries if int(one.name[:8], 16) == timeline), key=lambda one: one.name)
    for entry in own:
        (folder / entry.name).write_bytes(
            read_segment(storage, entry, identities).ljust(SMALL_SEGMENTS, b"\0")
        )
    start = format_lsn(segment_start(own[0].name, SMALL_SEGMENTS))
    arguments = ("--rmgr=Transaction", f"--timeline={timeline}", f"--start={start}", f"--path={folder}")
    # It ends with an error in any case: after the last record there is none.
    said = world.cluster.run("pg_waldump", *arguments, check=False).stdout
    return sum(1 for line in said.splitlines() if "desc: COMMIT" in line)


def promote(server: Cluster) -> None:
    """Stop, come back as a standby, be promoted: a new timeline on the same data."""
    server.stop()
    signal_file = server.pgdata / "standby.signal"
    signal_file.touch()
    if server.account:
        shutil.chown(signal_file, server.account)
    server.start()
    server.execute("postgres", "SELECT pg_promote(true, 60)")
