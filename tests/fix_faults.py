"""What tests about crashes and failures share: a tiny world, its ageing, what holds after each fault."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pra.layout import evidence_prefix, manifest_key, object_key
from pra.manifest import sign
from pra.model import new_backup_id
from pra.procedures import expiry
from pra.settings import load_settings
from pra.storage.base import Storage
from pra.storage.pipe import verify_stored
from pra.timing import from_iso, to_iso
from tests.fix_cluster import Cluster
from tests.fix_world import MakeWorld, World

TARGET = "db"
_TOOLS = ("pg_dump", "pg_dumpall", "pg_basebackup")
_ONE_HOUR = "hourly = 1\ndaily = 0\nweekly = 0\nmonthly = 0"


@pytest.fixture
def tiny(pg18: Cluster, make_world: MakeWorld) -> Iterator[World]:
    """An almost empty database, backed up in half a second."""
    name = pg18.createdb()
    pg18.execute(
        name, "CREATE TABLE t (a int PRIMARY KEY, b text)", "INSERT INTO t VALUES (1, 'x'), (2, 'y')"
    )
    yield make_world(pg18, name)
    pg18.dropdb(name)


def keep_one_hour(world: World) -> None:
    """Let retention keep the newest hour that holds a backup, and nothing else."""
    config = world.home / "pra.toml"
    config.write_text(config.read_text().replace("hourly = 24", _ONE_HOUR))
    world.settings = load_settings(config, {**os.environ, **world.environment})


def storage(world: World, repository: str) -> Storage:
    with world.context() as context:
        return context.storage(repository)


def committed(world: World, repository: str) -> set[str]:
    with world.context() as context:
        return context.catalog(repository).committed()


def keys(world: World, repository: str) -> list[str]:
    """Every file of the repository, temporary ones too; incidents, which outlive a backup, apart."""
    root = world.home / repository
    files = (p.relative_to(root) for p in root.rglob("*") if p.is_file() and p.name != ".lock")
    return sorted(path.as_posix() for path in files if path.parts[0] != "_status")


def demand_whole(world: World) -> None:
    """Every manifest there is can be believed, and all its objects are what it says."""
    with world.context() as context:
        for name in context.repositories:
            for entry in context.catalog(name).backups():
                assert entry.manifest is not None, f"{name}: {entry.backup_id}: {entry.error}"
                for stored in entry.manifest.objects:
                    key = object_key(TARGET, entry.backup_id, stored.name)
                    with context.storage(name).open(key) as source:
                        verify_stored(source, stored)


def demand_nothing_but_backups(world: World, repository: str) -> None:
    """Each key belongs to a committed backup or is evidence: no orphan, lease or temporary file."""
    owned = {f"{TARGET}/backups/{backup_id}/" for backup_id in committed(world, repository)}
    left = [
        key
        for key in keys(world, repository)
        if not key.startswith((*owned, evidence_prefix(TARGET))) or "/.tmp-" in key
    ]
    assert left == []


def demand_clean_state(world: World) -> None:
    """Nothing below the state directory but keys, logs, and what was told to the people on call."""
    state = world.home / "state"
    kept = {state / "keys", state / "logs", state / "status"}
    assert [p for p in state.rglob("*") if p.is_file() and not kept & set(p.parents)] == []


def demand_quiet_server(world: World, seconds: float = 10) -> None:
    """No session of a backup is left on the server, and no dump tool that reads it lives."""
    deadline = time.monotonic() + seconds
    while sessions(world) or dump_tools(world):
        assert time.monotonic() < deadline, f"left: {sessions(world)} {dump_tools(world)}"
        time.sleep(0.02)


def sessions(world: World) -> list[str]:
    rows = world.cluster.query(
        "postgres",
        "SELECT application_name || ': ' || left(query, 60) FROM pg_stat_activity "
        f"WHERE datname = '{world.database}' AND backend_type = 'client backend'",
    )
    return [text for (text,) in rows]


def dump_tools(world: World) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace")
            stat = (folder / "stat").read_text()
        except OSError:
            continue  # it has just ended
        dead = stat.rpartition(")")[2].split()[0] in "ZX"
        if not dead and words.split("\0")[0].endswith(_TOOLS) and world.database in words:
            found.append(int(folder.name))
    return found


def make_old_backup(world: World, days: int) -> str:
    """Take a backup, and let it have been taken days ago: in its id, in its manifest, signed anew."""
    taken = world.backup().backup_id
    with world.context() as context:
        for name, store in context.repositories.items():
            manifest = context.catalog(name).load(taken)
            shift = timedelta(days=days)
            old = new_backup_id(manifest.taken_at - shift, "full")[:-4] + taken[-4:]
            moved = manifest.model_copy(
                update={
                    "backup_id": old,
                    "taken_at": manifest.taken_at - shift,
                    "started_at": manifest.started_at - shift,
                    "read_finished_at": manifest.read_finished_at - shift,
                    "finished_at": manifest.finished_at - shift,
                }
            )
            folder = world.folder(name) / "backups"
            (folder / taken).rename(folder / old)
            (folder / old / "manifest.json").unlink()
            store.create(manifest_key(TARGET, old), sign(moved, context.signer))
    return old


def age(world: World, hours: float) -> None:
    """Let everything in the repositories have been written hours ago, what leases say included."""
    moment = (datetime.now(UTC) - timedelta(hours=hours)).timestamp()
    for name in ("near", "far"):
        for path in (world.home / name).rglob("*"):
            if path.parent.name == "leases" and path.is_file() and not path.name.startswith("."):
                document = json.loads(path.read_bytes())
                for field_name in ("renewed_at", "expires_at"):
                    earlier = from_iso(document[field_name]) - timedelta(hours=hours)
                    document[field_name] = to_iso(earlier)
                path.write_text(json.dumps(document, sort_keys=True, separators=(",", ":")))
            os.utime(path, (moment, moment))


def collect_garbage(world: World) -> None:
    with world.context() as context:
        for name in context.repositories:
            report = expiry.gc(context, name)
            assert report.failed == ()


@dataclass
class Snapshot:
    """The repositories as they were, to begin each round from."""

    world: World
    folder: Path

    def save(self) -> None:
        for name in ("near", "far"):
            shutil.copytree(self.world.home / name, self.folder / name)

    def restore(self) -> None:
        for name in ("near", "far"):
            shutil.rmtree(self.world.home / name)
            shutil.copytree(self.folder / name, self.world.home / name)


@dataclass(frozen=True)
class Died:
    """How a backup ended. ``step`` is None when it had fewer steps than asked for."""

    step: str | None
    pid: int
    ended: int | None


@dataclass
class Nursery:
    """Starts backups that send themselves a signal; see `tests.crash_child`."""

    world: World
    process: subprocess.Popen[str] = field(repr=False)

    def backup(self, kinds: tuple[str, ...], at: int, signum: int) -> Died:
        return Died(
            **self._ask(
                {
                    "config": str(self.world.home / "pra.toml"),
                    "state": str(self.world.home / "state"),
                    "kinds": kinds,
                    "at": at,
                    "signal": signum,
                }
            )
        )

    def resume(self, pid: int) -> int:
        return int(self._ask({"resume": pid})["ended"])

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert isinstance(answer, dict)
        return answer


@contextmanager
def nursery(world: World) -> Iterator[Nursery]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash_child"],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Nursery(world, process)
    finally:
        process.kill()
        process.communicate()
