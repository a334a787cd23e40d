"""One backup of a target at a time, said where every host can see it: by an advisory lock on the server."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg

from pra.errors import BusyError, PostgresError
from pra.limited import TimedOut, within
from pra.postgres.connect import Connection, Server, one_value, postgres_errors

_OP = "lock target"
_UNLOCK_SECONDS = 5.0
_IDLE_TIMEOUT = 140000
"""The first version with ``idle_session_timeout``."""


@dataclass
class TargetLock:
    """Held by a connection of its own, with which it falls: a killed run never leaves it behind."""

    server: Server
    target: str
    _connection: Connection | None = field(default=None, init=False, repr=False)

    def take(self, *, again: bool = False) -> None:
        """Take the lock.

        Args:
            again: It was lost. Whoever has it may be ourselves, until the server has done with that session.

        Raises:
            BusyError: Another backup of this target is running; transient where it is taken again.
            ConnectError: The server does not answer.
        """
        self.release()
        connection = self.server.connect(application=f"pra backup {self.target}")
        try:
            with postgres_errors(_OP):
                if connection.info.server_version >= _IDLE_TIMEOUT:
                    # It does nothing for as long as the backup runs, and must not be ended for that.
                    connection.execute("SET idle_session_timeout = 0")
                alone = one_value(connection, "SELECT pg_catalog.pg_try_advisory_lock(%s)", self._key)
            if not alone:
                raise BusyError(
                    f"another backup of {self.target} is running",
                    op=_OP,
                    hint="Wait for it, or look for 'pra backup' in pg_stat_activity.",
                    transient=again,
                )
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    @property
    def held(self) -> bool:
        """Whether the connection still lives, and the lock with it."""
        if self._connection is None:
            return False
        try:
            self._connection.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def hold(self) -> None:
        """Make sure of it before work begins: take it again where it was lost. Raises as `take`."""
        if not self.held:
            self.take(again=True)

    def check(self) -> None:
        """Raises PostgresError, transient, where the lock was lost: another backup may have run beside us."""
        if not self.held:
            raise PostgresError(
                f"the connection that kept other backups of {self.target} away was lost",
                op=_OP,
                hint="Run the backup again; the server's log says who ended the connection.",
                transient=True,
            )

    def release(self) -> None:
        """Free once this returns, where the server answers: a session ends some time after its connection."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            try:
                with suppress(psycopg.Error, TimedOut):
                    within(
                        _UNLOCK_SECONDS,
                        lambda: connection.execute("SELECT pg_catalog.pg_advisory_unlock(%s)", [self._key]),
                    )
            finally:  # also where a signal ends the wait
                connection.close()

    @property
    def _key(self) -> int:
        digest = hashlib.sha256(f"pra backup {self.target}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)
