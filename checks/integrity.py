"""Does it hold together? B-trees and heaps (amcheck), foreign keys, planner statistics."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from psycopg import conninfo, sql

from checks.database import bounded, connect, number
from pra.errors import ToolError, ToolTimeout
from pra.model import CheckResult, Status
from pra.postgres.connect import Connection, Server, postgres_errors
from pra.redact import redact
from pra.restored import RestoredDatabase

AMCHECK_SECONDS = 4 * 3600
_FINDING = re.compile(r'^(?:btree index|heap table|toast.*table|gin index) "')
_ENVIRONMENT = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "passfile": "PGPASSFILE",
    "channel_binding": "PGCHANNELBINDING",
}


def amcheck(db: RestoredDatabase) -> CheckResult:
    """``pg_amcheck`` over every heap and B-tree: order, parents, and that every row is in every index.

    Of a base backup, in every database of the server: they all came along.

    ``--install-missing`` puts the extension into the restored database; outside a sandbox it is taken out
    again. ``definitions`` and ``extensions`` know of it.
    """
    servers = _databases(db)
    without = [server for server in servers if not _has_amcheck(server)]
    indexes = sum(_count(server, "i") for server in servers)
    findings, code, words = _run_amcheck(db)
    for server in () if db.sandboxed else without:
        with server.connect() as connection, postgres_errors("drop extension amcheck"):
            connection.execute("SET session_replication_role = replica")
            connection.execute("DROP EXTENSION IF EXISTS amcheck")
    expected = f"{number(indexes, 'index')} and their tables without corruption"
    if len(servers) > 1:
        expected = f"in {len(servers)} databases, {expected}"
    if code not in (0, 2) or (code == 2 and not findings):
        raise ToolError(f"pg_amcheck exited with {code}: {words[:300]}", op="check indexes", stderr=words)
    if not findings:
        return CheckResult("amcheck", Status.PASSED, expected, "no corruption found")
    return CheckResult(
        "amcheck",
        Status.FAILED,
        expected,
        f"{number(len(findings), 'finding')}",
        findings[0],
        details=bounded(findings),
    )


def _run_amcheck(db: RestoredDatabase) -> tuple[list[str], int, str]:
    words = db.server.words()
    env = {variable: words[word] for word, variable in _ENVIRONMENT.items() if word in words}
    argv = [
        db.tools.path("pg_amcheck"),
        "--heapallindexed",
        "--parent-check",
        "--install-missing",
        "--no-password",
        f"--jobs={max(db.target.jobs, 2)}",
        # As a connection string: a bare name may look like an option or an address.
        *(
            ("--all",)
            if db.recovered is not None
            else (conninfo.make_conninfo("", dbname=db.server.database),)
        ),
    ]
    # Exit status 2 means that it found something and said what on stdout, which Scope.run() would drop.
    process = db.scope.start(
        argv,
        op="check indexes",
        # Installing the extension is DDL, which would run the restored database's own event triggers.
        env={
            **env,
            **db.tools.env(),
            **db.server.tool_env(),
            "PGOPTIONS": "-c session_replication_role=replica",
        },
        secrets=db.server.secrets,
    )
    try:
        code = process.popen.wait(AMCHECK_SECONDS)
        return findings_of(process.stdout()), code, process.stderr()
    except subprocess.TimeoutExpired:
        raise ToolTimeout(f"pg_amcheck took longer than {AMCHECK_SECONDS} s", op="check indexes") from None
    finally:
        process.end()
        db.scope.forget(process)


def findings_of(stdout: str) -> list[str]:
    """One line for each finding: what is damaged, and the server's primary message.

    pg_amcheck writes a head (``btree index "db.schema.index":``) and indented lines below it, of which
    DETAIL and CONTEXT may hold values.
    """
    found: list[str] = []
    for line in redact(stdout).splitlines():
        if _FINDING.match(line):
            found.append(line.strip())
        elif found and line.startswith(" ") and ": " not in found[-1]:
            found[-1] = f"{found[-1].rstrip(':')}: {line.strip().removeprefix('ERROR:').strip()}"
    return found


def _databases(db: RestoredDatabase) -> list[Server]:
    """Where pg_amcheck looks."""
    if db.recovered is None:
        return [db.server]
    with connect(db) as connection:
        names = connection.execute(
            "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn ORDER BY 1"
        ).fetchall()
    return [db.server.with_database(name) for (name,) in names]


def _has_amcheck(server: Server) -> bool:
    with server.connect() as connection:
        row = connection.execute("SELECT FROM pg_catalog.pg_extension WHERE extname = 'amcheck'").fetchone()
    return row is not None


def _count(server: Server, relkind: str) -> int:
    with server.connect() as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_catalog.pg_class c "
            "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "WHERE relkind = %s AND nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')",
            (relkind,),
        ).fetchone()
    return int(row[0]) if row else 0


@dataclass(frozen=True)
class ForeignKey:
    """One constraint, with what its anti-join needs. ``operators`` compare key to reference, one a column."""

    name: str
    table: tuple[str, str]
    columns: tuple[str, ...]
    target: tuple[str, str]
    keys: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]
    full: bool
    parted: bool
    target_parted: bool


_FOREIGN_KEYS = """
SELECT k.conname, n.nspname, c.relname, rn.nspname, r.relname,
       k.confmatchtype = 'f', c.relkind = 'p', r.relkind = 'p',
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(num, ord)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.ord),
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(num, ord)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY u.ord),
       ARRAY(SELECT s.nspname::text FROM unnest(k.conpfeqop) WITH ORDINALITY u(op, ord)
             JOIN pg_catalog.pg_operator o ON o.oid = u.op
             JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace ORDER BY u.ord),
       ARRAY(SELECT o.oprname::text FROM unnest(k.conpfeqop) WITH ORDINALITY u(op, ord)
             JOIN pg_catalog.pg_operator o ON o.oid = u.op ORDER BY u.ord)
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class r ON r.oid = k.confrelid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
 WHERE k.contype = 'f' AND k.convalidated AND k.conparentid = 0
   AND NOT coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false)
   AND coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true)
 ORDER BY pg_catalog.pg_relation_size(c.oid) DESC, 1
"""


def foreign_keys(db: RestoredDatabase) -> CheckResult:
    """Every validated foreign key holds: no row refers to one that is not there.

    Asked of the rows alone (no index scan), as triggers and indexes are what may be wrong. Keys that were
    NOT VALID or not enforced promise nothing; temporal keys (PERIOD, 18) are not asked.
    """
    with connect(db) as connection, postgres_errors("list foreign keys"):
        keys = [_foreign_key(row) for row in connection.execute(_FOREIGN_KEYS)]
    share = max(1, min(max(db.target.jobs, 2), len(keys)))
    with ThreadPoolExecutor(share, thread_name_prefix="foreign-keys") as pool:
        lots = pool.map(lambda part: _violations(db, part), [keys[i::share] for i in range(share)])
        broken = sorted(line for lot in lots for line in lot)
    expected = f"{number(len(keys), 'foreign key')} hold"
    if not broken:
        return CheckResult("foreign-keys", Status.PASSED, expected, expected)
    observed = f"{len(broken)} broken"
    return CheckResult("foreign-keys", Status.FAILED, expected, observed, broken[0], details=bounded(broken))


def _foreign_key(row: Sequence[Any]) -> ForeignKey:
    name, schema, table, target_schema, target, full, parted, target_parted, columns, keys, *operators = row
    return ForeignKey(
        name,
        (schema, table),
        tuple(columns),
        (target_schema, target),
        tuple(keys),
        tuple(zip(*operators, strict=True)),
        full,
        parted,
        target_parted,
    )


def _violations(db: RestoredDatabase, keys: Sequence[ForeignKey]) -> list[str]:
    broken = []
    with connect(db) as connection, postgres_errors("check foreign keys"):
        connection.execute("SET row_security = off")
        for setting in ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan"):
            connection.execute(sql.SQL("SET {} = off").format(sql.Identifier(setting)))
        for key in keys:
            row = connection.execute(anti_join(key)).fetchone()
            if row and row[0]:
                where, target = ".".join(key.table), ".".join(key.target)
                broken.append(f"{where} {key.name}: {number(row[0], 'row')} without a row in {target}")
    return broken


def anti_join(key: ForeignKey) -> sql.Composed:
    """Count the rows that break a key; what RI_Initial_Check asks, with a count in place of the first row.

    MATCH SIMPLE: a row with any null refers to nothing. MATCH FULL: all null, or none.
    """
    columns = [sql.SQL("f.{}").format(sql.Identifier(name)) for name in key.columns]
    nulls = " OR " if key.full else " AND "
    given = sql.SQL(nulls).join(sql.SQL("{} IS NOT NULL").format(column) for column in columns)
    pairs = zip(key.keys, key.operators, columns, strict=True)
    matches = sql.SQL(" AND ").join(
        sql.SQL("p.{} OPERATOR({}.{}) {}").format(
            sql.Identifier(own), sql.Identifier(space), sql.SQL(name), column
        )
        for own, (space, name), column in pairs
    )
    return sql.SQL(
        "SELECT count(*) FROM {}{} f WHERE ({}) AND NOT EXISTS (SELECT FROM {}{} p WHERE {})"
    ).format(
        sql.SQL("" if key.parted else "ONLY "),
        sql.Identifier(*key.table),
        given,
        sql.SQL("" if key.target_parted else "ONLY "),
        sql.Identifier(*key.target),
        matches,
    )


_WITHOUT_STATISTICS = """
SELECT n.nspname, c.relname
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
   AND n.nspname <> 'information_schema' AND pg_catalog.pg_relation_size(c.oid) > 0
   AND EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
               AND NOT a.attisdropped AND a.attstattarget IS DISTINCT FROM 0 AND a.attgenerated <> 'v')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_stats s
                   WHERE s.schemaname = n.nspname AND s.tablename = c.relname)
 ORDER BY 1, 2
"""


def statistics(db: RestoredDatabase) -> CheckResult:
    """Every table that holds rows has planner statistics: without them the service answers, slowly."""
    with connect(db) as connection, postgres_errors("look for statistics"):
        suspects = connection.execute(_WITHOUT_STATISTICS).fetchall()
        missing = [".".join(table) for table in suspects if _holds_rows(connection, table)]
    expected = "statistics for every table that holds rows"
    if not missing:
        return CheckResult("statistics", Status.PASSED, expected, expected)
    observed = f"missing for {number(len(missing), 'table')}"
    return CheckResult(
        "statistics",
        Status.FAILED,
        expected,
        observed,
        f"statistics missing: {missing[0]}",
        details=bounded(missing),
    )


def _holds_rows(connection: Connection, table: tuple[str, str]) -> bool:
    query = sql.SQL("SELECT EXISTS (SELECT FROM ONLY {})").format(sql.Identifier(*table))
    row = connection.execute(query).fetchone()
    return bool(row and row[0])
