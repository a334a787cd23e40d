"""Each check passes on an intact copy of AKIG's database, and is seen to fail by its own damage."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from checks import Checks
from checks.plan import plan, required, run_all
from pra.model import CheckResult, Status, Verdict, verdict_of
from pra.postgres.connect import Server
from pra.postgres.facts import Definition
from pra.restored import RestoredDatabase
from pra.settings import Freshness
from tests.fix_akig import Akig, earlier, manifest, target
from tests.fix_cluster import Cluster

CRITICAL = ["users", "properties", "contracts", "payments", "invoices", "audit.audit_log"]
FRESH = Freshness(table="payments", column="received_at", max_age=timedelta(days=60))


def ask(name: str, db: RestoredDatabase) -> dict[str, CheckResult]:
    return {result.name: result for result in Checks().run(name, db)}


def complaint(result: CheckResult) -> str:
    return "\n".join((result.observed, result.reason, *result.details))


@pytest.fixture
def generated(cluster: Cluster, make_akig: Callable[[Cluster], Akig]) -> Akig:
    """On both majors."""
    return make_akig(cluster)


def test_an_intact_copy_passes_every_check(generated: Akig) -> None:
    akig = generated
    asked = target(critical_tables=CRITICAL, freshness=[FRESH], suites=["akig"])
    history = earlier(akig.fingerprint, manifest(akig.fingerprint).tables)
    with akig.restored(target=asked, earlier=history) as db:
        results = run_all(db)
        assert [r for r in results if r.status not in (Status.PASSED, Status.NOT_APPLICABLE)] == []
        assert verdict_of(results, required=required(plan(db))) is Verdict.PASS
    assert {r.name for r in results if r.status is Status.NOT_APPLICABLE} == {"service"}
    assert all(r.expected and r.observed for r in results if r.status is Status.PASSED)


NO_TRIGGERS = "SET session_replication_role = replica"
# name, damage, check (and which of its results), complaint
SABOTAGES = (
    ("row changed", "fingerprint",
     "UPDATE vendors SET phone = '0' WHERE id = 7",
     "table public.vendors: content"),
    ("row lost", "fingerprint",
     "DELETE FROM sessions WHERE id = (SELECT min(id::text)::uuid FROM sessions)",
     "table public.sessions: rows: expected 738, observed 737"),
    ("row doubled", "fingerprint",
     "INSERT INTO ticket_comments SELECT 10 ^ 9, ticket_id, author_id, body, written_at FROM "
     "ticket_comments LIMIT 1",
     "table public.ticket_comments: rows"),
    ("two rows' values swapped", "fingerprint",
     "UPDATE vendors v SET phone = o.phone FROM vendors o WHERE (v.id, o.id) IN ((1, 2), (2, 1))",
     "public.vendors: content"),
    ("scale of a number in JSON", "fingerprint",
     """UPDATE app_settings SET value = '{"enabled": false, "level": 1.0}' WHERE key = 'feature.1'""",
     "public.app_settings: content"),
    ("table emptied", "fingerprint",
     "TRUNCATE visits",
     "public.visits: rows: expected 249"),
    ("partition lost", "fingerprint",
     "DROP TABLE audit.audit_log_2024",
     "table audit.audit_log_2024: existence"),
    ("table added", "fingerprint",
     "CREATE TABLE extra ()",
     "table public.extra: existence"),
    ("large object changed", "fingerprint>large-objects",
     "SELECT lo_put(800001, 5, 'x')",
     "content"),
    ("large object lost", "fingerprint>large-objects",
     "SELECT lo_unlink(800001)",
     "expected 8, observed 7"),
    ("materialized view lost", "fingerprint>materialized-views",
     "DROP MATERIALIZED VIEW monthly_revenue",
     "missing"),
    ("materialized view empty", "fingerprint>materialized-views",
     "REFRESH MATERIALIZED VIEW monthly_revenue WITH NO DATA",
     "matview-unpopulated"),
    ("sequence set back", "sequences",
     "SELECT setval('payments_id_seq', 3)",
     "sequence public.payments_id_seq: position"),
    ("sequence lost", "sequences",
     "DROP SEQUENCE receipt_numbers",
     "receipt_numbers: existence: expected present, observed missing"),
    ("trigger lost", "definitions",
     "DROP TRIGGER contracts_audit ON contracts",
     "trigger contracts_audit on public.contracts: missing"),
    ("trigger disabled", "definitions",
     "ALTER TABLE users DISABLE TRIGGER users_touch",
     "users_touch.*enabled"),
    ("function body", "definitions",
     "CREATE OR REPLACE FUNCTION contract_balance(contract bigint) RETURNS numeric STABLE "
     "LANGUAGE sql AS 'SELECT 0::numeric'",
     "contract_balance.*body differs"),
    ("view lost", "definitions",
     "DROP VIEW overdue_invoices",
     "view public.overdue_invoices: missing"),
    ("index lost", "definitions",
     "DROP INDEX invoices_unpaid",
     "index public.invoices_unpaid: missing"),
    ("constraint lost", "definitions",
     "ALTER TABLE contracts DROP CONSTRAINT rent_positive",
     "rent_positive.*missing"),
    ("default changed", "definitions",
     "ALTER TABLE users ALTER locale SET DEFAULT 'en'",
     "column public.users.locale: default differs"),
    ("comment changed", "definitions",
     "COMMENT ON TABLE payments IS 'other'",
     "comment table"),
    ("grant added", "definitions",
     "GRANT SELECT ON users TO PUBLIC",
     "grants .*public.users"),
    ("enum label added", "definitions",
     "ALTER TYPE ticket_status ADD VALUE 'lost'",
     "ticket_status"),
    ("row security on", "definitions",
     "ALTER TABLE messages ENABLE ROW LEVEL SECURITY",
     "public.messages: row security"),
    ("extension version", "definitions>extensions",
     "UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'btree_gist'",
     "extension btree_gist: version: expected 1.*observed 0.9"),
    ("index invalid", "indexes-valid",
     "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_pkey'::regclass",
     "index public.users_pkey is not valid"),
    ("constraint unvalidated", "constraints-validated",
     "UPDATE pg_constraint SET convalidated = false WHERE conname = 'rent_positive'",
     "rent_positive.* is not validated"),
    ("parent row lost", "foreign-keys",
     f"{NO_TRIGGERS}; DELETE FROM contracts WHERE id = 5",
     "public.invoices invoices_contract_id_fkey: .* rows without a row in public.contracts"),
    ("parent row of a partitioned table lost", "foreign-keys",
     f"{NO_TRIGGERS}; DELETE FROM users WHERE id = 100",
     "audit.audit_log audit_log_user_id_fkey"),
    ("statistics of one table missing", "statistics",
     "DELETE FROM pg_statistic WHERE starelid = 'users'::regclass",
     "statistics missing: public.users"),
    ("critical table emptied", "critical-tables",
     "TRUNCATE payments CASCADE",
     "payments: empty, held 5,775 rows"),
    ("critical table emptied, partitioned", "critical-tables",
     "TRUNCATE audit.audit_log",
     "audit.audit_log: empty"),
    ("critical table lost", "critical-tables",
     "DROP TABLE properties CASCADE",
     "properties: missing"),
    ("data stale", "freshness:payments.received_at",
     "UPDATE payments SET received_at = received_at - interval '1 year'",
     "stale data"),
    ("data stale behind one date in the future", "freshness:payments.received_at",
     "UPDATE payments SET received_at = CASE WHEN id = 1 THEN '2100-01-01' ELSE received_at - "
     "interval '1 year' END",
     "stale data"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("check", "damage", "says"), [pytest.param(*row[1:], id=row[0]) for row in SABOTAGES]
)
def test_damage_is_found_by_its_own_check(akig: Akig, check: str, damage: str, says: str) -> None:
    asked = target(critical_tables=CRITICAL, freshness=[FRESH])
    with akig.restored("SET allow_system_table_mods = on; " + damage, target=asked) as db:
        name, _, result = check.partition(">")
        found = ask(name, db)[result or name]
    assert found.status is Status.FAILED
    assert re.search(says, complaint(found)), complaint(found)


def test_a_corrupted_index_page_is_found(akig: Akig) -> None:
    with akig.restored() as db:
        path = _file_of(akig, db, "payments_pkey")
        with path.open("r+b") as file:
            file.seek(8192 * 3 + 4000)
            file.write(b"\xff" * 64)
        found = ask("amcheck", db)["amcheck"]
    assert found.status is Status.FAILED
    assert "payments_pkey" in complaint(found)


def test_a_row_that_its_index_does_not_hold_is_found(akig: Akig) -> None:
    """The page is whole and its checksum right: only heapallindexed sees this."""
    ready = "SET allow_system_table_mods = on; UPDATE pg_index SET indisready = {}, indisvalid = {} " \
            "WHERE indexrelid = 'vendors_pkey'::regclass"  # fmt: skip
    row = "INSERT INTO vendors VALUES (100000, 'x', 'y')"
    with akig.restored(ready.format("false", "false"), row, ready.format("true", "true")) as db:
        found = ask("amcheck", db)["amcheck"]
    assert found.status is Status.FAILED
    assert re.search("vendors_pkey|public.vendors", complaint(found))
    assert "lacks matching index tuple" in complaint(found)


def test_amcheck_leaves_nothing_behind_outside_a_sandbox(akig: Akig) -> None:
    with akig.restored(sandboxed=False) as db:
        assert ask("amcheck", db)["amcheck"].status is Status.PASSED
        with db.server.connect() as connection:
            rows = connection.execute("SELECT extname FROM pg_extension").fetchall()
    assert ("amcheck",) not in rows


def test_amcheck_in_a_sandbox_is_no_difference_of_definitions(akig: Akig) -> None:
    with akig.restored("CREATE EXTENSION amcheck") as db:
        assert {r.status for r in ask("definitions", db).values()} == {Status.PASSED}


def test_a_role_that_is_missing_is_named(akig: Akig) -> None:
    ghost = Definition("role", "ghost", '{"login": true}')
    recorded = replace(akig.fingerprint, definitions=(*akig.fingerprint.definitions, ghost))
    with akig.restored(fingerprint=recorded) as db:
        found = ask("definitions", db)
    assert found["globals"].status is Status.FAILED
    assert "role ghost: missing" in complaint(found["globals"])
    assert found["definitions"].status is Status.PASSED


def test_a_database_setting_that_appeared_is_named(akig: Akig) -> None:
    with akig.restored() as db:
        akig.cluster.execute("postgres", f"ALTER DATABASE {db.server.database} SET work_mem = '1MB'")
        found = ask("definitions", db)["globals"]
    assert found.status is Status.FAILED
    assert "database setting" in complaint(found)


def test_an_index_sorted_by_another_library_is_found(pg15: Cluster, akig: Akig) -> None:
    name = pg15.createdb()
    pg15.execute(
        name,
        "CREATE COLLATION french (provider = icu, locale = 'fr')",
        "UPDATE pg_collation SET collversion = '1.0' WHERE collname = 'french'",
    )
    try:
        with akig.restored(server=Server.parse(pg15.dsn(name))) as db:
            found = ask("definitions", db)["collations"]
    finally:
        pg15.dropdb(name)
    assert found.status is Status.FAILED
    assert "french: built with 1.0" in complaint(found)


def test_an_extension_that_is_missing_is_named(akig: Akig) -> None:
    with akig.restored("DROP EXTENSION btree_gist CASCADE") as db:
        found = ask("definitions", db)["extensions"]
    assert (found.status, "extension btree_gist: missing" in complaint(found)) == (Status.FAILED, True)


def test_counts_alone_do_not_see_a_changed_row_and_the_plan_says_so(akig: Akig) -> None:
    """What "counts" cannot promise is in the verdict, by name."""
    tables = tuple(replace(table, digest=None) for table in akig.fingerprint.tables)
    recorded = replace(akig.fingerprint, depth="counts", tables=tables)
    with akig.restored("UPDATE vendors SET phone = '0'", fingerprint=recorded) as db:
        assert ask("fingerprint", db)["fingerprint"].status is Status.PASSED
        assert "digests" in {result.name for result in Checks().ruled_out(db)}


def test_a_vanished_table_makes_the_verdict_partial(akig: Akig) -> None:
    tables = manifest(akig.fingerprint).tables
    history = earlier(akig.fingerprint, [*tables, tables[0].model_copy(update={"name": "public.gone"})])
    with akig.restored(earlier=history) as db:
        found = ask("continuity", db)["continuity"]
    assert found.status is Status.SKIPPED
    assert "public.gone: vanished" in complaint(found)


def test_a_dropped_partition_is_rotation(akig: Akig) -> None:
    tables = manifest(akig.fingerprint).tables
    leaf = next(table for table in tables if table.name == "audit.audit_log_2024")
    history = earlier(akig.fingerprint, [*tables, leaf.model_copy(update={"name": "audit.audit_log_2022"})])
    with akig.restored(earlier=history) as db:
        assert ask("continuity", db)["continuity"].status is Status.PASSED


@pytest.mark.parametrize("field", ["gaps", "warnings"])
def test_what_the_backup_could_not_see_makes_the_verdict_partial(akig: Akig, field: str) -> None:
    recorded = manifest(akig.fingerprint, **{field: ("large object 17 cannot be read",)})
    with akig.restored(manifest=recorded) as db:
        found = ask(field, db)[field]
        assert found.status is Status.SKIPPED
        assert "large object 17" in complaint(found)


def test_a_question_that_cannot_be_asked_is_skipped_never_passed(akig: Akig) -> None:
    with akig.restored() as db:
        lost = replace(db, server=db.server.with_database("no_such_database"))
        for name in Checks().names(lost):
            results = Checks().run(name, lost)
            if name in ("gaps", "warnings"):
                continue  # they ask the manifest
            assert {result.status for result in results} == {Status.SKIPPED}, name
            assert all(result.reason for result in results), name


def test_a_weak_role_is_told_why_its_checks_were_skipped(akig: Akig) -> None:
    akig.cluster.execute("postgres", "DROP ROLE IF EXISTS weak", "CREATE ROLE weak LOGIN")
    with akig.restored(sandboxed=False) as db:
        weak = replace(db, server=Server.parse(akig.cluster.dsn(db.server.database, "weak")))
        assert "amcheck" in {result.name for result in Checks().ruled_out(weak)}
        found = ask("foreign-keys", weak)["foreign-keys"]
    assert found.status is Status.SKIPPED
    assert "permission denied" in found.reason


def test_no_check_changes_the_database(akig: Akig) -> None:
    with akig.restored(sandboxed=False) as db:
        run_all(db)
        assert ask("fingerprint", db)["fingerprint"].status is Status.PASSED
        assert ask("definitions", db)["definitions"].status is Status.PASSED


def _file_of(akig: Akig, db: RestoredDatabase, relation: str) -> Path:
    with psycopg.connect(db.server.dsn) as connection:
        row = connection.execute("SELECT pg_relation_filepath(%s::regclass)", (relation,)).fetchone()
    assert row is not None
    return akig.cluster.pgdata / str(row[0])
