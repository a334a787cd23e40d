"""Chains of incremental backups over everything that happens to files: each restores to what was saved."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pra.engines.assemble import Assembled, assemble
from pra.engines.recovery import LATEST, RecoveryPlan, plan
from pra.keys import load_identities
from pra.postgres import fingerprint as fp
from pra.postgres.recovering_server import RecoveringServer, open_recovery
from pra.postgres.sandbox import sandbox_account, sandbox_root
from pra.postgres.tools import Tools
from pra.wal.ahead import WalAhead
from pra.wal.archive import load_histories, read_archive
from tests.fix_cluster import Cluster
from tests.fix_physical import world_of
from tests.fix_recovery import a_cluster, a_place
from tests.fix_world import MakeWorld, World
from tests.scratch import SANDBOXES

STEPS: Sequence[tuple[str, Sequence[str]]] = (
    (
        "created",
        (
            "CREATE TABLE created AS SELECT n, md5(n::text) AS t FROM generate_series(1, 5000) n",
            "CREATE TABLE shrinks AS SELECT n, repeat('y', 200) AS t FROM generate_series(1, 5000) n",
            "CREATE TABLE dropped AS SELECT n FROM generate_series(1, 5000) n",
        ),
    ),
    (
        "grown, updated, truncated",
        (
            "INSERT INTO numbered SELECT n, now(), 'more' FROM generate_series(1001, 9000) n",
            "UPDATE created SET t = 'changed' WHERE n % 500 = 0",
            "TRUNCATE dropped",
            "INSERT INTO dropped VALUES (1)",
        ),
    ),
    (
        "dropped, shrunk, indexed",
        (
            "DROP TABLE dropped",
            "DELETE FROM shrinks WHERE n > 100",
            "VACUUM (TRUNCATE) shrinks",
            "CREATE INDEX ON created (t)",
        ),
    ),
    (
        "rewritten",
        (
            "VACUUM FULL numbered",
            "ALTER TABLE created ALTER n TYPE bigint",
            "CREATE TABLE dropped (again text)",
            "INSERT INTO dropped VALUES ('again')",
        ),
    ),
    (
        "a tablespace and a database",
        (
            "CREATE TABLESPACE other LOCATION '{directory}/ts-other'",
            "CREATE TABLE elsewhere TABLESPACE other AS SELECT n FROM generate_series(1, 3000) n",
            "CREATE DATABASE second",
        ),
    ),
    (
        "moved, and changed there",
        (
            "UPDATE elsewhere SET n = -n WHERE n % 700 = 0",
            "ALTER TABLE shrinks SET TABLESPACE other",
            "DROP DATABASE second",
            "INSERT INTO numbered SELECT n, now(), 'last' FROM generate_series(9001, 9100) n",
        ),
    ),
)


@dataclass(frozen=True)
class Chain:
    """A world, and its backups: a full one, then one upon it after each step."""

    world: World
    backups: tuple[str, ...]

    def plan(self, number: int, repository: str = "near") -> RecoveryPlan:
        with self.world.context() as context:
            entries = context.catalog(repository).backups()
            storage = context.storage(repository)
        manifests = [entry.manifest for entry in entries if entry.manifest is not None]
        archive = read_archive(storage, "db", manifests[0].server.system_identifier)
        histories = load_histories(storage, archive)
        chosen = self.backups[number]
        return plan(manifests, archive, histories, LATEST, repository=repository, backup_id=chosen)


@contextmanager
def recovered(world: World, made: RecoveryPlan, place: Path) -> Iterator[tuple[Assembled, RecoveringServer]]:
    """Assemble the plan's chain in ``place`` and recover it to the end of its WAL."""
    account = sandbox_account(None)
    cluster = world.cluster
    tools = Tools(cluster.bindir, cluster.major, str(cluster.major))
    work = place / "work"
    work.mkdir(mode=0o700)
    with world.context() as context:
        identities = load_identities(context.settings.encryption, context.state_dir)
        storage = context.storage(made.repository)
        assembled = assemble(
            storage, "db", made, place / "data", work, scope=context.scope, tools=tools,
            identities=identities, account=account,
        )  # fmt: skip
        ahead = WalAhead(
            storage, "db", read_archive(storage, "db", made.system_id), made.wal, place / "wal",
            scope=context.scope, identities=identities, segment_bytes=made.segment_bytes, exact=made.exact,
            account=account,
        )  # fmt: skip
        root = sandbox_root(SANDBOXES, Path("/tmp"))
        opened = open_recovery(
            context.scope, tools, assembled.data, root=root, account=account, role="postgres", ahead=ahead
        )
        with ahead, opened as server:
            server.start(LATEST, made.timeline)
            yield assembled, server


@contextmanager
def a_chain(major: int, maker: MakeWorld) -> Iterator[Chain]:
    """A backup, and one more after every step."""
    with a_cluster(major) as server:
        place = server.directory / "ts-other"
        place.mkdir()
        if server.account:
            shutil.chown(place, server.account)
        world = world_of(server, maker)
        backups = [world.backup().backup_id]
        for _, statements in STEPS:
            world.execute(*(statement.format(directory=server.directory) for statement in statements))
            backups.append(world.backup().backup_id)
        yield Chain(world, tuple(backups))


@pytest.fixture(scope="module")
def chain(world_maker: MakeWorld) -> Iterator[Chain]:
    with a_chain(18, world_maker) as made:
        yield made


NAMES = ["a full backup", *(f"{number} upon it: {step[0]}" for number, step in enumerate(STEPS, 1))]


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_a_chain_restores_to_what_was_saved(chain: Chain, number: int) -> None:
    made = chain.plan(number)
    assert [manifest.kind for manifest in made.chain] == ["full"] + ["incremental"] * number
    with a_place() as place, recovered(chain.world, made, place) as (assembled, server):
        observed = fp.take(lambda: server.server.with_database("app").connect())
        assert fp.compare(assembled.fingerprint, observed) == []
        assert assembled.bytes == made.backup_bytes
        server.promote()
        sound(chain.world.cluster, server)


def sound(cluster: Cluster, server: RecoveringServer) -> None:
    """Every heap and index of every database holds together."""
    place = ("-h", server.home / "s", "-p", "5432", "-U", "postgres")
    cluster.run("pg_amcheck", *place, "--all", "--install-missing", "--heapallindexed")
