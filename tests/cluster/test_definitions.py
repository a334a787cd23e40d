"""Every kind of damage to a definition is caught and named.

The intact case is ``test_roundtrip``. Here each row damages the hostile database inside a transaction that is
rolled back: name, damage, the complaint that must come, all on one line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from pra.postgres import definitions
from pra.postgres.facts import Definition
from tests.fix_cluster import Cluster


@dataclass(frozen=True)
class Damage:
    name: str
    sql: str
    complaint: str
    everywhere: bool = False  # also on 15; the rest on 18 alone


TABLE = '"Gestion Locative é"."Contrat ""du"" mois; DROP TABLE users; --"'
DAMAGES = [
    Damage("table lost", "DROP TABLE no_columns CASCADE", "table public.no_columns: existence", True),
    Damage("table added", "CREATE TABLE extra ()", "table public.extra: existence: expected absent"),
    Damage("table renamed", "ALTER TABLE hen RENAME TO rooster", "table public.hen: existence"),
    Damage("table owner", 'ALTER TABLE loose OWNER TO "hostile owner"', "table public.loose: owner", True),
    Damage(
        "storage parameter", "ALTER TABLE computed SET (fillfactor = 81)", "table public.computed: options"
    ),
    Damage("made unlogged", "ALTER TABLE a.b SET UNLOGGED", "table a.b: persistence"),
    Damage("replica identity", "ALTER TABLE no_rows REPLICA IDENTITY DEFAULT", "no_rows: replica identity"),
    Damage(
        "row security off", "ALTER TABLE secured DISABLE ROW LEVEL SECURITY", "secured: row security", True
    ),
    Damage("row security unforced", "ALTER TABLE secured NO FORCE ROW LEVEL SECURITY", "secured: forced row"),
    Damage("inheritance cut", "ALTER TABLE dog NO INHERIT tagged", "table public.dog: inherits"),
    Damage("partition detached", "ALTER TABLE events_fr DETACH PARTITION events_fr_2025", "partition bound"),
    Damage("partition lost", "DROP TABLE hashed_1 CASCADE", "table public.hashed_1: existence", True),
    Damage("column lost", "ALTER TABLE loose DROP COLUMN kind", "column public.loose.kind: existence"),
    Damage(
        "column type", "ALTER TABLE collated ALTER b TYPE varchar(99)", "column public.collated.b: type", True
    ),
    Damage("column order", "ALTER TABLE hen DROP egg; ALTER TABLE hen ADD egg int", "hen.egg: position"),
    Damage(
        "default changed", "ALTER TABLE loose ALTER status SET DEFAULT 'odd'", "loose.status: default", True
    ),
    Damage("not null lost", "ALTER TABLE egg ALTER hen DROP NOT NULL", "column public.egg.hen: not null"),
    Damage("identity lost", "ALTER TABLE everything ALTER id DROP IDENTITY", "everything.id: identity"),
    Damage(
        "no more generated", "ALTER TABLE computed ALTER total DROP EXPRESSION", "computed.total: generated"
    ),
    Damage("collation", 'ALTER TABLE collated ALTER a TYPE text COLLATE "POSIX"', "collated.a: collation"),
    Damage("storage", "ALTER TABLE computed ALTER big SET STORAGE MAIN", "computed.big: storage"),
    Damage("compression", "ALTER TABLE computed ALTER label SET COMPRESSION default", "label: compression"),
    Damage("statistics target", "ALTER TABLE computed ALTER b SET STATISTICS 9", "computed.b: statistics"),
    Damage("column option", "ALTER TABLE computed ALTER a RESET (n_distinct)", "computed.a: options"),
    Damage(
        "constraint lost", "ALTER TABLE loose DROP CONSTRAINT known_status", "known_status on public", True
    ),
    Damage("foreign key lost", "ALTER TABLE hen DROP CONSTRAINT from_egg", "constraint from_egg on", True),
    Damage(
        "constraint weakened",
        "ALTER TABLE loose DROP CONSTRAINT known_status; ALTER TABLE loose ADD CONSTRAINT known_status"
        " CHECK (status IN ('new', 'old', 'other'))",
        "constraint known_status on public.loose: definition",
    ),
    Damage(
        "constraint not validated",
        "UPDATE pg_constraint SET convalidated = false WHERE conname = 'hen_mother_fkey'",
        "hen_mother_fkey on public.hen: validated",
    ),
    Damage(
        "no longer deferred",
        "ALTER TABLE hen ALTER CONSTRAINT from_egg NOT DEFERRABLE",
        "constraint from_egg on public.hen: definition",
    ),
    Damage("exclusion lost", "ALTER TABLE booking DROP CONSTRAINT booking_room_during_excl", "booking_room"),
    Damage("index lost", "DROP INDEX computed_trgm", "index public.computed_trgm: existence", True),
    Damage(
        "index changed",
        "DROP INDEX computed_brin; CREATE INDEX computed_brin ON computed USING brin (a)",
        "index public.computed_brin: definition",
    ),
    Damage(
        "index invalid",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'computed_hash'::regclass",
        "index public.computed_hash: valid: expected true, observed false",
        True,
    ),
    Damage("cluster mark", "ALTER TABLE computed SET WITHOUT CLUSTER", "computed_identity: clustered"),
    Damage(
        "index statistics", "ALTER INDEX computed_full ALTER COLUMN 2 SET STATISTICS 5", "full: statistics"
    ),
    Damage(
        "view changed",
        "CREATE OR REPLACE VIEW over_view AS SELECT a, status FROM simple WHERE a > 0",
        "view public.over_view: definition",
        True,
    ),
    Damage("view option", "ALTER VIEW simple RESET (check_option)", "view public.simple: options"),
    Damage("matview lost", "DROP MATERIALIZED VIEW never_filled", "materialized view public.never_filled"),
    Damage("matview filled", "REFRESH MATERIALIZED VIEW never_filled", "never_filled: populated"),
    Damage(
        "function body",
        "CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
        "function public.touch(): body: expected sha256:",
        True,
    ),
    Damage(
        "standard body",
        "CREATE OR REPLACE FUNCTION standard_body(a int, b text DEFAULT 'x') RETURNS text LANGUAGE sql STABLE"
        " BEGIN ATOMIC SELECT b; END",
        "function public.standard_body(integer,pg_catalog.text): body",
    ),
    Damage(
        "function default", "DROP FUNCTION standard_body", "standard_body(integer,pg_catalog.text): existence"
    ),
    Damage("function volatile", "ALTER FUNCTION add_one(int) VOLATILE", "add_one(integer): volatility"),
    Damage(
        "function setting", "ALTER FUNCTION add_one(int) SET work_mem = '1MB'", "add_one(integer): settings"
    ),
    Damage("security invoker", 'ALTER FUNCTION "Étrange ""nom""" SECURITY INVOKER', "security definer"),
    Damage("procedure lost", "DROP PROCEDURE do_nothing", "procedure public.do_nothing(integer): existence"),
    Damage("aggregate lost", "DROP AGGREGATE product(float8)", "aggregate public.product(double precision)"),
    Damage("trigger lost", "DROP TRIGGER t_normal ON computed", "trigger t_normal on public.computed", True),
    Damage(
        "trigger off", "ALTER TABLE computed DISABLE TRIGGER t_normal", "t_normal on public.computed: enabled"
    ),
    Damage("trigger on", "ALTER TABLE computed ENABLE TRIGGER t_off", "t_off on public.computed: enabled"),
    Damage(
        "partition's trigger", "ALTER TABLE events_other ENABLE TRIGGER t_parts", "t_parts on public.events_o"
    ),
    Damage("event trigger lost", "DROP EVENT TRIGGER seen", "event trigger seen: existence"),
    Damage("event trigger on", "ALTER EVENT TRIGGER seen_off ENABLE", "event trigger seen_off: enabled"),
    Damage("rule lost", "DROP RULE keep ON no_rows", "rule keep on public.no_rows: existence"),
    Damage("rule on", "ALTER TABLE no_rows ENABLE RULE log", "rule log on public.no_rows: enabled"),
    Damage("policy lost", "DROP POLICY own_rows ON secured", "policy own_rows on public.secured", True),
    Damage(
        "policy opened",
        "ALTER POLICY own_rows ON secured USING (true)",
        "policy own_rows on public.secured: us",
    ),
    Damage("policy roles", 'ALTER POLICY "Restrictive é" ON secured TO PUBLIC', "on public.secured: roles"),
    Damage("grant lost", f"REVOKE SELECT ON {TABLE} FROM hostile_reader", "grants table", True),
    Damage(
        "column grant lost", f'REVOKE UPDATE ("user") ON {TABLE} FROM hostile_reader', "grants table column"
    ),
    Damage("grant added", "GRANT DELETE ON no_rows TO PUBLIC", "grants table public.no_rows: grants"),
    Damage("schema grant lost", "REVOKE ALL ON SCHEMA a FROM PUBLIC", "grants schema a: existence"),
    Damage("function opened", "GRANT EXECUTE ON FUNCTION many() TO PUBLIC", "grants function public.many()"),
    Damage(
        "system function opened",
        "GRANT EXECUTE ON FUNCTION pg_sleep(float8) TO PUBLIC",
        "grants function pg_catalog.pg_sleep(double precision): existence",
    ),
    Damage("type closed", "REVOKE USAGE ON TYPE span FROM PUBLIC", "grants type public.span"),
    Damage("server grant", "REVOKE USAGE ON FOREIGN SERVER dead FROM hostile_reader", "grants server dead"),
    Damage(
        "default privileges",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON TABLES FROM hostile_reader",
        "default privileges of postgres in public on tables: existence",
        True,
    ),
    Damage("comment lost", "COMMENT ON TABLE everything IS NULL", "comment table public.everything", True),
    Damage("comment changed", "COMMENT ON COLUMN everything.t IS 'x'", "everything.t: comment"),
    Damage("database comment", "COMMENT ON DATABASE {db} IS 'x'", "database this database: comment"),
    Damage(
        "database setting", "ALTER DATABASE {db} SET timezone = 'UTC'", "database setting for everybody", True
    ),
    Damage("secret setting", "ALTER DATABASE {db} SET app.secret = 'y'", "for everybody: settings"),
    Damage(
        "role's setting here",
        "ALTER ROLE hostile_reader IN DATABASE {db} RESET ALL",
        "database setting for role hostile_reader: existence",
    ),
    Damage("connection limit", "ALTER DATABASE {db} CONNECTION LIMIT 3", "this database: connection limit"),
    Damage("database grant", "REVOKE CREATE ON DATABASE {db} FROM hostile_reader", "this database: grants"),
    Damage("role changed", "ALTER ROLE hostile_reader SUPERUSER", "role hostile_reader: superuser", True),
    Damage(
        "membership lost", 'REVOKE "hostile owner" FROM hostile_reader', "role membership hostile_reader in"
    ),
    Damage(
        "role setting", "ALTER ROLE hostile_reader RESET work_mem", "role setting for role hostile_reader"
    ),
    Damage("schema lost", "DROP SCHEMA empty_schema", "schema empty_schema: existence"),
    Damage("schema owner", 'ALTER SCHEMA a OWNER TO "hostile owner"', "schema a: owner"),
    Damage("extension lost", "DROP EXTENSION tablefunc", "extension tablefunc: existence", True),
    Damage(
        "extension's version",
        "UPDATE pg_extension SET extversion = '0.1' WHERE extname = 'hstore'",
        "extension hstore: version: expected 1.8, observed 0.1",
    ),
    Damage("extension moved", "ALTER EXTENSION citext SET SCHEMA a", "extension citext: schema"),
    Damage(
        "member lost", "ALTER EXTENSION hstore DROP FUNCTION hstore(text, text)", "extension hstore: members"
    ),
    Damage("enum label added", "ALTER TYPE mood ADD VALUE 'new'", "enum public.mood: labels"),
    Damage("enum label renamed", "ALTER TYPE mood RENAME VALUE 'sad' TO 'SAD'", "enum public.mood: labels"),
    Damage("domain default", "ALTER DOMAIN positive SET DEFAULT 2", "domain public.positive: default"),
    Damage("domain check", 'ALTER DOMAIN "Code Postal" DROP CONSTRAINT cinq', "constraint cinq on"),
    Damage("domain not null", 'ALTER DOMAIN "Code Postal" DROP NOT NULL', 'Code Postal": not null'),
    Damage("composite type", 'ALTER TYPE address RENAME ATTRIBUTE "Number" TO n', "column public.address"),
    Damage("type owner", 'ALTER TYPE span OWNER TO "hostile owner"', "range public.span: owner"),
    Damage("cast lost", "DROP CAST (address AS text)", "cast (public.address AS pg_catalog.text)"),
    Damage("operator lost", "DROP OPERATOR === (address, address)", "operator public.===", True),
    Damage("operator class", "DROP OPERATOR CLASS int4_reverse USING btree CASCADE", "operator class"),
    Damage(
        "operator family",
        "ALTER OPERATOR FAMILY upside_down USING btree ADD FUNCTION 1 (int2, int2) btint2cmp(int2, int2)",
        "operator family public.upside_down USING btree: functions",
    ),
    Damage("statistics lost", "DROP STATISTICS computed_expression", "statistics public.computed_expression"),
    Damage("statistics target", "ALTER STATISTICS computed_stats SET STATISTICS 1", "computed_stats: target"),
    Damage("publication lost", "DROP PUBLICATION part_out", "publication part_out: existence", True),
    Damage("publication narrowed", "ALTER PUBLICATION everything_out SET (publish = 'insert')", "pubupdate"),
    Damage(
        "published filter", "ALTER PUBLICATION part_out SET TABLE computed", "publication part_out: where"
    ),
    Damage("published schema", "ALTER PUBLICATION schema_out DROP TABLES IN SCHEMA a", "publication schema"),
    Damage(
        "search mapping",
        'ALTER TEXT SEARCH CONFIGURATION "Français" ALTER MAPPING FOR word WITH simple',
        'text search configuration public."Français": mappings',
    ),
    Damage("dictionary", "ALTER TEXT SEARCH DICTIONARY short_words (ACCEPT = true)", "short_words: options"),
    Damage("collation lost", "DROP COLLATION c_copy CASCADE", "collation public.c_copy: existence"),
    Damage("conversion lost", "DROP CONVERSION my_latin", "conversion public.my_latin: existence"),
    Damage("server option", "ALTER SERVER dead OPTIONS (SET port '10')", "foreign server dead: secrets"),
    Damage(
        "mapping option",
        "ALTER USER MAPPING FOR public SERVER dead OPTIONS (SET password 'x')",
        "on dead: secrets",
    ),
    Damage(
        "mapping lost",
        "DROP USER MAPPING FOR hostile_reader SERVER dead",
        "user mapping hostile_reader on dead",
    ),
    Damage(
        "foreign table option",
        "ALTER FOREIGN TABLE far_away OPTIONS (SET table_name 'x')",
        "far_away: secrets",
    ),
    Damage(
        "sequence step", "ALTER SEQUENCE plain INCREMENT 5", "sequence parameters public.plain: increment"
    ),
    Damage("sequence owner column", 'ALTER SEQUENCE "Séquence ""x""" OWNED BY NONE', "owned by"),
    Damage("sequence lost", "DROP SEQUENCE untouched", "sequence public.untouched: existence", True),
    Damage("large object's owner", 'ALTER LARGE OBJECT 90001 OWNER TO "hostile owner"', "large objects of"),
    Damage(
        "large object's grant", "REVOKE SELECT ON LARGE OBJECT 90001 FROM hostile_reader", "large objects of"
    ),
    Damage("large object's comment", "COMMENT ON LARGE OBJECT 90001 IS NULL", "comment large object 90001"),
    Damage(
        "subscription", "ALTER SUBSCRIPTION nowhere SET (synchronous_commit = 'on')", "synchronous commit"
    ),
    Damage(
        "virtual expression",
        "ALTER TABLE computed_late DROP twice, ADD twice int GENERATED ALWAYS AS (a * 3)",
        "twice: default",
    ),
    Damage("not enforced", "ALTER TABLE computed_late DROP CONSTRAINT above", "constraint above on"),
]


def _check(server: Cluster, name: str, damage: Damage, intact: tuple[Definition, ...]) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    with server.connect(name) as conn, conn.transaction(force_rollback=True):
        conn.execute("SET LOCAL client_min_messages = error; SET LOCAL search_path = public, ext")
        conn.execute(damage.sql.replace("{db}", quoted).encode())
        complaints = [str(d) for d in definitions.compare(intact, definitions.read(conn))]
    assert any(damage.complaint in line for line in complaints), complaints[:10]
    assert all(len(line) < 700 for line in complaints)


@pytest.fixture(scope="module")
def intact18(pg18: Cluster, hostile18: str) -> Iterator[tuple[Definition, ...]]:
    with pg18.connect(hostile18) as conn:
        yield definitions.read(conn)


@pytest.fixture(scope="module")
def intact15(pg15: Cluster, hostile15: str) -> Iterator[tuple[Definition, ...]]:
    with pg15.connect(hostile15) as conn:
        yield definitions.read(conn)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_damage_is_named(
    pg18: Cluster, hostile18: str, intact18: tuple[Definition, ...], damage: Damage
) -> None:
    _check(pg18, hostile18, damage, intact18)


@pytest.mark.parametrize("damage", [d for d in DAMAGES if d.everywhere], ids=lambda damage: damage.name)
def test_damage_is_named_on_fifteen(
    pg15: Cluster, hostile15: str, intact15: tuple[Definition, ...], damage: Damage
) -> None:
    _check(pg15, hostile15, damage, intact15)


def test_reading_twice_is_equal_whatever_the_session_is_set_to(pg18: Cluster, hostile18: str) -> None:
    """Another search path, time zone, quoting or date style of the session changes no definition."""
    with pg18.connect(hostile18) as plain, pg18.connect(hostile18) as odd:
        odd.execute(
            "SET search_path = ext, public; SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'SQL, DMY'"
        )
        odd.execute("SET quote_all_identifiers = on; SET IntervalStyle = 'iso_8601'")
        assert definitions.read(odd) == definitions.read(plain)


def test_weak_role_reads_all_but_what_it_names(pg18: Cluster, hostile18: str, hostile_login: str) -> None:
    """What a catalogue hides from the role is a gap, never an error, and never a false alarm.

    Subscriptions are in no dump but a superuser's: a weak role records none, and its gaps name them.
    """
    with pg18.connect(hostile18) as conn:
        everything = definitions.read_all(conn)
    with pg18.connect(hostile18, hostile_login) as conn:
        weak = definitions.read_all(conn)
    assert weak.gaps == ("user mappings",)
    found = definitions.compare(weak.definitions, everything.definitions)
    assert {d.object for d in found} == {"subscription nowhere", "comment subscription nowhere"}


@pytest.fixture
def hostile_login(pg18: Cluster) -> Iterator[str]:
    """A role that may do nothing but connect."""
    pg18.execute("postgres", "CREATE ROLE nobody_special LOGIN")
    yield "nobody_special"
    pg18.execute("postgres", "DROP ROLE nobody_special")


def test_template_gifts_and_invalid_indexes_are_no_differences() -> None:
    """A restored database has public and plpgsql whatever the source had; a dump carries no invalid index."""
    public = Definition("schema", "public", '{"owner": "pg_database_owner"}')
    invalid = Definition("index", "public.i", '{"valid": false}')
    stranger = Definition("role", "stranger", "{}")
    assert definitions.compare([invalid], [public, stranger]) == []
    assert [d.aspect for d in definitions.compare([public, stranger], [])] == ["existence", "existence"]


def test_long_definitions_are_cut_and_lists_shown_by_what_differs() -> None:
    before = Definition("view", "v", '{"definition": "' + "x" * 900 + '", "grants": ["a", "b"]}')
    after = Definition("view", "v", '{"definition": "y", "grants": ["b", "c"]}')
    text, grants = definitions.compare([before], [after])
    assert len(text.expected) == 200
    assert (grants.expected, grants.observed) == ('["a"]', '["c"]')
