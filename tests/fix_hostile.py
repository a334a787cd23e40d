"""The hostile database on each server, and what becomes of databases that are dumped and restored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pra.postgres import fingerprint
from pra.postgres.facts import Fingerprint
from tests.fix_cluster import DATA, Cluster, load_chinook

HOSTILE = 'hostile "db" é'


def load_hostile(server: Cluster, name: str) -> None:
    """The hostile database, with ICU collations on the build that has them."""
    server.createdb(name)
    server.psql(DATA / "hostile.sql", name)
    # A build without ICU knows a handful of its collations by name, and can use none.
    if server.query(name, "SELECT count(*) > 20 FROM pg_collation WHERE collprovider = 'i'") == [(True,)]:
        server.psql(DATA / "hostile_icu.sql", name)


@pytest.fixture(scope="session")
def hostile18(pg18: Cluster) -> str:
    """The hostile database on ``pg18``, for tests that leave it as it is; its name."""
    load_hostile(pg18, HOSTILE)
    return HOSTILE


@pytest.fixture(scope="session")
def hostile15(pg15: Cluster) -> str:
    """The hostile database on ``pg15``, for tests that leave it as it is; its name."""
    load_hostile(pg15, HOSTILE)
    return HOSTILE


def copy_globals(source: Cluster, destination: Cluster, directory: Path) -> None:
    """Roles and their settings to another server."""
    globals_sql = source.run("pg_dumpall", "--globals-only", "-d", source.dsn()).stdout
    script = directory / "globals.sql"
    script.write_text(globals_sql.replace(f"CREATE ROLE {source.superuser};\n", ""))
    destination.psql(script)


def dump_and_restore(source: Cluster, name: str, destination: Cluster, directory: Path) -> str:
    """One database to another server with PostgreSQL's own tools; what ``pg_restore`` said."""
    archive = directory / "archive"
    source.run("pg_dump", "-Fd", "-j2", "-f", archive, "-d", source.dsn(name))
    return destination.run("pg_restore", "-C", "-d", destination.dsn(), archive).stderr


@dataclass(frozen=True)
class RoundTrip:
    """Fingerprints of one database before its dump and after its restore, and where the copy is."""

    name: str
    server: Cluster
    before: Fingerprint
    after: Fingerprint


def take(server: Cluster, name: str, **options: object) -> Fingerprint:
    """A fingerprint by the superuser."""
    return fingerprint.take(lambda: server.connect(name), **options)  # type: ignore[arg-type]


def round_trips(source: Cluster, directory: Path) -> Iterator[dict[str, RoundTrip]]:
    """Chinook and the hostile database on a second server of the same build, and the way there."""
    load_chinook(source, "chinook")
    names = {"hostile": HOSTILE, "chinook": "chinook"}
    before = {key: take(source, name) for key, name in names.items()}
    destination = Cluster(source.bindir)
    try:
        destination.start()
        copy_globals(source, destination, directory)
        trips = {}
        for key, name in names.items():
            (directory / key).mkdir()
            complaints = dump_and_restore(source, name, destination, directory / key)
            assert complaints == "" or "not subscribed" in complaints, complaints  # 14 warns of it
            trips[key] = RoundTrip(name, destination, before[key], take(destination, name))
        yield trips
    finally:
        destination.remove()


@pytest.fixture(scope="session")
def trips18(
    pg18: Cluster, hostile18: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, RoundTrip]]:
    yield from round_trips(pg18, tmp_path_factory.mktemp("trips18"))


@pytest.fixture(scope="session")
def trips15(
    pg15: Cluster, hostile15: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, RoundTrip]]:
    yield from round_trips(pg15, tmp_path_factory.mktemp("trips15"))


@pytest.fixture(params=["trips18", "trips15"])
def trips(request: pytest.FixtureRequest) -> dict[str, RoundTrip]:
    """Round trips on each server: ``hostile`` and ``chinook``."""
    made: dict[str, RoundTrip] = request.getfixturevalue(request.param)
    return made
