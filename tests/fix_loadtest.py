"""AKIG's database, large enough for a lost index to be felt, protected by dumps; and load tests of it."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from deployments.demo.akig import create
from pra.loadtest.record import LoadTestRecord
from pra.loadtest.state import Order
from pra.model import CheckResult
from pra.postgres.sandbox import sandbox_root
from pra.procedures import loadtest
from pra.settings import load_settings
from tests.fix_cluster import Cluster
from tests.fix_world import MakeWorld, World
from tests.scratch import SCRATCH

MEGABYTES = 50
CRITICAL = 'critical_tables = ["users", "properties", "contracts", "payments", "invoices"]'


@pytest.fixture(scope="module")
def load_world(pg18: Cluster, world_maker: MakeWorld) -> Iterator[World]:
    """AKIG's database, and one backup of it."""
    name = pg18.createdb("akig_load")
    with pg18.connect(name) as connection:
        create(connection, megabytes=MEGABYTES)
    # Of its own: sandboxes of other test processes are nobody's business here.
    root = SCRATCH / f"pra-l-{os.getpid()}-{secrets.token_hex(3)}"
    root.mkdir(mode=0o711)
    try:
        world = with_lines(world_maker(pg18, name, sandboxes=root), CRITICAL)
        world.backup()
        yield world
    finally:
        pg18.dropdb(name)
        shutil.rmtree(root, ignore_errors=True)


def with_lines(world: World, *lines: str) -> World:
    """The same world with more lines in its target's section."""
    config = Path(world.environment["PRA_CONFIG"])
    text = config.read_text().replace('lock_wait = "2s"', "\n".join(('lock_wait = "2s"', *lines)))
    config.write_text(text)
    settings = load_settings(config, {**os.environ, **world.environment})
    return World(world.cluster, world.database, world.home, settings, world.environment)


def load_test(world: World, *, target: Mapping[str, Any] | None = None, **order: Any) -> LoadTestRecord:
    """One short load test in this process, as ``pra loadtest`` runs it; ``target`` changes settings."""
    chosen: dict[str, Any] = {"rounds": 1, "clients": 8, "seconds": 1} | order
    with world.context(target=target or {}) as context:
        return loadtest.run(context, Order(**chosen)).record


def check_of(record: LoadTestRecord, name: str) -> CheckResult:
    return next(check for check in record.checks if check.name == name)


def left_behind(world: World) -> list[Path]:
    """What load tests have left: folders of theirs, of their sandboxes and of their restores."""
    root = sandbox_root(world.settings.sandbox.dir, world.settings.state_dir)
    return sorted([*root.iterdir(), *(world.settings.state_dir / "work").iterdir()])


__all__ = ["check_of", "left_behind", "load_test", "load_world", "with_lines"]
