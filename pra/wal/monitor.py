"""What the server says of its streamer: how far its WAL is, what was received, and how the slot fares."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import psycopg

from pra.errors import PostgresError, PraError, UsageError
from pra.postgres.connect import Connection, Server, postgres_errors
from pra.postgres.replication import may_not_replicate, no_slot
from pra.timing import Clock

_SECONDS = 5
# pg_stat_replication shows positions to pg_read_all_stats only; the slot's row is for everybody.
_LOOK = """
SELECT (CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
             ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn)::int8,
       s.slot_name IS NOT NULL, s.slot_type, coalesce(s.active, false), coalesce(s.wal_status, ''),
       (s.restart_lsn - '0/0'::pg_lsn)::int8, (r.write_lsn - '0/0'::pg_lsn)::int8,
       CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_flush_lsn()), 8) END
FROM (SELECT 1) AS one
     LEFT JOIN pg_replication_slots AS s ON s.slot_name = %s
     LEFT JOIN pg_stat_replication AS r ON r.pid = s.active_pid
"""


@dataclass(frozen=True)
class Observation:
    """One look at the server.

    Attributes:
        at: Our clock, just before the server was asked.
        flushed: How far its WAL was durable then.
        written: How far it knows that its WAL was written here; None where the role may not see it.
        timeline: The one it writes; None: it is a standby.
        active: Somebody streams from the slot.
        status: ``wal_status`` of ``pg_replication_slots``: ``reserved`` … ``lost``; empty without a slot.
        restart: The oldest WAL that the slot keeps; None: nothing.
    """

    at: datetime
    flushed: int
    exists: bool
    active: bool
    status: str
    restart: int | None
    written: int | None
    timeline: int | None = None


class Monitor:
    """One connection for questions, opened when needed and again after it was lost. One thread."""

    def __init__(self, server: Server, slot: str, application: str, clock: Clock) -> None:
        self._server, self._slot, self._application, self._clock = server, slot, application, clock
        self._connection: Connection | None = None
        self.fresh = False
        """We made the slot, and nothing was streamed from it yet."""

    def look(self) -> Observation:
        """Ask.

        Raises:
            ConnectError, PostgresError: The server does not answer; the next call connects again.
            UsageError: The slot is not a physical one.
        """
        at = self._clock()
        with self._asking() as connection, postgres_errors("watch replication slot"):
            row = connection.execute(_LOOK, (self._slot,)).fetchone()
        assert row is not None  # one row is joined to
        if row[2] not in (None, "physical"):
            raise UsageError(
                f"the replication slot {self._slot} is a {row[2]} one",
                op="watch replication slot",
                hint='Choose another name: slot = "…" under the target\'s [physical].',
            )
        timeline = None if row[7] is None else int(row[7], 16)
        return Observation(at, row[0] or 0, bool(row[1]), bool(row[3]), row[4], row[5], row[6], timeline)

    def ensure_slot(self) -> Observation:
        """Make the slot where it is missing.

        Raises:
            RightsError: The role may not replicate; the hint has the SQL.
            PostgresError: No slot is free; or it has lost its WAL, and a person must decide.
            ConnectError: The server does not answer.
        """
        seen = self.look()
        if seen.status == "lost" and self.fresh:
            # Asking for WAL that the server has removed moved the slot there, and so out of its own reach
            # (PhysicalConfirmReceivedLocation in walsender.c).
            with self._asking() as connection, postgres_errors("drop replication slot"):
                connection.execute("SELECT pg_drop_replication_slot(%s)", (self._slot,))
            seen = self.look()
        if not seen.exists:
            self._create()
            seen = self.look()
        if seen.status == "lost":
            raise lost(self._slot)
        return seen

    def _create(self) -> None:
        op = "create replication slot"
        with self._asking() as connection, postgres_errors(op):
            try:
                connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", (self._slot,))
                self.fresh = True
            except psycopg.errors.DuplicateObject:
                return
            except psycopg.errors.InsufficientPrivilege:
                role = str(connection.info.user)
                raise may_not_replicate(role, op) from None
            except psycopg.errors.ConfigurationLimitExceeded:
                raise no_slot(op) from None
            except psycopg.errors.ObjectNotInPrerequisiteState as error:
                fact = (error.diag.message_primary or "the server keeps no WAL for replication").lower()
                hint = "Set wal_level = replica and max_replication_slots above 0; both need a restart."
                raise PostgresError(fact, op=op, hint=hint, transient=False) from None

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _asking(self) -> _Asking:
        if self._connection is None:
            self._connection = self._server.connect(statement_seconds=_SECONDS, application=self._application)
        return _Asking(self, self._connection)


class _Asking:
    """Gives the connection up as soon as a question failed."""

    def __init__(self, monitor: Monitor, connection: Connection) -> None:
        self._monitor, self._connection = monitor, connection

    def __enter__(self) -> Connection:
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._monitor.close()


def lost(slot: str) -> PraError:
    """The complaint about a slot whose WAL the server has removed."""
    return PostgresError(
        f"the replication slot {slot} has lost its WAL: the server removed what had not been streamed",
        op="stream WAL",
        hint=f"Run SELECT pg_drop_replication_slot('{slot}'); then pra backup --full: before that, moments "
        "after the gap cannot be recovered. Consider a larger max_slot_wal_keep_size.",
        transient=True,
    )
