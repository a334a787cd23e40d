"""AKIG's database, large enough for a lost index to be felt, protected by dumps; and load tests of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.demo.akig import create
from pra.loadtest.record import LoadTestRecord
from pra.loadtest.state import Order
from pra.model import CheckResult
from pra.procedures import loadtest
from pra.settings import load_settings
from tests.fix_cluster import Cluster
from tests.fix_world import MakeWorld, World

MEGABYTES = 80
CRITICAL = 'critical_tables = ["users", "properties", "contracts", "payments", "invoices"]'


@pytest.fixture(scope="module")
def load_world(pg18: Cluster, world_maker: MakeWorld) -> Iterator[World]:
    """AKIG's database, and one backup of it."""
    name = pg18.createdb("akig_load")
    with pg18.connect(name) as connection:
        create(connection, megabytes=MEGABYTES)
    world = with_lines(world_maker(pg18, name), CRITICAL)
    world.backup()
    yield world
    pg18.dropdb(name)


def with_lines(world: World, *lines: str) -> World:
    """The same world with more lines in its target's section."""
    config = Path(world.environment["PRA_CONFIG"])
    text = config.read_text().replace('lock_wait = "2s"', "\n".join(('lock_wait = "2s"', *lines)))
    config.write_text(text)
    settings = load_settings(config, {**os.environ, **world.environment})
    return World(world.cluster, world.database, world.home, settings, world.environment)


def load_test(world: World, **order: Any) -> LoadTestRecord:
    """One short load test in this process, as ``pra loadtest`` runs it."""
    chosen: dict[str, Any] = {"rounds": 1, "clients": 4, "seconds": 2} | order
    with world.context() as context:
        return loadtest.run(context, Order(**chosen)).record


def check_of(record: LoadTestRecord, name: str) -> CheckResult:
    return next(check for check in record.checks if check.name == name)


def left_behind() -> list[Path]:
    """Folders of load tests and sandboxes that are there."""
    root = Path("/var/tmp/pra-sandboxes")
    return sorted([*root.glob("load-*"), *root.glob("sb-*")]) if root.exists() else []


__all__ = ["check_of", "left_behind", "load_test", "load_world", "with_lines"]
