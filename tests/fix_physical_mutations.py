"""A small server backed up in full and incrementally, its WAL archived, and ways to damage all of that."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from checks import Checks
from pra.procedures import physical_verify
from pra.procedures.judging import VerifyReport
from pra.procedures.session import Session
from pra.restored import RestoredDatabase
from tests.fix_archive import archive_wal, tablespace_folder
from tests.fix_cluster import Cluster
from tests.fix_physical import SETTINGS, SUMMARIES, bindir_of, world_of
from tests.fix_world import MakeWorld, World

DamageDirectory = Callable[[Path, "Files"], None]


@dataclass(frozen=True)
class Files:
    """Where things lie below the data directory: relations by name, databases by name."""

    relations: dict[str, str]


@dataclass
class PhysicalVault:
    """Backups of one server in a repository, with the WAL behind them, and the way back to how they were."""

    world: World
    full: str
    incremental: str
    wal: tuple[str, ...]
    files: Files
    intact: Path

    @property
    def folder(self) -> Path:
        return self.world.folder("near")

    def object(self, which: str, backup_id: str | None = None) -> Path:
        """The first stored object whose name begins with ``which``."""
        found = self.world.objects("near", backup_id or self.incremental)
        return next(path for path in found if path.name.startswith(which))

    def manifest(self, backup_id: str | None = None) -> Path:
        return self.folder / "backups" / (backup_id or self.incremental) / "manifest.json"

    def segment(self, name: str) -> Path:
        return next((self.folder / "wal").rglob(f"{name}-*"))

    @contextmanager
    def damaged(self) -> Iterator[PhysicalVault]:
        """Whatever is done to backups and WAL in here is undone afterwards."""
        try:
            yield self
        finally:
            for part in ("backups", "wal"):
                shutil.rmtree(self.folder / part)
                shutil.copytree(self.intact / part, self.folder / part)

    def verify(self, monkeypatch: pytest.MonkeyPatch, damage: DamageDirectory) -> VerifyReport:
        """The whole procedure, with damage done to the assembled directory before anything is recovered."""
        fetch = physical_verify.fetch

        def damaging(this: Session) -> None:
            fetch(this)
            assert this.recovery is not None
            damage(this.recovery.data, self.files)

        monkeypatch.setattr(physical_verify, "fetch", damaging)
        return self.world.verify("near", self.incremental)


class Quick(Checks):
    """All but the slowest checks, for damage that they cannot see."""

    def names(self, database: RestoredDatabase) -> Sequence[str]:
        return [name for name in super().names(database) if name != "amcheck"]


def make_vault(cluster: Cluster, make_world: MakeWorld) -> PhysicalVault:
    """Full, changes, incremental, changes; every segment archived; a tablespace and a second database."""
    world = world_of(cluster, make_world)
    place = tablespace_folder(world, "aside")
    cluster.createdb("other")
    cluster.execute("other", "CREATE TABLE elsewhere AS SELECT generate_series(1, 500) AS id")
    cluster.execute("postgres", f"CREATE TABLESPACE aside LOCATION '{place}'")
    world.execute(
        "CREATE TABLE victims (id int PRIMARY KEY, name text)",
        "INSERT INTO victims SELECT n, 'victim number ' || n FROM generate_series(1, 2000) n",
        "CREATE TABLE apart (id int PRIMARY KEY, name text) TABLESPACE aside",
        "INSERT INTO apart SELECT n, 'apart ' || n FROM generate_series(1, 100) n",
        "CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM victims",
        "CREATE UNLOGGED TABLE fleeting (id serial, n int)",
        "INSERT INTO fleeting (n) SELECT generate_series(1, 50)",
        "SELECT lo_from_bytea(70001, 'large')",
        "CREATE TABLE steps (id serial PRIMARY KEY)",
        "INSERT INTO steps SELECT FROM generate_series(1, 40)",
    )
    full = world.backup().backup_id
    grow(world, 2001)
    incremental = world.backup().backup_id
    for start in (3001, 4001, 5001):
        grow(world, start)
        archive_wal(world)
    near = world.folder("near")
    intact = world.home / "intact"
    for part in ("backups", "wal"):
        shutil.copytree(near / part, intact / part)
    names = sorted(p.name.split("-")[0] for p in (near / "wal").rglob("*-*.zst*"))
    return PhysicalVault(world, full, incremental, tuple(names), files_of(world), intact)


def grow(world: World, start: int) -> None:
    world.execute(
        f"INSERT INTO numbered (id, note) SELECT n, 'later' FROM generate_series({start}, {start + 999}) n"
    )


def files_of(world: World) -> Files:
    paths = {}
    for database, names in (
        ("app", ("victims", "victims_pkey", "numbered", "pg_class", "apart")),
        ("other", ("elsewhere",)),
    ):
        for name in names:
            [(path,)] = world.cluster.query(database, f"SELECT pg_relation_filepath('{name}')")
            paths[name] = path
    return Files(paths)


@pytest.fixture(scope="module")
def physical_vault(world_maker: MakeWorld) -> Iterator[PhysicalVault]:
    server = Cluster(bindir_of(18), settings=SETTINGS + SUMMARIES)
    try:
        server.start()
        yield make_vault(server, world_maker)
    finally:
        server.remove()
