"""A fingerprint sees every change of a row, in one snapshot, whatever reads it and however it is cut."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import psycopg
import pytest

from pra.errors import PostgresError, RightsError
from pra.postgres import fingerprint as module
from pra.postgres.connect import Connection
from pra.postgres.digest import digest_sql, sums_of
from pra.postgres.facts import Fingerprint
from pra.postgres.fingerprint import compare, compare_sequences, read_sequences
from pra.postgres.pinned import pin
from pra.postgres.tables import list_tables
from tests.fix_cluster import Cluster
from tests.fix_hostile import take


@pytest.fixture(scope="module")
def scratch(pg18: Cluster) -> Iterator[str]:
    """A database for changes that are rolled back."""
    name = pg18.createdb()
    pg18.execute(
        name,
        "CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');"
        "CREATE TYPE pair AS (a numeric, b text); CREATE DOMAIN amount AS numeric;"
        "CREATE DOMAIN code AS bit(3);"
        "CREATE FUNCTION same(pair) RETURNS text LANGUAGE sql AS 'SELECT ''x'''; "
        "CREATE CAST (pair AS text) WITH FUNCTION same(pair)",
    )
    yield name
    pg18.dropdb(name)


def digest_of(conn: Connection, table: str) -> str:
    """The digest of one table inside the open transaction, so that its changes can be rolled back."""
    with conn.transaction(force_rollback=True):
        pin(conn, timedelta(seconds=10))
        found = {t.name: t for t in list_tables(conn)}[table]
        query = digest_sql(found.schema, found.name, found.columns)
        return sums_of(conn.execute(query).fetchone() or ()).hex


# Pairs that PostgreSQL's = or hash calls the same, or that differ in the least way their type allows.
VALUES = [
    ("numeric", "1.0", "1.00"),
    ("numeric", "0", "0.0"),
    ("numeric(20,4)", "1.0001", "1.0002"),
    ("amount", "1.0", "1.00"),
    ("float8", "-0", "0"),
    ("float8", "0.1", "0.10000000000000002"),
    ("float4", "1e-45", "0"),
    ("interval", "1 month", "30 days"),
    ("interval", "24:00", "1 day"),
    ("text", "", None),
    ("text", "a", "a "),
    ("text", "é", "e\u0301"),
    ("varchar", "NULL", None),
    ("bpchar", "a", "a "),
    ("char(3)", "a", "b"),
    ('"char"', "a", "b"),
    ("name", "a", "b"),
    ("citext", "Abc", "abc"),
    ("int8", "1", "4294967296"),
    ("int8", "0", "-1"),
    ("int2", "1", "2"),
    ("bool", "true", None),
    ("date", "infinity", "-infinity"),
    ("time", "24:00", "00:00"),
    ("timetz", "12:00+00", "13:00+01"),
    ("timestamp", "2000-01-01 00:00:00.000001", "2000-01-01 01:11:34.967296"),
    ("timestamptz", "2026-03-29 01:00+00", "2026-03-29 01:00:00.000001+00"),
    ("money", "1", "2"),
    ("uuid", "00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001"),
    ("bytea", "\\x00", "\\x0000"),
    ("bit(4)", "0001", "0010"),
    ("bit(3)", "011", "111"),
    ("code", "011", "010"),
    ("varbit", "0", "00"),
    ("json", '{"a":1}', '{"a": 1}'),
    ("jsonb", "1.0", "1.00"),
    ("jsonb", "null", None),
    ("inet", "10.0.0.1", "10.0.0.1/31"),
    ("cidr", "10.0.0.0/8", "10.0.0.0/9"),
    ("point", "(0,0)", "(-0,0)"),
    ("polygon", "((0,0),(1,1),(2,0))", "((1,1),(2,0),(0,0))"),
    ("circle", "<(0,0),1>", "<(1,0),1>"),
    ("tsvector", "a:1", "a:2"),
    ("tsquery", "a & b", "b & a"),
    ("mood", "sad", "happy"),
    ("regclass", "pg_class", "pg_type"),
    ("regrole", "postgres", "pg_monitor"),
    ("oid", "1", "4294967295"),
    ("pg_lsn", "0/1", "1/0"),
    ("int4[]", "{{1,2},{3,4}}", "{1,2,3,4}"),
    ("int4[]", "[0:1]={1,2}", "{1,2}"),
    ("int4[]", "{}", None),
    ("int4[]", "{1,NULL}", "{NULL,1}"),
    ("text[]", '{"NULL"}', "{NULL}"),
    ("text[]", '{"a,b"}', "{a,b}"),
    ("numeric[]", "{1.0}", "{1.00}"),
    ("int4range", "empty", "[1,2)"),
    ("numrange", "[1.0,2]", "[1.00,2]"),
    ("nummultirange", "{[1.0,2]}", "{[1.00,2]}"),
    ("pair", "(1.0,x)", "(1.00,x)"),
    ("pair", "(1,)", '(1,"")'),
    ("hstore", "a=>1", "a=>NULL"),
    ("macaddr", "08:00:2b:01:02:03", "08:00:2b:01:02:04"),
    ("xid8", "1", "2"),
]


@pytest.mark.parametrize(("kind", "before", "after"), VALUES)
def test_changed_value_changes_the_digest(
    pg18: Cluster, scratch: str, kind: str, before: str | None, after: str | None
) -> None:
    with pg18.connect(scratch) as conn, conn.transaction(force_rollback=True):
        conn.execute(f"CREATE TABLE t (id int, v {kind})".encode())
        conn.execute(
            f"INSERT INTO t VALUES (1, %s::text::{kind}), (2, %s::text::{kind})".encode(), (before, after)
        )
        intact = digest_of(conn, "t")
        conn.execute("UPDATE t SET v = (SELECT v FROM t WHERE id = 2) WHERE id = 1")
        changed = digest_of(conn, "t")
        conn.execute(f"UPDATE t SET v = %s::text::{kind} WHERE id = 1".encode(), (before,))
        assert digest_of(conn, "t") == intact
    assert changed != intact


@dataclass(frozen=True)
class Change:
    name: str
    sql: str


CHANGES = [
    Change(
        "values swapped between rows",
        "UPDATE t SET v = CASE id WHEN 1 THEN 'two' ELSE 'one' END WHERE id < 3",
    ),
    Change(
        "numbers swapped between rows", "UPDATE t SET a = CASE id WHEN 1 THEN 20 ELSE 10 END WHERE id < 3"
    ),
    Change("values swapped between columns", "UPDATE t SET v = w, w = v WHERE id = 1"),
    Change("numbers swapped between columns", "UPDATE t SET a = b, b = a WHERE id = 1"),
    Change("value moved to its neighbour", "UPDATE t SET w = v, v = NULL WHERE id = 3"),
    Change("one up, one down", "UPDATE t SET a = a + CASE id WHEN 1 THEN 1 ELSE -1 END WHERE id < 3"),
    Change("row lost", "DELETE FROM t WHERE id = 1"),
    Change("row doubled", "INSERT INTO t SELECT * FROM t WHERE id = 1"),
    Change("every row doubled", "INSERT INTO t SELECT * FROM t"),
    Change(
        "row replaced by a double", "DELETE FROM t WHERE id = 1; INSERT INTO t SELECT * FROM t WHERE id = 2"
    ),
    Change("emptied", "TRUNCATE t"),
    Change("text cut at its end", "UPDATE t SET v = left(v, -1) WHERE id = 2"),
    Change("one bit of a long text", "UPDATE t SET w = overlay(w placing 'y' from 50000) WHERE id = 4"),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_change_of_rows_changes_the_digest(pg18: Cluster, scratch: str, change: Change) -> None:
    with pg18.connect(scratch) as conn, conn.transaction(force_rollback=True):
        conn.execute("CREATE TABLE t (id int, a int8, b int8, v text, w text)")
        conn.execute(
            "INSERT INTO t VALUES (1, 10, 20, 'one', 'uno'), (2, 20, 10, 'two', 'due'), (3, 0, 0, 'x', NULL),"
            " (4, 0, 0, '', repeat('x', 100000))"
        )
        intact = digest_of(conn, "t")
        conn.execute(change.sql.encode())
        assert digest_of(conn, "t") != intact


@pytest.mark.parametrize(
    "arithmetic", ["0.1 + 0.2", "1e20 - 1e20", "10.00 / 4", "sqrt(2)", "1.10 * 1.10", "-0.0"]
)
def test_number_that_was_computed_equals_the_same_number_read(
    pg18: Cluster, scratch: str, arithmetic: str
) -> None:
    """A dump spells values out and reads them again: the wire form must not tell how they came about."""
    with pg18.connect(scratch) as conn, conn.transaction(force_rollback=True):
        conn.execute(
            f"CREATE TABLE t AS SELECT ({arithmetic})::numeric AS v, 'inf'::float8 - 'inf' AS f".encode()
        )
        computed = digest_of(conn, "t")
        conn.execute("UPDATE t SET v = v::text::numeric, f = f::text::float8")
        assert digest_of(conn, "t") == computed


def test_nondeterministic_collation_hides_no_change(pg15: Cluster) -> None:
    """ICU collations under which two strings are equal: the digest looks at the bytes."""
    name = pg15.createdb()
    pg15.execute(
        name, "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level1', deterministic = false)"
    )
    pg15.execute(
        name,
        "CREATE TABLE t (v text COLLATE blind, w varchar COLLATE blind)",
        "INSERT INTO t VALUES ('É', 'É')",
    )
    before = take(pg15, name)
    pg15.execute(name, "UPDATE t SET v = 'e' WHERE v = 'e'")
    after = take(pg15, name)
    assert [d.aspect for d in compare(before, after)] == ["content"]
    pg15.dropdb(name)


def test_order_of_rows_and_columns_and_the_session_do_not_matter(pg18: Cluster, scratch: str) -> None:
    with pg18.connect(scratch) as conn, conn.transaction(force_rollback=True):
        conn.execute(
            "CREATE TABLE t (a int, b timestamptz, c float8);"
            " INSERT INTO t VALUES (1, now(), pi()), (2, NULL, 0)"
        )
        first = digest_of(conn, "t")
        conn.execute("ALTER TABLE t RENAME TO was")
        conn.execute("CREATE TABLE t AS SELECT c, b, a FROM was ORDER BY a DESC")
        conn.execute("SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; SET extra_float_digits = -5")
        assert digest_of(conn, "t") == first


@pytest.fixture
def large(pg18: Cluster) -> Iterator[str]:
    """A table of about 60 MB, and one whose bulk is in TOAST; its database."""
    name = pg18.createdb()
    pg18.execute(
        name,
        "CREATE TABLE wide AS SELECT i AS id, repeat('x', 500) || i AS v"
        " FROM generate_series(1, 100000) AS i",
        "CREATE TABLE toasted (id int, v text STORAGE EXTERNAL)",
        "INSERT INTO toasted SELECT i, repeat(i::text, 5000) FROM generate_series(1, 2000) AS i",
        "DELETE FROM wide WHERE id % 1000 < 300",
    )
    yield name
    pg18.dropdb(name)


def test_parts_add_up_to_the_whole(pg18: Cluster, large: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut in many parts read by three sessions, or read at once by one: the same digest."""
    whole = take(pg18, large, jobs=1)
    monkeypatch.setattr(module, "SMALLEST_PART", 1024 * 1024)
    told: list[tuple[int, int]] = []
    parts = take(pg18, large, jobs=3, progress=lambda done, of: told.append((done, of)))
    assert compare(whole, parts) == []
    assert [t.rows for t in parts.tables] == [2000, 70000]
    assert len(told) > 10
    assert told[-1][0] == told[-1][1]


def test_one_snapshot_whatever_is_written_meanwhile(pg18: Cluster, large: str) -> None:
    before = take(pg18, large, depth="digest")
    with pg18.connect(large, autocommit=False) as holder:
        holder.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        snapshot = str((holder.execute("SELECT pg_export_snapshot()").fetchone() or ("",))[0])
        pg18.execute(large, "UPDATE wide SET v = 'gone'", "DELETE FROM toasted", "CREATE TABLE late (a int)")
        during = take(pg18, large, snapshot=snapshot)
    assert compare(before, during) == []
    assert during.snapshot == snapshot
    assert {d.object for d in compare(before, take(pg18, large))} == {
        "table public.wide", "table public.toasted", "table public.late",
    }  # fmt: skip


def test_counting_reads_rows_only(pg18: Cluster, large: str) -> None:
    counted = take(pg18, large, depth="counts")
    assert [(t.name, t.rows, t.digest) for t in counted.tables] == [
        ("toasted", 2000, None),
        ("wide", 70000, None),
    ]
    pg18.execute(large, "DELETE FROM wide WHERE id = 999")
    assert [str(d) for d in compare(counted, take(pg18, large, depth="counts"))] == [
        "table public.wide: rows: expected 70000, observed 69999"
    ]


def test_stop_cancels_what_runs(pg18: Cluster, database: str) -> None:
    """A request to stop ends a long scan at once and leaves no session behind."""
    pg18.execute(
        database,
        "CREATE EXTENSION hstore; CREATE TABLE t (a int); INSERT INTO t VALUES (1)",
        "ALTER EXTENSION hstore ADD TABLE t",
        "UPDATE pg_extension SET extconfig = ARRAY['t'::regclass]::oid[],"
        " extcondition = ARRAY['WHERE pg_sleep(60) IS NULL'] WHERE extname = 'hstore'",
    )
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    started = time.monotonic()
    with pytest.raises(PostgresError, match="stopped on request"):
        take(pg18, database, stop=stop)
    assert time.monotonic() - started < 10
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    deadline = time.monotonic() + 10
    while pg18.query(database, busy) != [(0,)] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert pg18.query(database, busy) == [(0,)]


def test_locked_table_is_waited_for_no_longer_than_allowed(pg18: Cluster, database: str) -> None:
    pg18.execute(database, "CREATE TABLE t (a int)")
    with pg18.connect(database, autocommit=False) as blocker:
        blocker.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(PostgresError, match="lock timeout") as raised:
            take(pg18, database, lock_wait=timedelta(milliseconds=300))
    assert raised.value.transient


def test_thousands_of_tables_do_not_fill_the_lock_table(pg18: Cluster, database: str) -> None:
    """Each table's lock is given back once it was read; the dump beside us holds its own."""
    pg18.execute(
        database,
        "DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('CREATE TABLE t%s (a int)', i); END LOOP; END $$",
    )
    held: list[int] = []

    def count_locks(done: int, _whole: int) -> None:
        locks = "SELECT count(*) FROM pg_locks WHERE relation >= 16384 AND database = "
        this = "(SELECT oid FROM pg_database WHERE datname = current_database())"
        held.append(int(pg18.query(database, locks + this)[0][0]))

    assert len(take(pg18, database, jobs=2, progress=count_locks).tables) == 300
    assert len(held) == 300
    assert max(held) < 10


def test_row_security_that_would_hide_rows_is_an_error(pg18: Cluster, hostile18: str) -> None:
    """Never a digest of only the rows that the role may see."""
    pg18.execute("postgres", "CREATE ROLE sees_some LOGIN; GRANT pg_read_all_data TO sees_some")
    try:
        with pytest.raises(RightsError, match="row-level security"):
            module.take(lambda: pg18.connect(hostile18, "sees_some"))
    finally:
        pg18.execute("postgres", "DROP ROLE sees_some")


def test_what_a_dump_leaves_out_is_left_out(pg18: Cluster, database: str) -> None:
    """Temporary tables, an extension's own tables, and rows outside its configuration's condition."""
    pg18.execute(
        database,
        "CREATE EXTENSION hstore",
        "CREATE TABLE own (a int); CREATE TABLE configuration (a int, mine bool)",
        "INSERT INTO configuration VALUES (1, true), (2, false)",
        "ALTER EXTENSION hstore ADD TABLE own; ALTER EXTENSION hstore ADD TABLE configuration",
        "UPDATE pg_extension SET extconfig = ARRAY['configuration'::regclass]::oid[],"
        " extcondition = ARRAY['WHERE mine'] WHERE extname = 'hstore'",
    )
    with pg18.connect(database) as conn:
        conn.execute("CREATE TEMP TABLE passing (a int)")
        found = take(pg18, database)
    assert [(t.name, t.kind, t.rows) for t in found.tables] == [("configuration", "configuration", 1)]


def test_empty_database_has_a_fingerprint(cluster: Cluster) -> None:
    name = cluster.createdb()
    found = take(cluster, name)
    assert (found.rows, found.tables, found.sequences, found.large_objects.count) == (0, (), (), 0)
    assert found.major == cluster.major
    assert Fingerprint.from_json(found.to_json()).to_json() == found.to_json()
    cluster.dropdb(name)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_other_encodings_are_read_byte_by_byte(pg18: Cluster, encoding: str) -> None:
    """SQL_ASCII may hold any bytes, in values and in names."""
    name = pg18.createdb(template="template0", options=f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    with pg18.connect(name) as conn:
        conn.execute("SET client_encoding = 'LATIN1'")
        conn.execute(
            "CREATE TABLE \"t\u00e9\" (v text); INSERT INTO \"t\u00e9\" VALUES ('\u00e9'), ('\u00ff')"
        )
        before = take(pg18, name)
        conn.execute("UPDATE \"t\u00e9\" SET v = '\u00e8' WHERE v = '\u00e9'")
    after = take(pg18, name)
    assert [(d.object, d.aspect) for d in compare(before, after)] == [("table public.t\u00e9", "content")]
    pg18.dropdb(name)


LARGE_OBJECT_CHANGES = [
    Change("byte", "SELECT lo_put(1, 5000, 'x')"),
    Change("longer by a zero", "SELECT lo_put(1, 10000, '\\x00')"),
    Change("shorter", "SELECT lo_truncate(lo_open(1, 131072), 9999)"),
    Change("number", "SELECT lo_unlink(2), lo_create(3)"),
    Change("empty one gets a byte", "SELECT lo_put(2, 0, '\\x00')"),
]


@pytest.mark.parametrize("change", LARGE_OBJECT_CHANGES, ids=lambda change: change.name)
def test_change_of_a_large_object_is_seen(pg18: Cluster, database: str, change: Change) -> None:
    pg18.execute(database, "SELECT lo_from_bytea(1, decode(repeat('ab', 10000), 'hex')), lo_create(2)")
    before = take(pg18, database)
    pg18.execute(database, change.sql)
    assert [d.object for d in compare(before, take(pg18, database))] == ["large objects"]


def test_hole_in_a_large_object_equals_zeros(pg18: Cluster, database: str) -> None:
    """A dump reads holes as zeros, and a restore writes them."""
    pg18.execute(database, "SELECT lo_create(1)", "SELECT lo_put(1, 100000, 'x')")
    holed = take(pg18, database)
    pg18.execute(database, "SELECT lo_put(1, 0, decode(repeat('00', 100000), 'hex'))")
    assert pg18.query(database, "SELECT count(*) > 40 FROM pg_largeobject") == [(True,)]
    assert compare(holed, take(pg18, database)) == []


def test_weak_role_digests_large_objects_one_by_one(pg18: Cluster, database: str) -> None:
    """Without the right to read their table, but with each one granted: the same digest."""
    pg18.execute(
        database,
        "SELECT lo_from_bytea(1, decode(repeat('ab', 10000), 'hex')), lo_create(2), lo_create(3)",
        "SELECT lo_put(3, 100000, 'x')",
        "CREATE ROLE opens_objects LOGIN",
        "GRANT SELECT ON LARGE OBJECT 1, 2, 3 TO opens_objects",
    )
    owner = take(pg18, database)
    weak = module.take(lambda: pg18.connect(database, "opens_objects"))
    pg18.execute(database, "DROP OWNED BY opens_objects; DROP ROLE opens_objects")
    assert weak.large_objects == owner.large_objects
    assert weak.large_objects.count == 3


def test_sequences_are_read_with_what_they_feed(pg18: Cluster, database: str) -> None:
    pg18.execute(
        database,
        "CREATE TABLE t (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, n serial, down int)",
        "INSERT INTO t (down) SELECT i FROM generate_series(1, 5) AS i",
        'CREATE SEQUENCE "dé""croissante" INCREMENT -2 START -10 OWNED BY t.down',
    )
    with pg18.connect(database) as conn:
        before = read_sequences(conn)
        found = {s.name: (s.next_value, s.owned_by, s.covers) for s in before}
        assert found == {
            'dé"croissante': (-10, "public.t.down", None),
            "t_id_seq": (6, "public.t.id", True),
            "t_n_seq": (6, "public.t.n", None),
        }
        conn.execute("SELECT setval('t_id_seq', 5, false)")
        complaints = [str(d) for d in compare_sequences(before, read_sequences(conn))]
    assert complaints == [
        "sequence public.t_id_seq: position: expected next value at or past 6, observed 5",
        "sequence public.t_id_seq: position: expected past its column public.t.id, observed next value 5",
    ]
