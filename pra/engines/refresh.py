"""An archive holds no data of materialized views: they are computed anew, where nothing dials out."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from pra.errors import RestoreError
from pra.postgres.connect import Connection, Server, first_line, one_value

_VIEWS = """
SELECT n.nspname, c.relname, convert_to(n.nspname || ' ' || c.relname || ' ', getdatabaseencoding())
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm'
"""
# What a view reads, through other views, and whether any of it is foreign or runs code that is not the
# server's own: a function written by somebody may do anything.
_MAY_DIAL = """
WITH RECURSIVE reads(oid) AS (
    SELECT %s::regclass::oid
    UNION
    SELECT d.refobjid FROM reads
      JOIN pg_catalog.pg_rewrite r ON r.ev_class = reads.oid AND r.ev_type = '1'
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                                 AND d.refclassid = 'pg_class'::regclass)
SELECT EXISTS (SELECT FROM reads JOIN pg_catalog.pg_class c USING (oid) WHERE c.relkind = 'f')
    OR EXISTS (SELECT FROM reads
                 JOIN pg_catalog.pg_rewrite r ON r.ev_class = reads.oid AND r.ev_type = '1'
                 JOIN pg_catalog.pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                WHERE d.refobjid >= 16384 AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass))
"""


def refresh_views(server: Server, listed: Sequence[str], *, network: bool) -> dict[str, str]:
    """Refresh in the archive's order, which follows dependencies.

    Args:
        listed: ``schema name owner`` as the archive's table of contents has it.
        network: The server can reach others: what might do so is not refreshed.

    Returns:
        Views without data, by name, and why.

    Raises:
        RestoreError: A view cannot be refreshed for a reason of its own.
    """
    unrefreshed: dict[str, str] = {}
    with server.connect(statement_seconds=0) as connection:
        _silence_event_triggers(connection)
        for schema, name in _resolve(connection, listed):
            view = sql.Identifier(schema, name)
            if network and one_value(connection, _MAY_DIAL, view.as_string(connection)):
                unrefreshed[f"{schema}.{name}"] = "it could reach other servers: refresh it by hand"
                continue
            try:
                connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(view))
            except psycopg.Error as error:
                state = error.sqlstate or ""
                # 08: connection exceptions, HV: foreign-data wrapper errors, 55000: a view it needs is empty.
                if state.startswith(("08", "HV")) or (state == "55000" and unrefreshed):
                    unrefreshed[f"{schema}.{name}"] = "it reads from another server, which cannot be reached"
                    continue
                raise RestoreError(
                    f"materialized view {schema}.{name} cannot be refreshed: {first_line(error)}",
                    op="restore database",
                ) from None
    return unrefreshed


def _silence_event_triggers(connection: Connection) -> None:
    """REFRESH is DDL: the database's own event triggers would run. Only a superuser may stop them."""
    connection.execute(
        "SELECT pg_catalog.set_config('session_replication_role', 'replica', false) "
        "FROM pg_catalog.pg_roles WHERE rolname = current_user AND rolsuper"
    )


def _resolve(connection: Connection, listed: Sequence[str]) -> list[tuple[str, str]]:
    """Names in a table of contents are not quoted; the catalogue tells where "a b c" is parted.

    The archive is in the database's encoding and was read as UTF-8, so names are compared as that has them.
    """
    known = [
        (bytes(raw).decode(errors="replace"), (schema, name))
        for schema, name, raw in connection.execute(_VIEWS).fetchall()
    ]
    found: list[tuple[str, str]] = []
    for rest in listed:
        fits = [(len(text), view) for text, view in known if rest.startswith(text)]
        if not fits:
            raise RestoreError(f"materialized view {rest} was not restored", op="restore database")
        found.append(max(fits)[1])
    return found
