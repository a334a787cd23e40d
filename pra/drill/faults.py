"""What is broken in a rehearsal. Each returns what the rehearsal, and no operator, knows of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg import sql

from pra.drill.rehearsal import REPOSITORIES, Rehearsal
from pra.errors import RestoreError
from pra.messages import mark
from pra.postgres.connect import Connection, Server, one_value, postgres_errors

INTRUDER = "pra_intruder"
_PAGE = 8192
_SHARE = {"light": 0.002, "heavy": 0.03}
"""Part of a table's rows that get a wrong value; up to 1 % the runbook mends row by row."""
_OP = "inject fault"


@dataclass(frozen=True)
class Injected:
    """What was done.

    Attributes:
        at: The disaster: what is lost, is lost from here on.
        what: One sentence for the record.
        table, column: What was changed; ``holds`` is a query that is true as long as it was not.
        rows: How many rows were changed. keys: Columns of the table's primary key.
    """

    at: datetime
    what: str
    table: str = ""
    column: str = ""
    holds: str = ""
    rows: int = 0
    keys: tuple[str, ...] = ()


def kill(this: Rehearsal) -> Injected:
    """SIGKILL, and the control file gone: no start brings this server back."""
    assert this.primary is not None
    at = this.clock()
    this.primary.stop(signal.SIGKILL)
    control = this.primary.data / "global" / "pg_control"
    control.rename(control.with_name("pg_control.lost"))
    return Injected(at, mark("The server was killed, and its control file is gone."))


def lose_site(this: Rehearsal) -> Injected:
    """Server, streamer, local repository, keys and state are gone at once."""
    assert this.primary is not None
    at = this.clock()
    this.primary.stop(signal.SIGKILL)
    this.kill_streamer()
    this.lose("primary", "near", "state")
    (this.home / "pra.toml").unlink()
    return Injected(at, mark("Server, streamer, local repository, keys and state were lost at once."))


def rot(this: Rehearsal, backup_id: str) -> Injected:
    """One byte of the newest backup's first volume changes, in every copy."""
    at = this.clock()
    for name in REPOSITORIES:
        folder = this.home / name / this.name / "backups" / backup_id / "objects"
        volume = sorted(path for path in folder.iterdir() if path.name.startswith("base-"))[0]
        data = bytearray(volume.read_bytes())
        data[len(data) // 2] ^= 1
        mode = volume.stat().st_mode
        volume.chmod(0o600)
        volume.write_bytes(data)
        volume.chmod(mode & 0o7777)
    return Injected(at, f"One byte of backup {backup_id} changed in every copy.")


def drop(this: Rehearsal) -> Injected:
    """Drop the critical table on which the fewest others depend."""
    with postgres_errors(_OP), this.server.connect() as connection:
        table = least_depended_upon(connection, this.tables)
        at = this.clock()
        connection.execute(sql.SQL("DROP TABLE {} CASCADE").format(_identifier(table)))
    holds = f"SELECT to_regclass('{_quoted(table)}') IS NOT NULL"
    return Injected(at, f"Table {table} was dropped.", table=table, holds=holds)


def intrude(this: Rehearsal) -> Injected:
    """A new superuser logs in and changes rows."""
    with postgres_errors(_OP), this.server.connect() as connection:
        at = this.clock()
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(sql.Identifier(INTRUDER)))
    words = this.server.words() | {"user": INTRUDER}
    as_intruder = Server(psycopg.conninfo.make_conninfo("", **words))
    with postgres_errors(_OP), as_intruder.connect() as connection:
        changed = write_wrong_values(connection, this.tables, 0.01)
    holds = f"SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{INTRUDER}')"
    return Injected(
        at, f"A new superuser changed {changed.rows} rows of {changed.table}.", changed.table, changed.column,
        holds, changed.rows,
    )  # fmt: skip


def wrong_values(this: Rehearsal, intensity: str) -> Injected:
    """One numeric column gets values of an impossible size."""
    with postgres_errors(_OP), this.server.connect() as connection:
        at = this.clock()
        changed = write_wrong_values(connection, this.tables, _SHARE[intensity])
    return Injected(
        at, f"{changed.rows} rows of {changed.table} got a wrong {changed.column}.", changed.table,
        changed.column, changed.holds, changed.rows, changed.keys,
    )  # fmt: skip


def damage_pages(this: Rehearsal, table: str, pages: int = 3) -> Injected:
    """Overwrite pages in the middle of a table's file; a restart empties the server's memory of them."""
    assert this.primary is not None
    with postgres_errors(_OP), this.server.connect() as connection:
        query = sql.SQL("SELECT pg_relation_filepath({}), pg_relation_size({})").format(
            sql.Literal(_quoted(table)), sql.Literal(_quoted(table))
        )
        row = connection.execute(query).fetchone()
    assert row is not None
    at = this.clock()
    this.primary.stop()
    path, size = this.primary.data / str(row[0]), int(row[1])
    damaged = min(pages, size // _PAGE)
    with path.open("r+b") as file:
        file.seek((size // _PAGE // 2) * _PAGE)
        for _ in range(damaged):
            file.write(b"\xa5" * 64)
            file.seek(_PAGE - 64, os.SEEK_CUR)
    this.primary.start()
    return Injected(at, f"{damaged} pages of {table} were overwritten on disk.", table=table)


# -- choosing what to break -------------------------------------------------------------------------


@dataclass(frozen=True)
class Changed:
    """Rows that now hold a wrong value."""

    table: str
    column: str
    rows: int
    holds: str
    keys: tuple[str, ...]


_COLUMNS = """
SELECT a.attname::text, format_type(a.atttypid, NULL),
       (SELECT array_agg(k.attname::text ORDER BY k.attnum) FROM pg_index i
          JOIN pg_attribute k ON k.attrelid = i.indrelid AND k.attnum = ANY (i.indkey)
         WHERE i.indrelid = a.attrelid AND i.indisprimary)
  FROM pg_attribute a
 WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
   AND a.attgenerated = '' AND a.attidentity = ''
   AND a.atttypid IN ('int4'::regtype, 'int8'::regtype, 'numeric'::regtype, 'float8'::regtype)
   AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND a.attnum = ANY (i.indkey))
   AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = a.attrelid AND c.contype = 'f'
                    AND a.attnum = ANY (c.conkey))
 ORDER BY a.attnum
"""


def write_wrong_values(connection: Connection, tables: Sequence[str], share: float) -> Changed:
    """Try every numeric column of every table until the database takes a value of twenty times the largest.

    Raises:
        RestoreError: No table has such a column, with a primary key and rows.
    """
    for table in tables:
        for column, _, keys in connection.execute(_COLUMNS, (_quoted(table),)).fetchall():
            if not keys:
                continue
            try:
                with connection.transaction():
                    changed = _write(connection, table, str(column), tuple(keys), share)
            except psycopg.Error:
                continue  # a check, a trigger or the type does not allow it
            if changed is not None:
                return changed
    raise RestoreError(
        "no critical table has a column that could get a wrong value",
        op=_OP,
        hint="Name tables with numbers in them under critical_tables.",
    )


def _write(
    connection: Connection, table: str, column: str, keys: tuple[str, ...], share: float
) -> Changed | None:
    name, into = sql.Identifier(column), _identifier(table)
    query = sql.SQL("SELECT count(*), max(abs({})) FROM {}").format(name, into)
    row = connection.execute(query).fetchone()
    if row is None or not row[0] or row[1] is None:
        return None
    rows, wrong = max(1, int(row[0] * share)), (int(row[1]) + 1) * 20
    key = sql.SQL(", ").join(map(sql.Identifier, keys))
    done = connection.execute(
        sql.SQL("UPDATE {} SET {} = {} WHERE ({}) IN (SELECT {} FROM {} ORDER BY {} LIMIT {})").format(
            into, name, sql.Literal(wrong), key, key, into, key, sql.Literal(rows)
        )
    )
    bound = (int(row[1]) + 1) * 10
    holds = f'SELECT count(*) = 0 FROM {_quoted(table)} WHERE "{column}" > {bound}'
    return Changed(table, column, done.rowcount, holds, keys)


def least_depended_upon(connection: Connection, tables: Sequence[str]) -> str:
    """The table that the fewest foreign keys point to; of equals, the last one named."""
    query = "SELECT count(*) FROM pg_constraint WHERE confrelid = %s::regclass"
    counted = [
        (one_value(connection, query, _quoted(table)), -position, table)
        for position, table in enumerate(tables)
    ]
    if not counted:
        raise RestoreError(
            "the target names no critical table", op=_OP, hint="Name some under critical_tables in pra.toml."
        )
    return min(counted)[2]


def _identifier(table: str) -> sql.Composed:
    schema, _, name = table.rpartition(".")
    return sql.SQL("{}.{}").format(sql.Identifier(schema or "public"), sql.Identifier(name))


def _quoted(table: str) -> str:
    schema, _, name = table.rpartition(".")
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema or "public", name))


def log_of(this: Rehearsal) -> Path:
    assert this.primary is not None
    return this.primary.log
