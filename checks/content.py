"""Is it the same data? Fingerprint, large objects, sequences, critical tables, freshness."""

from __future__ import annotations

from dataclasses import replace

from psycopg import sql

from checks.database import bounded, connect, number
from pra.model import CheckResult, Status
from pra.postgres import fingerprint as fp
from pra.postgres.connect import Connection, postgres_errors
from pra.restored import RestoredDatabase
from pra.settings import Freshness
from pra.timing import format_duration

LARGE_OBJECTS = "large objects"
VIEW_DATA = "data of materialized view "  # as the restore names what it left out


def content(db: RestoredDatabase) -> list[CheckResult]:
    """Row counts and digests of every table and large object against those of the backup's snapshot.

    One reading answers three questions: tables, large objects, materialized views. The last are apart,
    since a restore recomputes them: their rows may rightly differ, their existence may not.
    """
    observed = fp.take(
        lambda: connect(db),
        depth=_depth(db),
        jobs=max(db.target.jobs, 2),
        sequences=(),
        with_definitions=False,
    )
    differences = fp.compare(db.fingerprint, observed)
    in_tables = [d for d in differences if d.object != LARGE_OBJECTS]
    in_objects = [d for d in differences if d.object == LARGE_OBJECTS]
    return [
        compared("fingerprint", tables_of(db.fingerprint), tables_of(observed), in_tables),
        compared(
            "large-objects",
            number(db.fingerprint.large_objects.count, "object"),
            number(observed.large_objects.count, "object"),
            in_objects,
        ),
        *_matviews(db, observed),
    ]


def _depth(db: RestoredDatabase) -> fp.Depth:
    return "counts" if only_counts(db) else "digest"


def only_counts(db: RestoredDatabase) -> str:
    """Why contents cannot be compared digest by digest, or an empty string."""
    if db.fingerprint.depth == "counts":
        return 'the backup recorded counts only (digest = "counts")'
    return fp.incomparable(db.fingerprint, replace(db.fingerprint, server_version_num=db.tools.major * 10000))


def tables_of(fingerprint: fp.Fingerprint) -> str:
    """``3 tables, 1,204 rows``."""
    rows = sum(table.rows for table in fingerprint.tables)
    return f"{number(len(fingerprint.tables), 'table')}, {number(rows, 'row')}"


def compared(name: str, expected: str, observed: str, differences: list[fp.Difference]) -> CheckResult:
    """Passed without differences; else failed, naming them."""
    if not differences:
        return CheckResult(name, Status.PASSED, expected, observed)
    lines = [str(difference) for difference in differences]
    what = number(len({d.object for d in differences}), "object")
    verb = "differs" if what.startswith("1 ") else "differ"
    return CheckResult(
        name, Status.FAILED, expected, f"{observed}; {what} {verb}", lines[0], details=bounded(lines)
    )


def expected_matviews(db: RestoredDatabase) -> list[fp.TableDigest]:
    """Materialized views that must be there with rows: not those that this restore could not refresh."""
    without = {*db.unrefreshed, *(name.removeprefix(VIEW_DATA).replace(" ", ".", 1) for name in db.left_out)}
    return [view for view in db.fingerprint.matviews if view.identity not in without]


def _matviews(db: RestoredDatabase, observed: fp.Fingerprint) -> list[CheckResult]:
    expected = expected_matviews(db)
    if not expected:
        return []
    names = {view.identity for view in expected}
    unexpected = {view.identity for view in db.fingerprint.matviews} - names
    seen = replace(observed, matviews=tuple(v for v in observed.matviews if v.identity not in unexpected))
    differences = fp.compare_matviews(replace(db.fingerprint, matviews=tuple(expected)), seen)
    wrong = [d for d in differences if d.aspect in ("existence", "kind")]
    views = number(len(expected), "view")
    if wrong:
        return [compared("materialized-views", views, number(len(seen.matviews), "view"), wrong)]
    return [
        CheckResult(
            "materialized-views",
            Status.PASSED,
            f"{views}, recomputed",
            f"{number(len(differences), 'view')} with other rows than before" if differences else views,
            details=bounded([str(difference) for difference in differences]),
        )
    ]


def sequences(db: RestoredDatabase) -> CheckResult:
    """Every sequence stands where it stood or further, and past its column."""
    with connect(db) as connection:
        observed = fp.read_sequences(connection)
    expected = db.fingerprint.sequences
    return compared(
        "sequences",
        f"{number(len(expected), 'sequence')} at or past the recorded values",
        number(len(observed), "sequence"),
        fp.compare_sequences(expected, observed),
    )


def critical_tables(db: RestoredDatabase) -> CheckResult:
    """The tables without which there is no business are there, and hold rows if they did."""
    recorded: dict[str, int] = {}
    for table in (*db.fingerprint.tables, *db.fingerprint.matviews):
        recorded[table.identity] = table.rows
    problems = []
    with connect(db) as connection, postgres_errors("look at critical tables"):
        for named in db.target.critical_tables:
            found = _find(connection, named)
            if found is None:
                problems.append(f"{named}: missing")
                continue
            # A partitioned table is recorded leaf by leaf: its rows are those of its leaves.
            leaves = _leaves(connection, found)
            before = sum(recorded.get(leaf, 0) for leaf in leaves)
            if before and not _has_rows(connection, found):
                problems.append(f"{named}: empty, held {number(before, 'row')}")
            elif not before and not any(leaf in recorded for leaf in leaves):
                problems.append(f"{named}: the backup recorded no such table")
    names = number(len(db.target.critical_tables), "table")
    return CheckResult(
        "critical-tables",
        Status.FAILED if problems else Status.PASSED,
        f"{names} present and not empty",
        f"{len(problems)} missing or empty" if problems else f"{names} present",
        problems[0] if problems else "",
        details=bounded(problems),
    )


def _find(connection: Connection, named: str) -> tuple[str, str] | None:
    """Schema and name of ``schema.table`` or ``table`` (public first, then the only schema that has it)."""
    schema, dot, name = named.rpartition(".")
    rows = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relname = %s AND (%s = '' OR n.nspname = %s) AND c.relkind IN ('r', 'p', 'm', 'v', 'f') "
        "AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' "
        "ORDER BY n.nspname <> 'public', 1",
        (name, dot and schema, schema),
    ).fetchall()
    return rows[0] if rows else None


def _leaves(connection: Connection, table: tuple[str, str]) -> list[str]:
    rows = connection.execute(
        "SELECT n.nspname || '.' || c.relname "
        "FROM pg_catalog.pg_partition_tree(format('%%I.%%I', %s::text, %s::text)::regclass) t "
        "JOIN pg_catalog.pg_class c ON c.oid = t.relid "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE t.isleaf",
        table,
    ).fetchall()
    return [row[0] for row in rows] or [".".join(table)]


def _has_rows(connection: Connection, table: tuple[str, str]) -> bool:
    query = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(*table))
    row = connection.execute(query).fetchone()
    return bool(row and row[0])


def freshness_name(rule: Freshness) -> str:
    return f"freshness:{rule.table}.{rule.column}"


def freshness(db: RestoredDatabase, rule: Freshness) -> CheckResult:
    """The newest value of a timestamp column is not much older than the snapshot.

    Compared with the snapshot, never with now: a backup of last month was fresh when it was taken. Values
    in the snapshot's future are left out, or one wrong date would hide that everything else has stopped.
    """
    name, limit = freshness_name(rule), rule.max_age.total_seconds()
    expected = f"at most {format_duration(limit)} before the snapshot"
    with connect(db) as connection, postgres_errors(f"read {rule.table}.{rule.column}"):
        table = _find(connection, rule.table)
        if table is None:
            return CheckResult(name, Status.FAILED, expected, "no such table", f"no such table: {rule.table}")
        connection.execute("SET TimeZone = 'UTC'")
        query = sql.SQL(
            "SELECT extract(epoch FROM {taken}::timestamptz - max({column}::timestamptz))::float8 "
            "FROM {table} WHERE {column}::timestamptz <= {taken}::timestamptz"
        ).format(
            taken=sql.Literal(db.manifest.taken_at.isoformat()),
            column=sql.Identifier(rule.column),
            table=sql.Identifier(*table),
        )
        row = connection.execute(query).fetchone()
    age = row[0] if row else None
    if age is None:
        return CheckResult(name, Status.FAILED, expected, "no value", "no row is older than the snapshot")
    fresh = age <= limit
    observed = f"{format_duration(age)} before the snapshot"
    return CheckResult(
        name, Status.PASSED if fresh else Status.FAILED, expected, observed, "" if fresh else "stale data"
    )
