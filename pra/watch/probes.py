"""Status checks of one database: does it answer, are its tables, values, pages and roles what they were?

Each asks one question under its own limits, and returns what is wrong as one lowercase fact; None is well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from pra.errors import ConnectError, PraError
from pra.postgres.connect import Connection, Server, first_line, postgres_errors

STATEMENT_SECONDS = 30
CLIFF = 0.5
"""A table that has lost more than this part of its rows was emptied, not tidied."""
_FACTOR = 10
_NUMERIC = """
SELECT a.attname::text FROM pg_attribute a
 WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
   AND a.atttypid IN ('int4'::regtype, 'int8'::regtype, 'numeric'::regtype, 'float8'::regtype)
   AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND a.attnum = ANY (i.indkey))
   AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = a.attrelid AND c.contype = 'f'
                    AND a.attnum = ANY (c.conkey))
"""


@dataclass(frozen=True)
class Baseline:
    """How the database was when all was well.

    Attributes:
        rows: By table (``schema.name``). largest: By table and column, the largest absolute value.
        roles: Who may log in; superusers with a ``*`` before the name.
    """

    rows: Mapping[str, int]
    largest: Mapping[tuple[str, str], float] = field(default_factory=dict)
    roles: frozenset[str] = frozenset()


def read_baseline(server: Server, tables: Sequence[str]) -> Baseline:
    """Read it. Raises PostgresError, ConnectError."""
    rows: dict[str, int] = {}
    largest: dict[tuple[str, str], float] = {}
    with server.connect(statement_seconds=STATEMENT_SECONDS) as connection, postgres_errors("read baseline"):
        for table in tables:
            columns = [str(row[0]) for row in connection.execute(_NUMERIC, (quoted(table),)).fetchall()]
            found = _one_pass(connection, table, columns)
            rows[table] = int(found[0] or 0)
            largest |= {
                (table, column): float(value)
                for column, value in zip(columns, found[1:], strict=True)
                if value is not None
            }
        return Baseline(rows, largest, _roles(connection))


def _one_pass(connection: Connection, table: str, columns: Sequence[str]) -> Sequence[float | int | None]:
    wanted = [sql.SQL("count(*)")]
    wanted += [sql.SQL("max(abs({}))::float8").format(sql.Identifier(column)) for column in columns]  # type: ignore[misc]
    query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(wanted), _identifier(table))
    return connection.execute(query).fetchone() or ()


def database_answers(server: Server) -> str | None:
    try:
        with server.connect(statement_seconds=5) as connection:
            connection.execute("SELECT 1")
    except ConnectError as error:
        return f"the database does not answer: {error.message}"
    except psycopg.Error as error:
        return f"the database does not answer: {first_line(error)}"
    return None


def tables_are_there(server: Server, baseline: Baseline) -> str | None:
    """Present, readable, and not emptied."""
    with server.connect(statement_seconds=STATEMENT_SECONDS) as connection:
        for table, before in baseline.rows.items():
            try:
                row = connection.execute(
                    sql.SQL("SELECT count(*) FROM {}").format(_identifier(table))
                ).fetchone()
            except psycopg.errors.UndefinedTable:
                return f"critical table {table} is gone"
            except psycopg.errors.DataCorrupted:
                return f"critical table {table} cannot be read: its pages are damaged"
            except psycopg.Error as error:
                return f"critical table {table} cannot be read: {first_line(error)}"
            now = int(row[0]) if row else 0
            if before and now < before * CLIFF:
                return f"critical table {table} holds {now} rows and held {before}"
    return None


def values_are_plausible(server: Server, baseline: Baseline) -> str | None:
    """No number is ten times larger than any there was."""
    with server.connect(statement_seconds=STATEMENT_SECONDS) as connection:
        for table in baseline.rows:
            columns = [column for other, column in baseline.largest if other == table]
            try:
                found = _one_pass(connection, table, columns)
            except psycopg.Error as error:
                return f"critical table {table} cannot be read: {first_line(error)}"
            for column, now in zip(columns, found[1:], strict=True):
                before = baseline.largest[table, column]
                if now is not None and float(now) > max(before, 1.0) * _FACTOR:
                    return f"{table}.{column} holds a value ten times larger than any before"
    return None


def roles_are_known(server: Server, baseline: Baseline) -> str | None:
    with server.connect(statement_seconds=STATEMENT_SECONDS) as connection, postgres_errors("read roles"):
        unknown = sorted(_roles(connection) - baseline.roles)
    if not unknown:
        return None
    name = unknown[0]
    return f"unknown superuser {name[1:]}" if name.startswith("*") else f"unknown role {name} may log in"


def ask(question: str, server: Server, baseline: Baseline) -> str | None:
    """One of the questions by name; a database that cannot be asked is not well either."""
    if wrong := database_answers(server):
        return wrong
    try:
        if question == "tables":
            return tables_are_there(server, baseline)
        if question == "values":
            return values_are_plausible(server, baseline)
        if question == "roles":
            return roles_are_known(server, baseline)
    except PraError as error:
        return error.message
    return None


def _roles(connection: Connection) -> frozenset[str]:
    rows = connection.execute(
        "SELECT rolname::text, rolsuper FROM pg_catalog.pg_roles WHERE rolcanlogin OR rolsuper"
    ).fetchall()
    return frozenset(f"*{name}" if superuser else str(name) for name, superuser in rows)


def _identifier(table: str) -> sql.Composed:
    schema, _, name = table.rpartition(".")
    return sql.SQL("{}.{}").format(sql.Identifier(schema or "public"), sql.Identifier(name))


def quoted(table: str) -> str:
    """``schema.name`` with each part quoted; ``public`` where there is none."""
    schema, _, name = table.rpartition(".")
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema or "public", name))
