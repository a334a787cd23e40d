"""Bringing back chosen tables beside the live ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pra.errors import UsageError
from pra.model import Verdict
from pra.postgres.connect import Server
from pra.procedures import tables
from pra.procedures.judging import VerifyReport
from pra.procedures.session import choose
from tests.fix_cluster import Cluster
from tests.fix_world import MakeWorld, World, complaints

SETUP = """
CREATE TABLE families (id int PRIMARY KEY, name text);
CREATE TABLE children (school text) INHERITS (families);
INSERT INTO families VALUES (1, 'parent'); INSERT INTO children VALUES (2, 'child', 'x');
CREATE SCHEMA other; CREATE TABLE other.tenants (a int); INSERT INTO other.tenants VALUES (7);
CREATE TABLE " RULE " (" TRIGGER " int); INSERT INTO " RULE " VALUES (1);
CREATE TABLE "Odd ""na me" ("É" text); INSERT INTO "Odd ""na me" VALUES ('x');
CREATE MATERIALIZED VIEW by_key AS SELECT t.id, t.name, count(*) FROM tenants t GROUP BY t.id;
COMMENT ON CONSTRAINT payments_tenant_fkey ON payments IS 'left behind with its key';
COMMENT ON LARGE OBJECT 70001 IS 'left behind, too';
"""


@pytest.fixture(scope="module")
def live(pg18: Cluster, world_maker: MakeWorld) -> Iterator[World]:
    """A backed-up database in which the tables were then damaged: the live one."""
    if not pg18.query("postgres", "SELECT FROM pg_roles WHERE rolname = 'mut_owner'"):
        from tests.fix_cluster import DATA

        pg18.createdb("mutable")
        pg18.psql(DATA / "mutable.sql", "mutable")
    name = pg18.createdb(template="mutable")
    pg18.execute(name, SETUP)
    world = world_maker(pg18, name)
    world.backup()
    pg18.execute(name, "UPDATE payments SET due = 0", "DELETE FROM visits_2025", "DROP TABLE visits_2026",
                 "DELETE FROM children")  # fmt: skip
    yield world
    pg18.dropdb(name)


@pytest.fixture
def clean(live: World) -> Iterator[World]:
    """The live database, whose copies are dropped afterwards."""
    yield live
    for (schema,) in live.cluster.query(
        live.database, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'restored%'"
    ):
        live.execute(f"DROP SCHEMA {schema} CASCADE")


def bring_back(world: World, *names: str) -> tuple[VerifyReport, str]:
    with world.context() as context:
        server = Server.parse(world.cluster.dsn(world.database))
        return tables.run(context, choose(context, "newest", "near"), server, names)


def one(world: World, statement: str) -> object:
    return world.cluster.query(world.database, statement)[0][0]


def test_a_table_comes_back_beside_the_live_one_which_is_untouched(clean: World) -> None:
    report, schema = bring_back(clean, "payments")
    assert report.verdict is Verdict.PASS, complaints(report)
    assert one(clean, f"SELECT count(*) FROM {schema}.payments WHERE due > 0") == 500
    assert one(clean, "SELECT count(*) FROM payments WHERE due > 0") == 0
    names = {check.name for check in report.checks}
    assert {"tables saved", "tables restored"} <= names
    with clean.context() as context:
        last = context.evidence.head()
    assert last is not None
    assert (last.kind, last.body["verdict"], last.body["tables"]) == ("restore", "PASS", ["public.payments"])


def test_what_could_refuse_or_fire_stays_behind_and_indexes_come_along(clean: World) -> None:
    _, schema = bring_back(clean, "payments", "tenants")
    kinds = clean.cluster.query(
        clean.database,
        "SELECT contype, count(*) FROM pg_constraint k JOIN pg_namespace n ON n.oid = connamespace "
        f"WHERE nspname = '{schema}' AND contype <> 'n' GROUP BY 1 ORDER BY 1",
    )
    assert kinds == [("c", 1), ("p", 2), ("u", 1)]
    assert one(clean, f"SELECT count(*) FROM pg_trigger WHERE tgrelid = '{schema}.tenants'::regclass") == 0
    assert one(clean, f"SELECT to_regclass('{schema}.tenants_city') IS NOT NULL") is True


def test_a_partitioned_table_comes_back_with_its_partitions(clean: World) -> None:
    report, schema = bring_back(clean, "visits")
    assert report.verdict is Verdict.PASS, complaints(report)
    assert one(clean, f"SELECT count(*) FROM {schema}.visits") == 400
    assert one(clean, f"SELECT count(*) FROM {schema}.visits_2026") > 0  # type: ignore[operator]
    assert one(clean, "SELECT count(*) FROM visits") == 0


def test_one_partition_does_not_attach_itself_to_the_live_table(clean: World) -> None:
    """The live table has lost just this partition: a copy in its place would be read as live."""
    _, schema = bring_back(clean, "visits_2026")
    assert one(clean, f"SELECT count(*) > 0 FROM {schema}.visits_2026") is True
    assert one(clean, "SELECT count(*) FROM visits") == 0


def test_a_child_does_not_inherit_from_the_live_parent(clean: World) -> None:
    _, schema = bring_back(clean, "children")
    assert one(clean, f"SELECT count(*) FROM {schema}.children") == 1
    assert one(clean, "SELECT count(*) FROM families") == 1


@pytest.mark.parametrize("name", ['" RULE "', '"Odd ""na me"', "other.tenants", "empty_one"])
def test_odd_names(clean: World, name: str) -> None:
    report, _ = bring_back(clean, name)
    assert report.verdict is Verdict.PASS, complaints(report)


@pytest.mark.parametrize("name", ["nothing_like_it", "late", "Odd name", "a.b.c.d"])
def test_what_is_no_table_of_the_backup_is_refused(clean: World, name: str) -> None:
    with pytest.raises(UsageError, match="holds no table") as caught:
        bring_back(clean, name)
    assert caught.value.exit_code == 64
    assert one(clean, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'restored%'") == 0


def test_two_tables_of_one_name_are_refused(clean: World) -> None:
    with pytest.raises(UsageError, match="same name"):
        bring_back(clean, "tenants", "other.tenants")


def test_a_copy_that_is_there_is_never_overwritten(clean: World) -> None:
    _, schema = bring_back(clean, "empty_one")
    clean.execute(f"INSERT INTO {schema}.empty_one VALUES (5)")
    with pytest.raises(UsageError, match="already there"):
        bring_back(clean, "empty_one")
    assert one(clean, f"SELECT a FROM {schema}.empty_one") == 5
