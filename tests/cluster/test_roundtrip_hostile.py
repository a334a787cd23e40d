"""Round trips through backup and verification, exact: nothing may differ, whatever is in the database."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from pra.model import Status, Verdict
from pra.postgres.rights import least_privilege_sql
from pra.procedures.judging import VerifyReport
from tests.fix_cluster import Cluster
from tests.fix_hostile import HOSTILE
from tests.fix_world import MakeWorld, World, complaints, failed

NO_DATA_ELSEWHERE = {"critical-tables", "continuity", "service", "rules", "freshness"}


def proven(world: World) -> VerifyReport:
    done = world.backup()
    assert done.ok, done.repositories
    return world.verify()


def exact(report: VerifyReport) -> None:
    """PASS, and nothing ruled out but what nobody asked for."""
    assert report.verdict is Verdict.PASS, complaints(report)
    ruled_out = {check.name for check in report.checks if check.status is Status.NOT_APPLICABLE}
    assert ruled_out <= NO_DATA_ELSEWHERE, ruled_out


@pytest.fixture
def reader(cluster: Cluster) -> Iterator[str]:
    """The role that the README's SQL makes, in whichever database a test then names."""
    name = f"reader {secrets.token_hex(3)}"
    yield name
    cluster.execute("postgres", f'DROP OWNED BY "{name}"')


def grant(cluster: Cluster, role: str, database: str) -> None:
    """Run the SQL of the README, without psql's own command."""
    script = least_privilege_sql(role, database)
    statements = "\n".join(line for line in script.splitlines() if not line.startswith("\\"))
    cluster.execute(database, statements)


@pytest.fixture
def hostile(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    name: str = request.getfixturevalue(f"hostile{cluster.major}")
    return name


@pytest.fixture
def music(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    name: str = request.getfixturevalue("chinook" if cluster.major == 18 else "chinook15")
    return name


def test_the_hostile_database(cluster: Cluster, hostile: str, make_world: MakeWorld) -> None:
    assert hostile == HOSTILE
    exact(proven(make_world(cluster, hostile)))


def test_chinook(cluster: Cluster, music: str, make_world: MakeWorld) -> None:
    exact(proven(make_world(cluster, music)))


def test_chinook_by_the_least_privileged_role(
    cluster: Cluster, music: str, reader: str, make_world: MakeWorld
) -> None:
    """Nothing in it needs more than grants."""
    grant(cluster, reader, music)
    exact(proven(make_world(cluster, music, user=reader)))
    cluster.execute(music, f'DROP OWNED BY "{reader}"')


def test_the_hostile_database_by_the_least_privileged_role(
    cluster: Cluster, hostile: str, reader: str, make_world: MakeWorld
) -> None:
    """What no grant can give is missing, named, and the only thing that is."""
    grant(cluster, reader, hostile)
    report = proven(make_world(cluster, hostile, user=reader))
    assert report.verdict is Verdict.PARTIAL, complaints(report)
    found = failed(report)
    assert set(found) == {"gaps", "warnings"}, complaints(report)
    assert sorted(found["gaps"].details) == [
        "subscription nowhere: not dumped for a role that is no superuser",
        "user mapping for hostile_reader on server dead: options are hidden",
        "user mapping for public on server dead: options are hidden",
    ]
    assert "subscriptions not dumped" in found["warnings"].reason
    cluster.execute(hostile, f'DROP OWNED BY "{reader}"')


# -- databases of every shape --------------------------------------------------------------------------

SOME_ROWS = "CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'x'), (2, NULL)"
SHAPES = (
    ("empty", "", ""),
    ("sql-ascii", "ENCODING 'SQL_ASCII' LOCALE 'C'",
     "CREATE TABLE t (a text); INSERT INTO t VALUES (E'\\xff\\xfe'), (E'caf\\xe9'), ('plain'); "
     "CREATE MATERIALIZED VIEW \"v\u00e9\" AS SELECT * FROM t"),
    ("latin1", "ENCODING 'LATIN1' LOCALE 'C'",
     "CREATE TABLE t (a text, \"caf\u00e9\" text); INSERT INTO t VALUES ('\u00e9', '\u00ff'); "
     "CREATE MATERIALIZED VIEW \"v\u00e9\" AS SELECT * FROM t"),
    ("c-collation", "LOCALE 'C'", SOME_ROWS + "; CREATE INDEX ON t (b)"),
    ("zero-columns", "", "CREATE TABLE none (); INSERT INTO none DEFAULT VALUES; CREATE TABLE void ()"),
    ("settings", "CONNECTION LIMIT 33", SOME_ROWS + "; DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET "
     "search_path = a, \"B c\"', current_database()); "
     "EXECUTE format('COMMENT ON DATABASE %I IS ''it''''s''', current_database()); END $$"),
)  # fmt: skip


@pytest.mark.parametrize(("options", "content"), [pytest.param(*row[1:], id=row[0]) for row in SHAPES])
def test_a_database_of_this_shape(
    cluster: Cluster, make_world: MakeWorld, options: str, content: str
) -> None:
    name = cluster.createdb(template="template0", options=options)
    try:
        if content:
            cluster.execute(name, content)
        exact(proven(make_world(cluster, name)))
    finally:
        cluster.dropdb(name)


@pytest.mark.parametrize(
    "name",
    ["with space", "it's", 'two "quotes"', "back\\slash", "été 日本 🏠", "UPPER", "select", "a=b dbname=x",
     "postgresql://x", "-d", "template 9", "%s {x}"],
)  # fmt: skip
def test_a_database_of_this_name(pg18: Cluster, make_world: MakeWorld, name: str) -> None:
    pg18.createdb(name, template="template0")
    try:
        pg18.execute(name, SOME_ROWS)
        exact(proven(make_world(pg18, name)))
    finally:
        with pg18.connect() as connection:
            quoted = '"' + name.replace('"', '""') + '"'
            connection.execute(f"DROP DATABASE {quoted} WITH (FORCE)".encode())


def test_the_database_that_initdb_makes(cluster: Cluster, make_world: MakeWorld) -> None:
    """A sandbox has a ``postgres`` of its own, which makes room."""
    cluster.execute("postgres", "CREATE TABLE round_trip (a int)", "INSERT INTO round_trip VALUES (7)")
    try:
        exact(proven(make_world(cluster, "postgres")))
    finally:
        cluster.execute("postgres", "DROP TABLE round_trip")


def test_a_database_with_icu_for_its_own_collation(pg15: Cluster, make_world: MakeWorld) -> None:
    name = pg15.createdb(
        template="template0", options="LOCALE_PROVIDER icu ICU_LOCALE 'fr-FR' LOCALE 'C.UTF-8'"
    )
    try:
        pg15.execute(name, SOME_ROWS, "CREATE INDEX ON t (b)",
                     "CREATE COLLATION swedish (provider = icu, locale = 'sv', deterministic = false)",
                     "CREATE TABLE s (a text COLLATE swedish UNIQUE)",
                     "INSERT INTO s VALUES ('å'), ('z')")  # fmt: skip
        report = proven(make_world(pg15, name))
        exact(report)
        assert next(c for c in report.checks if c.name == "collations").status is Status.PASSED
    finally:
        pg15.dropdb(name)
