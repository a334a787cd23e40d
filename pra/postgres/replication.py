"""The replication protocol: what the server offers, the slot that keeps its WAL, and ``pg_basebackup``."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql

from pra.errors import ConnectError, PostgresError, PraError, RightsError
from pra.manifest import Tablespace
from pra.postgres.connect import (
    CONNECT_SECONDS,
    Connection,
    Server,
    explain_connect,
    one_value,
    postgres_errors,
)
from pra.postgres.tools import Tools
from pra.postgres.wal import parse_lsn

FASTEST_RATE = 1 << 30
SLOWEST_RATE = 32 << 10
"""What ``pg_basebackup --max-rate`` takes, in bytes a second (``MAX_RATE_LOWER`` and ``MAX_RATE_UPPER``)."""

# pg_stat_replication and pg_replication_slots show their rows to everybody, if not all their columns.
_FACTS = """
SELECT session_user::text,
       (SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user),
       pg_catalog.pg_is_in_recovery(), current_setting('wal_level'),
       current_setting('max_wal_senders')::int, (SELECT count(*) FROM pg_catalog.pg_stat_replication),
       current_setting('max_replication_slots')::int,
       (SELECT count(*) FROM pg_catalog.pg_replication_slots),
       (SELECT setting::int8 FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size'),
       coalesce(current_setting('summarize_wal', true), 'off') = 'on',
       pg_catalog.pg_size_bytes(current_setting('wal_segment_size')),
       (SELECT setting::int FROM pg_catalog.pg_settings WHERE name = 'checkpoint_timeout'),
       (SELECT coalesce(sum(pg_catalog.pg_database_size(oid)), 0)::int8 FROM pg_catalog.pg_database
        WHERE has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE'))
"""
_TABLESPACES = """
SELECT oid::int8, pg_catalog.pg_tablespace_location(oid) FROM pg_catalog.pg_tablespace
WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY oid
"""
_SLOT = """
SELECT slot_name::text, active, coalesce(wal_status, ''),
       CASE WHEN pg_catalog.pg_is_in_recovery() OR restart_lsn IS NULL THEN 0
            ELSE pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn) END::int8
FROM pg_catalog.pg_replication_slots WHERE slot_name = %s AND slot_type = 'physical'
"""


@dataclass(frozen=True)
class SlotFacts:
    """The streamer's slot: ``wal_status`` as in ``pg_replication_slots``, and the WAL that it holds."""

    name: str
    active: bool
    wal_status: str
    kept_bytes: int


@dataclass(frozen=True)
class ReplicationFacts:
    """What decides whether, and how, a base backup can be taken.

    Attributes:
        slot_keep_bytes: ``max_slot_wal_keep_size``; None where it is unlimited.
        checkpoint_seconds: ``checkpoint_timeout``: a spread checkpoint takes most of it.
        server_bytes: All databases that the role may look at.
        tablespaces: Those besides ``pg_default`` and ``pg_global``.
        databases: Those that allow connections.
        slot: The streamer's; None where there is none of that name.
    """

    role: str
    may_replicate: bool
    in_recovery: bool
    wal_level: str
    senders: int
    senders_used: int
    slots: int
    slots_used: int
    slot_keep_bytes: int | None
    summarize_wal: bool
    wal_segment_bytes: int
    checkpoint_seconds: int
    server_bytes: int
    tablespaces: tuple[Tablespace, ...]
    databases: tuple[str, ...]
    slot: SlotFacts | None


@dataclass(frozen=True)
class Identity:
    """``IDENTIFY_SYSTEM``: which server, on which timeline, how far its WAL is."""

    system_identifier: str
    timeline: int
    lsn: int


def read_replication(connection: Connection, slot: str) -> ReplicationFacts:
    """Ask a server what it offers.

    Args:
        slot: Name of the streamer's slot.

    Raises:
        PostgresError: It refuses a question that every role may ask.
    """
    with postgres_errors("read replication settings"):
        row = connection.execute(_FACTS).fetchone()
        assert row is not None  # a query without FROM has one row
        found = connection.execute(_SLOT, (slot,)).fetchone()
        databases = connection.execute(
            "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn ORDER BY 1"
        ).fetchall()
        return ReplicationFacts(
            role=row[0],
            may_replicate=bool(row[1]),
            in_recovery=row[2],
            wal_level=row[3],
            senders=row[4],
            senders_used=row[5],
            slots=row[6],
            slots_used=row[7],
            slot_keep_bytes=None if row[8] is None or row[8] < 0 else row[8] << 20,
            summarize_wal=row[9],
            wal_segment_bytes=row[10],
            checkpoint_seconds=row[11],
            server_bytes=row[12],
            tablespaces=tuple(
                Tablespace(oid=oid, location=location)
                for oid, location in connection.execute(_TABLESPACES).fetchall()
            ),
            databases=tuple(name for (name,) in databases),
            slot=SlotFacts(*found) if found else None,
        )


def summarized(connection: Connection, timeline: int, start: int) -> bool | None:
    """Whether WAL summaries reach from ``start`` without a gap to where the summarizer is.

    None where the role may not know: then the backup itself finds out.

    Raises:
        PostgresError: The server was lost.
    """
    with postgres_errors("read WAL summaries"):
        try:
            rows = connection.execute(
                "SELECT start_lsn - '0/0'::pg_lsn, end_lsn - '0/0'::pg_lsn "
                "FROM pg_catalog.pg_available_wal_summaries() WHERE tli = %s ORDER BY start_lsn",
                (timeline,),
            ).fetchall()
            until = one_value(
                connection,
                "SELECT summarized_lsn - '0/0'::pg_lsn FROM pg_catalog.pg_get_wal_summarizer_state() "
                "WHERE summarized_tli = %s",
                timeline,
            )
        except psycopg.errors.InsufficientPrivilege:
            return None
    if until is None:
        return False
    return covers([(int(first), int(last)) for first, last in rows], start, int(until))


def covers(ranges: list[tuple[int, int]], start: int, until: int) -> bool:
    """Whether ranges in order of their beginning leave no byte out from ``start`` to ``until``.

    Example: [(0, 10), (10, 20)] covers 5 to 20; [(0, 10), (12, 20)] does not.
    """
    reached = start
    for first, last in ranges:
        if first <= reached < last:
            reached = last
    return reached >= until


def identify(server: Server) -> Identity:
    """Ask over the replication protocol itself, which ``pg_hba.conf`` may refuse.

    Raises:
        ConnectError: It does not answer, or lets no replication connection in; the hint has the line.
        RightsError: The role may not replicate; the hint has the SQL.
        PostgresError: No sender is free; transient.
    """
    with _replicating(server, "pra identify") as connection:
        return _identify(connection)


def timeline_history(server: Server, timeline: int) -> bytes:
    """The history file of a timeline, as the server has it.

    Raises:
        ConnectError, RightsError: As `identify`.
        PostgresError: The server has no such timeline.
    """
    with _replicating(server, "pra history") as connection:
        # Asked below psycopg: servers disagree about the content's type, and none of them encodes it.
        result = connection.pgconn.exec_(f"TIMELINE_HISTORY {timeline:d}".encode())
        content = result.get_value(0, 1) if result.ntuples == 1 else None
        if content is None:
            raise PostgresError(
                f"the server has no history of timeline {timeline}",
                op="read timeline history",
                hint="Restore or promote it again, or stream from the server that has this timeline.",
            )
        return content


@contextmanager
def hold_wal(server: Server) -> Iterator[Identity]:
    """Keep the server from removing WAL from now on: a temporary slot, gone with its connection.

    That one does nothing meanwhile, and must not be ended for it. At the end it is asked whether it still
    lives: without it the server may have removed WAL that the backup needs.

    Raises:
        ConnectError, RightsError: As `identify`.
        PostgresError: No slot is free, or it was lost meanwhile; transient.
    """
    op = "keep WAL"
    options = f"{server.words().get('options', '')} -c idle_session_timeout=0".strip()
    with _replicating(server, "pra slot", options=options) as connection:
        identity = _identify(connection)
        name = sql.Identifier(f"pra_backup_{secrets.token_hex(6)}")
        try:
            connection.execute(
                sql.SQL("CREATE_REPLICATION_SLOT {} TEMPORARY PHYSICAL RESERVE_WAL").format(name)
            )
        except psycopg.errors.ConfigurationLimitExceeded:
            raise no_slot(op) from None
        except psycopg.Error as error:
            with postgres_errors(op):
                raise error
        yield identity
        try:
            connection.execute("IDENTIFY_SYSTEM")
        except psycopg.Error:
            raise PostgresError(
                "the replication slot that kept the server's WAL was lost",
                op=op,
                hint="Run the backup again. The server's log says who ended its connection; where the server "
                "wrote too much meanwhile, raise max_slot_wal_keep_size.",
                transient=True,
            ) from None


def no_slot(op: str) -> PostgresError:
    return PostgresError(
        "no replication slot is free",
        op=op,
        hint="Raise max_replication_slots (needs a restart), or drop a slot that nobody uses: "
        "SELECT slot_name, active FROM pg_replication_slots;",
        transient=True,
    )


def no_sender(op: str) -> PostgresError:
    return PostgresError(
        "no WAL sender is free",
        op=op,
        hint="Raise max_wal_senders (needs a restart), or see who uses them: "
        "SELECT pid, application_name FROM pg_stat_replication;",
        transient=True,
    )


def may_not_replicate(role: str, op: str) -> RightsError:
    name = sql.Identifier(role).as_string(None)
    return RightsError(
        f"the role {role} may not replicate",
        op=op,
        hint=f"Run as a superuser: ALTER ROLE {name} REPLICATION;",
    )


@contextmanager
def _replicating(server: Server, application: str, **options: str) -> Iterator[Connection]:
    words: dict[str, object] = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": application,
        "client_encoding": "UTF8",
        "replication": "true",
        **options,
    }
    if server.password:
        words["password"] = server.password
    try:
        connection = psycopg.connect(server.dsn, autocommit=True, **words)  # type: ignore[arg-type]
    except psycopg.Error as error:
        raise _explain(error, server) from None
    try:
        yield connection
    finally:
        connection.close()


def _explain(error: psycopg.Error, server: Server) -> PraError:
    """Say why a replication connection was refused."""
    return explain_refusal(str(error), server) or explain_connect(error, server)


def explain_refusal(text: str, server: Server) -> PraError | None:
    """What the server's words mean where they are about replication; None where they are not."""
    op = f"replicate from {server.place}"
    role = server.words().get("user", "the backup role")
    if "REPLICATION attribute" in text or "superuser or replication role" in text:
        return may_not_replicate(role, op)
    if "max_wal_senders" in text:
        return no_sender(op)
    if "replication slots are in use" in text:
        return no_slot(op)
    if "no pg_hba.conf entry for replication" in text or "rejects replication" in text:
        local = server.words().get("host", "/").startswith(("/", "@"))
        line = "local replication {} peer" if local else "host replication {} ADDRESS/32 scram-sha-256"
        return ConnectError(
            "pg_hba.conf lets no replication connection in",
            op=op,
            hint=f"Add to the server's pg_hba.conf, then SELECT pg_reload_conf(): {line.format(role)}",
            transient=False,
        )
    return None


def _identify(connection: Connection) -> Identity:
    with postgres_errors("identify server"):
        row = connection.execute("IDENTIFY_SYSTEM").fetchone()
        assert row is not None
        return Identity(str(row[0]), int(row[1]), parse_lsn(str(row[2])))


def basebackup_argv(
    tools: Tools,
    server: Server,
    *,
    label: str,
    checkpoint: Literal["spread", "fast"],
    max_rate: int | None,
    incremental: Path | None = None,
    directory: Path | None = None,
) -> tuple[str, ...]:
    """``pg_basebackup`` in tar format with the WAL it needs: to stdout, or into ``directory``.

    Args:
        max_rate: Bytes a second; below or above what the tool takes, its nearest.
        incremental: The manifest of the backup before.
    """
    rate = None if max_rate is None else min(max(max_rate, SLOWEST_RATE), FASTEST_RATE) >> 10
    return (
        tools.path("pg_basebackup"),
        f"--dbname={server.dsn}",
        "--no-password",
        f"--pgdata={directory or '-'}",
        "--format=tar",
        "--wal-method=fetch",
        f"--checkpoint={checkpoint}",
        f"--label={label}",
        "--no-sync",
        "--verbose",
        *((f"--max-rate={rate}",) if rate is not None else ()),
        *((f"--incremental={incremental}",) if incremental is not None else ()),
    )
