"""A world worth drilling: a small property manager's database, protected by the physical engine."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from checks import Checks
from pra.drill.record import DrillRecord
from pra.drill.scenarios import Intensity, Sabotage, scenario
from pra.drill.state import Approve, Order
from pra.drill.writer import read_journal
from pra.model import CheckResult, Status
from pra.procedures import drill
from pra.settings import load_settings
from tests.fix_cluster import Cluster
from tests.fix_physical import PHYSICAL, SETTINGS, SUMMARIES, bindir_of
from tests.fix_world import MakeWorld, World
from tests.scratch import SCRATCH

SCHEMA = """
CREATE TABLE contracts (id bigint PRIMARY KEY, tenant text NOT NULL, rent numeric NOT NULL);
CREATE TABLE payments (
    id bigint PRIMARY KEY, contract bigint NOT NULL REFERENCES contracts, amount numeric NOT NULL,
    paid_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO contracts SELECT n, 'tenant ' || n, 400 + n % 900 FROM generate_series(1, 3000) n;
INSERT INTO payments (id, contract, amount)
SELECT n, 1 + n % 3000, 400 + n % 900 FROM generate_series(1, 30000) n;
CREATE ROLE clerk LOGIN PASSWORD 'only-for-tests';
GRANT SELECT ON contracts, payments TO clerk;
"""


@pytest.fixture(scope="module")
def drill_world(world_maker: MakeWorld) -> Iterator[World]:
    """The origin of every drill of a module: one backup, taken once, and its server is gone before any drill.

    A drill that asked production for anything would fail.
    """
    server = Cluster(bindir_of(18), settings=SETTINGS + SUMMARIES)
    # Of its own: drills of other test processes are nobody's business here.
    root = SCRATCH / f"pra-d-{os.getpid()}-{secrets.token_hex(3)}"
    root.mkdir(mode=0o711)
    try:
        server.start()
        server.createdb("app")
        server.execute("app", *[line for line in SCHEMA.split(";\n") if line.strip()])
        extra = PHYSICAL + 'slot = "pra_origin"\n'
        world = world_maker(server, "app", engine="physical", extra=extra, sandboxes=root)
        config = Path(world.environment["PRA_CONFIG"])
        text = config.read_text().replace(
            'lock_wait = "2s"', 'lock_wait = "2s"\ncritical_tables = ["contracts", "payments"]'
        )
        config.write_text(text)
        world = reload(world, config)
        world.backup(full=True)
        server.stop()
        yield world
    finally:
        server.remove()
        shutil.rmtree(root, ignore_errors=True)


def reload(world: World, config: Path) -> World:
    settings = load_settings(config, {**os.environ, **world.environment})
    return World(world.cluster, world.database, world.home, settings, world.environment)


def rehearse(
    world: World,
    name: str,
    *,
    intensity: Intensity = "heavy",
    sabotage: Sabotage | None = None,
    ask: Approve = drill.automatically,
) -> DrillRecord:
    """One drill in this process, as ``pra drill`` runs it."""
    with world.context() as context:
        order = Order(scenario(name), intensity, sabotage=sabotage)
        return drill.run(context, Checks(), order, ask).record


def check_of(record: DrillRecord, name: str) -> CheckResult:
    return next(check for check in record.checks if check.name == name)


def bad(record: DrillRecord) -> dict[str, str]:
    """What did not pass, with its words."""
    wrong = (Status.FAILED, Status.SKIPPED)
    return {c.name: f"{c.observed} {c.reason}".strip() for c in record.checks if c.status in wrong}


def keys_of(world: World) -> dict[str, str]:
    """Every file of the real repositories with its digest; evidence and leases apart."""
    found = {}
    for name in ("near", "far"):
        root = world.home / name
        for path in sorted(root.rglob("*")):
            relative = path.relative_to(root)
            if path.is_file() and not {"evidence", "leases"} & set(relative.parts):
                found[f"{name}/{relative}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def rehearsals(world: World) -> set[Path]:
    """The folders of this world's drills that are there."""
    root = world.settings.sandbox.dir
    assert root is not None
    return set(root.glob("drill-*"))


@dataclass
class Observer:
    """Somebody outside: polls the rehearsed service and reads the writer's journal, on a thread of its own.

    It knows nothing of the drill but what ``rehearsal.json`` says.
    """

    world: World
    answers: list[tuple[datetime, bool]] = field(default_factory=list)
    journal: bytes = b""

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Observer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _watch(self) -> None:
        told = self._find()
        if told is None:
            return
        with httpx.Client(base_url=told["url"], timeout=3, trust_env=False) as client:
            while not self._stop.is_set():
                self.answers.append((datetime.now(UTC), self._well(client, told["endpoints"])))
                journal = Path(told["journal"])
                if journal.exists():
                    self.journal = journal.read_bytes() or self.journal
                self._stop.wait(0.05)

    def _find(self) -> dict[str, str] | None:
        while not self._stop.wait(0.05):
            for folder in rehearsals(self.world):
                file = folder / "rehearsal.json"
                if file.exists():
                    found: dict[str, str] = json.loads(file.read_text())
                    return found
        return None

    @staticmethod
    def _well(client: httpx.Client, endpoints: str) -> bool:
        try:
            return all(client.get(path).is_success for path in ("/api/health", *endpoints))
        except httpx.HTTPError:
            return False

    def outage(self) -> tuple[datetime, datetime]:
        """The longest time without a good answer: the last one before it, and the first one after it.

        At the end the whole rehearsal goes, and nothing answers any more: that is none.
        """
        well = [at for at, good in self.answers if good]
        return max(pairwise(well), key=lambda gap: gap[1] - gap[0])

    def committed(self, folder: Path) -> list[tuple[int, datetime]]:
        copy = folder / "journal"
        copy.write_bytes(self.journal)
        return [(commit.n, commit.at) for commit in read_journal(copy)]


def wait_for(path: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path.name}"
        time.sleep(0.05)


__all__ = ["Observer", "bad", "check_of", "drill_world", "keys_of", "rehearsals", "rehearse"]
