"""Sessions that read exactly: one snapshot, one spelling of every value, no limit that cuts them short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from psycopg import sql

from pra.postgres.connect import Connection, postgres_errors

# What decides how a value is spelled, and what would stop or distort a long read. Everything is SET LOCAL.
PINNED = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "xmloption": "content",
    "lc_monetary": "C",
    "search_path": "",
    "row_security": "off",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "quote_all_identifiers": "off",
    "jit": "off",
}
# The rows of the heap are the truth: an index that is wrong must not answer for them. Not for catalogues,
# where lookups by index are what keeps thousands of tables quick.
HEAP_ONLY = {"enable_indexscan": "off", "enable_indexonlyscan": "off", "enable_bitmapscan": "off"}


@contextmanager
def closing(conn: Connection) -> Iterator[Connection]:
    try:
        yield conn
    finally:
        conn.close()


@contextmanager
def pinned_session(
    conn_factory: Callable[[], Connection],
    snapshot: str | None,
    lock_wait: timedelta,
    op: str,
    *,
    heap_only: bool = False,
) -> Iterator[Connection]:
    """A session inside one read-only transaction that sees ``snapshot``, with everything pinned."""
    with closing(conn_factory()) as conn, postgres_errors(op):
        conn.rollback()
        conn.autocommit = True
        conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if snapshot is not None:
            conn.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
        pin(conn, lock_wait, heap_only=heap_only)
        yield conn


def pin(conn: Connection, lock_wait: timedelta, *, heap_only: bool = False) -> None:
    """Pin everything that decides how values are spelled, until the open transaction ends."""
    pins = PINNED | {"lock_timeout": str(int(lock_wait.total_seconds() * 1000))}
    if heap_only:
        pins |= HEAP_ONLY
    if conn.info.server_version >= 170000:
        pins["transaction_timeout"] = "0"
    encoding = str(conn.info.parameter_status("server_encoding"))
    # Without conversion no byte gets lost; Latin-1 lets Python read any name of an SQL_ASCII database.
    pins["client_encoding"] = "LATIN1" if encoding == "SQL_ASCII" else "UTF8"
    settings = (
        sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in pins.items()
    )
    conn.execute(sql.SQL("; ").join(settings))
