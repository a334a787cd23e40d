"""The mutation table: every kind of damage that a proof must see, and what it must say.

Data only. ``restored`` damage is SQL in a copy of the restored database, ``server`` damage is SQL on the
sandbox itself, undone by ``undo``; damage to stored bytes is in ``tests/mutations_stored.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Mutation:
    """One kind of damage.

    Attributes:
        where: What ``damage`` is applied to.
        damage: SQL statements, parted by ``;;`` where each needs a transaction of its own.
        check: The check that must fail.
        says: A regular expression that this check's complaint must match.
        also: Other checks that rightly fail too. Any further one fails the test.
        undo: SQL that mends a damaged server.
        widely: Also part of the dozen that every major is tested with.
    """

    name: str
    where: Literal["restored", "server"]
    damage: str
    check: str
    says: str
    also: tuple[str, ...] = ()
    undo: str = ""
    widely: bool = False

    @property
    def statements(self) -> tuple[str, ...]:
        return tuple(self.damage.split(";;"))


def content(
    name: str, damage: str, says: str, *, also: tuple[str, ...] = (), widely: bool = False
) -> Mutation:
    """Rows, which the fingerprint answers for. Triggers are off, so that no trigger hides the damage."""
    quiet = f"SET session_replication_role = replica; {damage}"
    return Mutation(name, "restored", quiet, "fingerprint", says, also, widely=widely)


def structure(
    name: str,
    damage: str,
    says: str,
    *,
    check: str = "definitions",
    also: tuple[str, ...] = (),
    widely: bool = False,
) -> Mutation:
    return Mutation(name, "restored", damage, check, says, also, widely=widely)


def server(name: str, damage: str, undo: str, says: str, *, also: tuple[str, ...] = ()) -> Mutation:
    return Mutation(name, "server", damage, "globals", says, also, undo)


TENANTS = "table public.tenants: content"
PAYMENTS = "table public.payments: content"
CATALOGUE = "SET allow_system_table_mods = on; "

CONTENT = (
    content("row changed", "UPDATE tenants SET name = 'other' WHERE id = 1000", TENANTS, widely=True),
    content("row lost", "DELETE FROM payments WHERE id = 250",
            "table public.payments: rows: expected 500, observed 499", widely=True),
    content("row doubled", "INSERT INTO without_key SELECT * FROM without_key LIMIT 1",
            "table public.without_key: rows: expected 9, observed 10"),
    content("one row lost, another doubled",
            "DELETE FROM without_key WHERE ctid = '(0,1)'; INSERT INTO without_key SELECT * FROM without_key "
            "WHERE a = 0 LIMIT 1", "table public.without_key: content"),
    content("two rows' values swapped",
            "UPDATE tenants t SET name = o.name FROM tenants o WHERE (t.id, o.id) IN ((1, 2), (2, 1))",
            TENANTS),
    content("two columns' values swapped", "UPDATE tenants SET name = note, note = name WHERE id = 1",
            TENANTS),
    content("1.0 for 1.00", "UPDATE payments SET due = 1.0 WHERE id = 3", PAYMENTS, widely=True),
    content("1.0 for 1.00 in json", """UPDATE payments SET doc = '{"n": 1.0, "i": 5}' WHERE id = 5""",
            PAYMENTS),
    content("-0 for 0", "UPDATE payments SET rate = '-0' WHERE id = 1", PAYMENTS),
    content("last bit of a float", "UPDATE payments SET rate = rate + 1e-15 WHERE id = 2", PAYMENTS),
    content("1 month for 30 days", "UPDATE payments SET period = '1 month' WHERE id = 9", PAYMENTS),
    content("24 hours for a day", "UPDATE payments SET period = '29 days 24:00' WHERE id = 9", PAYMENTS),
    content("NULL for an empty string", "UPDATE tenants SET note = NULL WHERE id = 5", TENANTS),
    content("empty string for NULL", "UPDATE tenants SET note = '' WHERE id = 7", TENANTS),
    content("'NULL' for NULL", "UPDATE tenants SET note = 'NULL' WHERE id = 7", TENANTS),
    content("trailing space", "UPDATE tenants SET note = note || ' ' WHERE id = 1", TENANTS),
    content("upper case in citext", "UPDATE tenants SET mail = upper(mail::text) WHERE id = 1", TENANTS),
    content("composed for decomposed letter",
            "UPDATE without_key SET b = U&'\\00e9'", "table public.without_key: content"),
    content("bytes", "UPDATE payments SET raw = set_byte(raw, 3, 255) WHERE id = 1", PAYMENTS),
    content("array's bounds", "UPDATE payments SET tags = '[0:2]={a,NULL,8}' WHERE id = 8", PAYMENTS),
    content("row in the wrong partition",
            "ALTER TABLE visits DETACH PARTITION visits_2025; INSERT INTO visits_2025 "
            "SELECT * FROM visits_2026 "
            "LIMIT 1; DELETE FROM visits_2026 WHERE (at, place) IN (SELECT at, place FROM visits_2025); "
            "ALTER TABLE visits_2025 ADD CHECK (at < '2099-01-01')",
            "visits_2025: rows", also=("definitions",)),
    content("table emptied", "TRUNCATE payments",
            "table public.payments: rows: expected 500, observed 0", widely=True),
    content("table that was empty is not", "INSERT INTO empty_one VALUES (1)", "empty_one: rows",
            also=("statistics",)),
    content("table missing", "DROP TABLE without_key",
            "table public.without_key: existence: expected 9 rows, observed missing",
            also=("definitions",), widely=True),
    content("empty table missing", "DROP TABLE empty_one", "table public.empty_one: existence",
            also=("definitions",)),
    content("table added", "CREATE TABLE stranger ()", "table public.stranger: existence",
            also=("definitions",)),
    content("partition lost", "DROP TABLE visits_2026", "visits_2026: existence", also=("definitions",)),
    content("table renamed", "ALTER TABLE without_key RENAME TO renamed", "without_key: existence",
            also=("definitions",)),
    content("rows renumbered", "UPDATE payments SET id = id + 1000 WHERE id < 3", PAYMENTS, also=("sequences",
            )),
)  # fmt: skip

LARGE = (
    Mutation("large object changed", "restored", "SELECT lo_put(70001, 1, '\\xee')", "large-objects",
             "content"),
    Mutation("large object truncated", "restored",
             "DO $$ BEGIN PERFORM lo_truncate(lo_open(70001, 131072), 2); END $$", "large-objects",
             "content|bytes"),
    Mutation("large object lost", "restored", "SELECT lo_unlink(70001)", "large-objects",
             "expected 2, observed 1", also=("definitions",), widely=True),
    Mutation("large object renumbered", "restored", "SELECT lo_unlink(70002), lo_from_bytea(70003, '\\xff')",
             "large-objects", "content", also=("definitions",)),
)  # fmt: skip

STRUCTURE = (
    structure("constraint lost", "ALTER TABLE payments DROP CONSTRAINT rate_sane", "rate_sane.*missing",
              widely=True),
    structure("constraint changed",
              "ALTER TABLE payments DROP CONSTRAINT rate_sane, ADD CONSTRAINT rate_sane CHECK (rate < 101)",
              "rate_sane.*differs"),
    structure("primary key lost",
              "ALTER TABLE counted ALTER id DROP IDENTITY; ALTER TABLE payments DROP CONSTRAINT "
              "payments_pkey", "payments_pkey.*missing", also=("sequences",)),
    structure("foreign key lost", "ALTER TABLE payments DROP CONSTRAINT payments_tenant_fkey",
              "payments_tenant_fkey.*missing"),
    structure("not null lost", "ALTER TABLE payments ALTER tenant DROP NOT NULL",
              "payments.tenant.*not null|not_null"),
    structure("index lost", "DROP INDEX tenants_city", "index public.tenants_city: missing", widely=True),
    structure("index changed", "DROP INDEX tenants_city; CREATE INDEX tenants_city ON tenants (city)",
              "tenants_city.*differs"),
    structure("index added", "CREATE INDEX extra ON tenants (name)", "public.extra: not in the backup"),
    structure("trigger lost", "DROP TRIGGER tenants_touch ON tenants", "tenants_touch.*missing", widely=True),
    structure("trigger disabled", "ALTER TABLE tenants DISABLE TRIGGER tenants_touch",
              "tenants_touch.*enabled"),
    structure("event trigger disabled", "ALTER EVENT TRIGGER seen DISABLE", "event trigger seen: enabled"),
    structure("policy lost", "DROP POLICY only_ones ON without_key", "policy only_ones.*missing"),
    structure("policy widened", "ALTER POLICY only_ones ON without_key USING (true)",
              "policy only_ones.*differs"),
    structure("row security off", "ALTER TABLE without_key DISABLE ROW LEVEL SECURITY",
              "without_key: row security"),
    structure("grant lost", "REVOKE SELECT ON tenants FROM mut_reader", "grants table public.tenants"),
    structure("grant added", "GRANT DELETE ON tenants TO PUBLIC", "grants table public.tenants.*PUBLIC"),
    structure("column grant lost", "REVOKE UPDATE (note) ON tenants FROM mut_reader", "grants .*note"),
    structure("default privilege lost",
              "ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON TABLES FROM mut_reader",
              "default privileges.*missing"),
    structure("owner changed", "ALTER TABLE payments OWNER TO CURRENT_USER", "payments: owner", widely=True),
    structure("default changed", "ALTER TABLE tenants ALTER name SET DEFAULT 'x'",
              "tenants.name: default differs"),
    structure("default lost", "ALTER TABLE payments ALTER id DROP DEFAULT", "payments.id: default differs"),
    structure("generated column made plain", "ALTER TABLE counted ALTER twice DROP EXPRESSION",
              "counted.twice"),
    structure("comment lost", "COMMENT ON TABLE tenants IS NULL", "comment table public.tenants: missing"),
    structure("function body",
              "CREATE OR REPLACE FUNCTION rent_of(tenant int) RETURNS numeric LANGUAGE sql STABLE AS "
              "'SELECT 1000.00 + tenant'", "rent_of.*body differs"),
    structure("function's volatility", "ALTER FUNCTION rent_of(int) IMMUTABLE", "rent_of.*volatility"),
    structure("function lost", "DROP FUNCTION rent_of(int)", "rent_of.*missing"),
    structure("aggregate lost", "DROP AGGREGATE longest(int)", "longest.*missing"),
    structure("view changed",
              "CREATE OR REPLACE VIEW late AS SELECT id, name FROM tenants WHERE stage = 'paid'",
              "view public.late.*differs"),
    structure("view lost", "DROP VIEW late", "view public.late: missing"),
    structure("materialized view lost", "DROP MATERIALIZED VIEW per_city", "per_city.*missing",
              check="materialized-views", also=("definitions",)),
    structure("materialized view without data", "REFRESH MATERIALIZED VIEW per_city WITH NO DATA", "per_city",
              check="materialized-views", also=("definitions",)),
    structure("rule lost", "DROP RULE never ON without_key", "rule never on public.without_key: missing"),
    structure("partition's bounds",
              "ALTER TABLE visits DETACH PARTITION visits_2026; "
              "ALTER TABLE visits ATTACH PARTITION visits_2026 "
              "FOR VALUES FROM ('2026-01-01') TO ('2028-01-01')", "visits_2026.*differs"),
    structure("partition detached", "ALTER TABLE visits DETACH PARTITION visits_2025", "visits_2025"),
    structure("enum label added", "ALTER TYPE stage ADD VALUE 'lost'", "enum public.stage: labels"),
    structure("enum label renamed", "ALTER TYPE stage RENAME VALUE 'late' TO 'overdue'",
              "enum public.stage: labels"),
    structure("domain's rule lost", "ALTER DOMAIN amount DROP CONSTRAINT amount_check", "amount"),
    structure("column type", "ALTER TABLE empty_one ALTER a TYPE bigint", "empty_one.a: type",
              also=("fingerprint",)),
    structure("column's length", "ALTER TABLE empty_one ALTER label TYPE varchar(50)",
              "empty_one.label: type",
              also=("fingerprint",)),
    structure("column's collation", 'ALTER TABLE empty_one ALTER label TYPE varchar(40) COLLATE "POSIX"',
              "empty_one.label: collation"),
    structure("column added", "ALTER TABLE empty_one ADD b int", "empty_one.b", also=("fingerprint",)),
    structure("columns in another order",
              "ALTER TABLE empty_one ADD z int; ALTER TABLE empty_one DROP z; DROP TABLE without_key; "
              "CREATE TABLE "
              "without_key (b text, a int)", "without_key", also=("fingerprint",)),
    structure("collation lost",
              'ALTER TABLE empty_one ALTER label TYPE varchar(40) COLLATE "C";; DROP COLLATION plain_order',
              "collation public.plain_order: missing"),
    structure("publication lost", "DROP PUBLICATION tenants_out", "publication.*tenants_out: missing"),
    structure("table out of its publication", "ALTER PUBLICATION tenants_out DROP TABLE tenants",
              "publication table.*tenants.*missing"),
    structure("statistics object lost", "DROP STATISTICS tenants_stats", "tenants_stats.*missing"),
    structure("text search configuration",
              "ALTER TEXT SEARCH CONFIGURATION french_plain DROP MAPPING FOR asciiword", "french_plain"),
    structure("made unlogged", "ALTER TABLE empty_one SET UNLOGGED", "empty_one: persistence",
              also=("fingerprint",)),
    structure("schema added", "CREATE SCHEMA stranger", "schema stranger: not in the backup"),
    structure("sequence set back", "SELECT setval('receipts', 1)", "receipts: position",
              check="sequences", widely=True),
    structure("sequence lost", "DROP SEQUENCE receipts", "receipts: existence", check="sequences",
              also=("definitions",)),
    structure("sequence's increment", "ALTER SEQUENCE receipts INCREMENT 1", "receipts.*increment",
              also=("sequences",)),
    structure("sequence behind its column", "SELECT setval('payments_id_seq', 499)", "payments_id_seq",
              check="sequences"),
    structure("extension lost", "DROP EXTENSION hstore", "extension hstore: missing", check="extensions",
              also=("definitions",), widely=True),
    structure("extension's version",
              CATALOGUE + "UPDATE pg_extension SET extversion = '0.1' WHERE extname = 'hstore'",
              "extension hstore: version", check="extensions"),
    structure("foreign key not validated",
              CATALOGUE + "UPDATE pg_constraint SET convalidated = false "
              "WHERE conname = 'payments_tenant_fkey'",
              "payments_tenant_fkey.*not validated", check="constraints-validated", also=("definitions",)),
    structure("index invalid",
              CATALOGUE + "UPDATE pg_index SET indisvalid = false WHERE indexrelid "
              "= 'tenants_city'::regclass",
              "index public.tenants_city is not valid", check="indexes-valid", also=("definitions",)),
    structure("planner statistics missing", "DELETE FROM pg_statistic WHERE starelid = 'tenants'::regclass",
              "statistics missing: public.tenants", check="statistics"),
    structure("row without its parent",
              "SET session_replication_role = replica; DELETE FROM tenants WHERE id = 40",
              "public.payments payments_tenant_fkey: 1 row without a row in public.tenants",
              check="foreign-keys",
              also=("fingerprint",)),
    structure("row that its index does not hold",
              CATALOGUE + "UPDATE pg_index SET indisready = false, indisvalid = false WHERE indexrelid = "
              "'tenants_pkey'::regclass;; INSERT INTO tenants (id) VALUES (90001);; "
              + CATALOGUE + "UPDATE pg_index SET indisready = true, indisvalid = true WHERE indexrelid = "
              "'tenants_pkey'::regclass", "tenants", check="amcheck", also=("fingerprint",)),
    structure("index in the wrong order",
              CATALOGUE + "UPDATE pg_index SET indoption = '1' WHERE indexrelid = 'payments_pkey'::regclass",
              "payments_pkey.*invariant violated", check="amcheck", also=("definitions",)),
    structure("database setting lost", "ALTER DATABASE @db RESET work_mem", "database setting.*missing",
              check="globals"),
    structure("database setting changed", "ALTER DATABASE @db SET work_mem = '6MB'", "database setting",
              check="globals"),
)  # fmt: skip

SERVER = (
    server("role setting lost", "ALTER ROLE mut_reader RESET lock_timeout",
           "ALTER ROLE mut_reader SET lock_timeout = '9s'", "role setting.*missing"),
    server("role may log in no more", "ALTER ROLE mut_reader NOLOGIN", "ALTER ROLE mut_reader LOGIN",
           "role mut_reader: login"),
    server("role made superuser", "ALTER ROLE mut_reader SUPERUSER", "ALTER ROLE mut_reader NOSUPERUSER",
           "role mut_reader: superuser"),
    server("membership lost", "REVOKE mut_owner FROM mut_reader", "GRANT mut_owner TO mut_reader",
           "role membership mut_reader in mut_owner: missing"),
    server("role renamed", "ALTER ROLE mut_reader RENAME TO mut_other",
           "ALTER ROLE mut_other RENAME TO mut_reader",
           "role mut_reader: missing", also=("definitions",)),
)  # fmt: skip

RESTORED: tuple[Mutation, ...] = (*CONTENT, *LARGE, *STRUCTURE, *SERVER)
