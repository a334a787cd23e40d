"""A small database of everything, backed up twice, and one restored sandbox to clone and damage."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from psycopg import sql

from checks import Checks
from pra.keys import load_identities
from pra.postgres.connect import Server
from pra.procedures import verify
from pra.procedures.judging import VerifyReport, conclude
from pra.procedures.session import (
    Learned,
    Session,
    check_all,
    choose,
    fetch,
    learning,
    open_session,
    read_manifest,
)
from pra.restored import RestoredDatabase
from tests.fix_cluster import DATA, Cluster
from tests.fix_world import MakeWorld, World

RULES = DATA / "mutable_rules.yaml"
CLONE = "mutant"


@dataclass
class Vault:
    """Two backups of one database in one repository, and the way back to how they were."""

    world: World
    first: str
    second: str
    intact: Path

    @property
    def folder(self) -> Path:
        return self.world.folder("near") / "backups"

    def object(self, which: str, backup_id: str | None = None) -> Path:
        """The stored object whose name begins with ``which``: dump, globals or fingerprint."""
        found = [p for p in self.world.objects("near", backup_id or self.second) if p.name.startswith(which)]
        return found[0]

    def manifest(self, backup_id: str | None = None) -> Path:
        return self.folder / (backup_id or self.second) / "manifest.json"

    @contextmanager
    def damaged(self) -> Iterator[Vault]:
        """Whatever is done to the repository in here is undone afterwards."""
        try:
            yield self
        finally:
            shutil.rmtree(self.folder)
            shutil.copytree(self.intact, self.folder)

    def fetched(self, backup_id: str | None = None) -> VerifyReport:
        """The procedure's own steps as far as stored bytes matter: everything but the sandbox."""
        with self.world.context() as context:
            choice = choose(context, backup_id or self.second, "near")
            with open_session(context, choice) as this:
                this.identities = load_identities(context.settings.encryption, context.state_dir)
                try:
                    with learning(this, "manifest"):
                        read_manifest(this)
                    with learning(this, "fetch"):
                        fetch(this)
                except Learned:
                    pass
                return conclude(this, [])


class Quick(Checks):
    """All but the slowest check, for damage that it cannot see."""

    def names(self, database: RestoredDatabase) -> Sequence[str]:
        return [name for name in super().names(database) if name != "amcheck"]


@dataclass
class Sandboxed:
    """A restored database that is never touched, and clones of it that are."""

    session: Session
    intact: RestoredDatabase

    def execute(self, database: str, *statements: str) -> None:
        with self.intact.server.with_database(database).connect() as connection:
            for statement in statements:
                connection.execute(statement.replace("@db", f'"{database}"').encode())

    @contextmanager
    def clone(self) -> Iterator[Server]:
        """A copy of the restored database with what a template does not hand down: its settings."""
        name, template = sql.Identifier(CLONE), sql.Identifier(self.intact.server.database)
        maintenance = self.intact.server.with_database("template1")
        with maintenance.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, template))
            connection.execute(sql.SQL("ALTER DATABASE {} SET work_mem = '5MB'").format(name))
        try:
            yield self.intact.server.with_database(CLONE)
        finally:
            with maintenance.connect() as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))

    def corrupt_page(self, server: Server, relation: str) -> None:
        """Overwrite bytes in the middle of a page, below the server, which is stopped meanwhile."""
        box = self.session.sandbox
        assert box is not None
        with server.connect() as connection:
            row = connection.execute("SELECT pg_relation_filepath(%s::regclass)", (relation,)).fetchone()
        assert row is not None
        box.stop()
        with (box.data / row[0]).open("r+b") as file:
            file.seek(8192 + 4000)
            file.write(b"\xa5" * 64)
        box.start()

    def prove(self, server: Server, checks: Checks | None = None, **asked: object) -> VerifyReport:
        """Every check, and the procedure's own conclusion with its evidence.

        Args:
            asked: What the target's settings ask beyond the default, for example ``suites``.
        """
        checks = checks or Checks()
        target = self.intact.target.model_copy(update=asked)
        self.session.database = database = replace(self.intact, server=server, target=target)
        results = [*checks.ruled_out(database), *check_all(self.session, checks)]
        return conclude(self.session, results, required=checks.required(database))


def make_vault(cluster: Cluster, make_world: MakeWorld) -> Vault:
    if not cluster.query("postgres", "SELECT FROM pg_database WHERE datname = 'mutable'"):
        cluster.createdb("mutable")
        cluster.psql(DATA / "mutable.sql", "mutable")
    world = make_world(cluster, "mutable")
    first = world.backup().backup_id
    second = world.backup().backup_id
    first, second = sorted((first, second))
    intact = world.home / "intact"
    shutil.copytree(world.folder("near") / "backups", intact)
    return Vault(world, first, second, intact)


def sandboxed(vault: Vault) -> Iterator[Sandboxed]:
    with vault.world.context() as context:
        choice = choose(context, vault.second, "near")
        with open_session(context, choice) as this:
            for step in (verify.preflight, fetch, verify.restore):
                step(this)
            assert this.database is not None
            yield Sandboxed(this, this.database)


@pytest.fixture(scope="module")
def vault(pg18: Cluster, world_maker: MakeWorld) -> Vault:
    return make_vault(pg18, world_maker)


@pytest.fixture(scope="module")
def sandboxed18(vault: Vault) -> Iterator[Sandboxed]:
    yield from sandboxed(vault)


@pytest.fixture(scope="module")
def sandboxed15(pg15: Cluster, world_maker: MakeWorld) -> Iterator[Sandboxed]:
    yield from sandboxed(make_vault(pg15, world_maker))
