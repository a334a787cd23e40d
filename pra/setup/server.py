"""What a protected server is asked while setting up, in one look; nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg

from pra.errors import PraError
from pra.manifest import ServerFacts
from pra.postgres.connect import Connection, Server, one_value, postgres_errors
from pra.postgres.pooler import check_pooler
from pra.postgres.replication import Identity, ReplicationFacts, identify, read_replication
from pra.postgres.rights import Gap, gaps
from pra.postgres.server_facts import read_facts
from pra.timing import Clock, utc_now

_OTHERS = """
SELECT datname::text FROM pg_catalog.pg_database
WHERE datallowconn AND NOT datistemplate AND datname NOT IN ('postgres', current_database()) ORDER BY 1
"""
# Since the statistics were reset, which is long enough ago only where the server has run for a while.
_WAL = """
SELECT wal_bytes::float8, extract(epoch FROM clock_timestamp() - stats_reset)::float8
FROM pg_catalog.pg_stat_wal
"""
_YOUNG_SECONDS = 3600.0


@dataclass(frozen=True)
class ServerReport:
    """One look at a server.

    Attributes:
        identity: What the replication protocol says, or why it lets nobody in.
        pooled: Why the connection is not one session from start to end; None where it is.
        sees_wal: The role may see the size of ``pg_wal`` (``pg_monitor``).
        skew_seconds: How far the server's clock is ahead of ours.
        others: Databases beside this one that hold an application's data.
        wal_rate: Bytes of WAL a second on average; None where statistics are too young to tell.
        data_directory: Where the role may know it and the server may be this machine's; None elsewhere.
    """

    server: Server
    role: str
    superuser: bool
    facts: ServerFacts
    replication: ReplicationFacts
    identity: Identity | PraError
    gaps: tuple[Gap, ...]
    pooled: PraError | None
    sees_wal: bool
    skew_seconds: float
    others: tuple[str, ...]
    wal_rate: float | None
    data_directory: Path | None

    @property
    def major(self) -> int:
        return self.facts.version_num // 10000


def look(server: Server, slot: str, clock: Clock = utc_now) -> ServerReport:
    """Ask everything that decides how this database can be protected.

    Args:
        slot: Name of the streamer's replication slot.

    Raises:
        ConnectError: It does not answer, or refuses the login; the hint says what to do.
        PostgresError: It was lost, or refuses what every role may ask.
    """
    with server.connect(application="pra setup") as connection, postgres_errors("look at server"):
        theirs: datetime = one_value(connection, "SELECT pg_catalog.clock_timestamp()")
        skew = (theirs - clock()).total_seconds()
        return ServerReport(
            server=server,
            role=str(one_value(connection, "SELECT current_user::text")),
            superuser=bool(
                one_value(connection, "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user")
            ),
            facts=read_facts(connection),
            replication=read_replication(connection, slot),
            identity=_identity(server),
            gaps=tuple(gaps(connection)),
            pooled=_pooled(server),
            sees_wal=_sees_wal(connection),
            skew_seconds=skew,
            others=tuple(str(name) for (name,) in connection.execute(_OTHERS).fetchall()),
            wal_rate=_wal_rate(connection),
            data_directory=_data_directory(server, connection),
        )


def _identity(server: Server) -> Identity | PraError:
    try:
        return identify(server)
    except PraError as error:
        return error


def _pooled(server: Server) -> PraError | None:
    try:
        check_pooler(server.connect)
    except PraError as error:
        return error
    return None


def _sees_wal(connection: Connection) -> bool:
    query = "SELECT has_function_privilege('pg_catalog.pg_ls_waldir()', 'EXECUTE')"
    return bool(one_value(connection, query))


def _data_directory(server: Server, connection: Connection) -> Path | None:
    address = server.words().get("host", "")
    if not (address.startswith(("/", "@")) or address in ("", "localhost", "127.0.0.1", "::1")):
        return None
    query = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory'"
    found = one_value(connection, query)
    return Path(str(found)) if found else None


def _wal_rate(connection: Connection) -> float | None:
    try:
        row = connection.execute(_WAL).fetchone()
    except psycopg.Error:
        return None  # a figure for an estimate: not worth an error
    if row is None or row[0] is None or row[1] is None or row[1] < _YOUNG_SECONDS:
        return None
    return float(row[0]) / float(row[1])
