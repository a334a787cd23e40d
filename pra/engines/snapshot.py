"""One REPEATABLE READ transaction, exported so that others read the same instant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg

from pra.errors import PostgresError
from pra.postgres.connect import Connection, Server, one_value, postgres_errors

# A role's or database's own limits must not end the transaction that holds the snapshot.
_LIMITS = ("statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")


@dataclass(frozen=True)
class Snapshot:
    """An exported snapshot, valid while its transaction is open.

    Attributes:
        name: For ``SET TRANSACTION SNAPSHOT`` and ``pg_dump --snapshot``.
        xids: ``pg_current_snapshot()`` as text.
        taken_at: The server's clock when the snapshot was taken.
    """

    name: str
    xids: str
    taken_at: datetime
    connection: Connection

    def check_alive(self) -> None:
        """Raise if the transaction was lost: whatever was read since cannot be trusted to be one instant."""
        with postgres_errors("hold snapshot"):
            if one_value(self.connection, "SELECT pg_current_snapshot()::text") != self.xids:
                raise PostgresError("the snapshot changed", op="hold snapshot", transient=True)


@contextmanager
def hold_snapshot(server: Server) -> Iterator[Snapshot]:
    """Open the transaction and export its snapshot; rolled back on leaving.

    Raises:
        PostgresError: The server cannot export a snapshot (for example, a standby before 10).
    """
    with open_snapshots(server) as connection:
        with postgres_errors("take snapshot"):
            snapshot = export_snapshot(connection)
        yield snapshot


@contextmanager
def open_snapshots(server: Server) -> Iterator[Connection]:
    """A session whose transactions are read only and see one instant, without limits that would end them."""
    connection = server.connect(autocommit=False, statement_seconds=0, application="pra snapshot")
    try:
        with postgres_errors("take snapshot"):
            for name in _LIMITS:
                connection.execute(
                    "SELECT set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = %s", (name,)
                )
            connection.commit()
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
        yield connection
    finally:
        connection.close()


def export_snapshot(connection: Connection) -> Snapshot:
    """Export what the open transaction sees, or what a new one will."""
    name = str(one_value(connection, "SELECT pg_catalog.pg_export_snapshot()"))
    xids = str(one_value(connection, "SELECT pg_catalog.pg_current_snapshot()::text"))
    # now() is the transaction's start; the snapshot was taken at its first statement, just after.
    taken_at = one_value(connection, "SELECT pg_catalog.transaction_timestamp()")
    return Snapshot(name, xids, taken_at, connection)
