"""A seeded database in the shape of AKIG's: about thirty related tables of a property manager.

Rows are made inside the server from hashes of (row number, seed), so the same seed, size and moment
give the same rows on every major, and every rule of ``checks/suites/akig.yaml`` holds by construction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files

import psycopg

DEFAULT_UNTIL = datetime(2026, 11, 1, tzinfo=UTC)
_EMPTY_MEGABYTES = 11.5  # an empty database (7.5) and the parts that do not grow
_CONTRACTS_PER_MEGABYTE = 29.0
_PARAMETER = re.compile(r"(?<![:\w]):([a-z]+)\b")


@dataclass(frozen=True)
class Summary:
    """What was made.

    ``tables`` counts ordinary tables, leaf partitions among them; ``rows`` is counted by ANALYZE;
    ``bytes`` is the database's size.
    """

    tables: int
    rows: int
    bytes: int


def create(
    conn: psycopg.Connection,
    *,
    megabytes: int = 300,
    seed: int = 1,
    until: datetime = DEFAULT_UNTIL,
) -> Summary:
    """Fill an empty database, in one transaction.

    Args:
        conn: A connection to it, outside a transaction, as a role that may create schemas and
            trusted extensions.
        megabytes: Size of the database when done (10^6 bytes), within 15 %; at least 15.
        seed: Another seed gives other rows of the same shape.
        until: The latest moment in the data; pass the present to make the data look alive.

    Raises:
        psycopg.Error: The database is not empty, or the role may not create there.
    """
    contracts = max(50, round((megabytes - _EMPTY_MEGABYTES) * _CONTRACTS_PER_MEGABYTE))
    parameters = {
        "seed": seed,
        "until": int(until.timestamp()),
        "contracts": contracts,
        "scans": max(8, min(400, contracts // 40)),
    }
    with conn.transaction():
        # A session's own settings: a default time zone or search path must not change the rows.
        conn.execute("SET LOCAL TimeZone = 'UTC'")
        conn.execute("SET LOCAL search_path = public")
        conn.execute("SET LOCAL synchronous_commit = off")
        conn.execute("SET LOCAL maintenance_work_mem = '128MB'")
        for name in ("schema", "words"):
            _run(conn, name, parameters)
        _partitions(conn, until)
        _run(conn, "rows", parameters)
        _run(conn, "finish", parameters)
        _advance_sequences(conn)
        conn.execute("ANALYZE")
    return _summary(conn)


def _run(conn: psycopg.Connection, name: str, parameters: dict[str, int]) -> None:
    text = (files(__package__) / f"akig_{name}.sql").read_text(encoding="utf-8")
    filled = _PARAMETER.sub(lambda m: str(parameters[m[1]]) if m[1] in parameters else m[0], text)
    conn.execute(filled.encode())


def _partitions(conn: psycopg.Connection, until: datetime) -> None:
    """One partition a year, and a default for what comes later."""
    for year in range(until.year - 3, until.year + 1):
        conn.execute(
            f"CREATE TABLE audit.audit_log_{year} PARTITION OF audit.audit_log "
            f"FOR VALUES FROM ('{year}-01-01 00:00+00') TO ('{year + 1}-01-01 00:00+00')".encode()
        )
    conn.execute("CREATE TABLE audit.audit_log_later PARTITION OF audit.audit_log DEFAULT")


def _advance_sequences(conn: psycopg.Connection) -> None:
    """Rows carry explicit ids: put each identity's sequence past its column, as an application would have."""
    owned = conn.execute(
        """
        SELECT s.oid::regclass::text, t.oid::regclass::text, quote_ident(a.attname)
          FROM pg_class s
          JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid AND d.deptype = 'i'
          JOIN pg_class t ON t.oid = d.refobjid
          JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
         WHERE s.relkind = 'S'
        """
    ).fetchall()
    for sequence, table, column in owned:
        past = f"coalesce((SELECT max({column}) FROM {table}), 0) + 1"
        conn.execute(f"SELECT setval('{sequence}', {past}, false)".encode())
    conn.execute("SELECT setval('receipt_numbers', (SELECT max(receipt) + 1 FROM payments), false)")


def _summary(conn: psycopg.Connection) -> Summary:
    row = conn.execute(
        """
        SELECT count(*), sum(reltuples)::bigint, pg_database_size(current_database())
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE relkind = 'r' AND nspname IN ('public', 'audit')
        """
    ).fetchone()
    assert row is not None
    return Summary(tables=row[0], rows=row[1], bytes=row[2])
