"""The SQL that makes a backup role: no more rights than a whole backup and its proof need. Pure."""

from __future__ import annotations

from psycopg import sql

from pra.errors import UsageError
from pra.model import Engine
from pra.postgres.rights import least_privilege_sql

SLOT_KEEPS = "20GB"
"""What a streamer's slot may keep on the server at most, as long as nobody chose another size."""


def role_sql(role: str, database: str, engine: Engine) -> str:
    """The whole of it, for psql, as a superuser, in the database itself. Run once.

    Example: ``pra init --sql --role backup --database akig --engine physical | psql -d akig``; psql asks for
    the role's new password.

    Raises:
        UsageError: A name holds what no line could.
    """
    for what, name in (("role", role), ("database", database)):
        if not name.isprintable() or not name:
            raise UsageError(
                f"the {what}'s name holds a line break or another control character",
                op="print SQL",
                hint="Give it another name: psql could not be told this one.",
            )
    head = (
        f"-- The role that takes backups of {database} with PRA ({engine} engine).\n"
        f"-- Run as a superuser, with psql, in the database itself: psql -d {database}\n"
    )
    return head + least_privilege_sql(role, database) + (_physical(role) if engine == "physical" else "")


def replication_sql(role: str) -> str:
    """What the physical engine needs beside the rights to read."""
    return sql.SQL("ALTER ROLE {} REPLICATION;").format(sql.Identifier(role)).as_string(None)


def monitor_sql(role: str) -> str:
    return sql.SQL("GRANT pg_monitor TO {};").format(sql.Identifier(role)).as_string(None)


def read_all_sql(role: str) -> str:
    return sql.SQL("GRANT pg_read_all_data TO {};").format(sql.Identifier(role)).as_string(None)


def hba_line(role: str, host: str) -> str:
    """The line of ``pg_hba.conf`` that lets this role replicate from where we are.

    Args:
        host: The DSN's host: a socket's folder needs another line than an address.
    """
    name = '"' + role.replace('"', '""') + '"'
    if host.startswith(("/", "@")):
        return f"local replication {name} peer"
    return f"host replication {name} ADDRESS/32 scram-sha-256"


def _physical(role: str) -> str:
    return (
        "-- A base backup copies the whole server, so this role can read all of it.\n"
        f"{replication_sql(role)}\n"
        "-- So that pra status sees the size of pg_wal and how far standbys are.\n"
        f"{monitor_sql(role)}\n"
        "-- In pg_hba.conf, ADDRESS being the machine that takes the backups; then SELECT pg_reload_conf();\n"
        f"--   {hba_line(role, '')}\n"
        "-- A streamer that stays away must not fill the server's disk:\n"
        f"--   ALTER SYSTEM SET max_slot_wal_keep_size = '{SLOT_KEEPS}'; SELECT pg_reload_conf();\n"
        "-- PostgreSQL 17 and newer, so that backups between full ones are incremental:\n"
        "--   ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf();\n"
    )
