"""A streaming standby: how far it is, and how it becomes the primary."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pra.errors import RestoreError, UsageError
from pra.postgres.connect import Server, one_value, postgres_errors
from pra.postgres.wal import SEGMENT_BYTES, format_lsn

_OP = "promote standby"
_POLL_SECONDS = 0.1
_SETTLED_SECONDS = 5.0
_STATE = """
SELECT pg_is_in_recovery(),
       (SELECT system_identifier::text FROM pg_control_system()),
       (SELECT timeline_id FROM pg_control_checkpoint()),
       coalesce(pg_last_wal_receive_lsn() - '0/0'::pg_lsn, 0)::bigint,
       coalesce(pg_last_wal_replay_lsn() - '0/0'::pg_lsn, 0)::bigint,
       pg_last_xact_replay_timestamp()
"""


@dataclass(frozen=True)
class StandbyState:
    """One look. ``received``, ``replayed``: positions; ``last_commit``: of the last transaction replayed."""

    in_recovery: bool
    system_id: str
    timeline: int
    received: int
    replayed: int
    last_commit: datetime | None


@dataclass(frozen=True)
class Promoted:
    """What became of it. ``already``: it had been promoted before we came."""

    timeline: int
    reached: int
    last_commit: datetime | None
    already: bool = False


def look_at(server: Server, *, promoted: bool = False) -> StandbyState:
    """Ask it.

    Args:
        promoted: It may have been promoted by now.

    Raises:
        UsageError: It is no standby. ConnectError, PostgresError: It cannot be asked.
    """
    with server.connect(statement_seconds=30) as connection, postgres_errors("look at standby"):
        row = connection.execute(_STATE.encode()).fetchone()
    assert row is not None
    state = StandbyState(bool(row[0]), str(row[1]), int(row[2]), int(row[3]), int(row[4]), row[5])
    if not state.in_recovery and not promoted:
        raise UsageError(
            f"{server.place} is no standby: it takes writes already",
            op=_OP,
            hint="Correct failover.standby. If it was promoted by hand, point the service at it by hand too.",
        )
    return state


def promote(server: Server, limit: timedelta, stopped: Callable[[], bool] = lambda: False) -> Promoted:
    """Let it replay all that it has received, then make it the primary; once only.

    The old primary is fenced by now: what the standby has not received nobody will send any more.

    Args:
        limit: For replaying, and for the promotion.
        stopped: Whether the work was ended meanwhile.

    Raises:
        RestoreError: It did not replay, or not promote, in time. PostgresError: The role may not.
    """
    state = look_at(server, promoted=True)
    if not state.in_recovery:
        return Promoted(_timeline(server), state.replayed, state.last_commit, already=True)
    deadline = time.monotonic() + limit.total_seconds()
    with server.connect() as connection, postgres_errors(_OP, "Grant the role pg_promote, or use another."):
        if one_value(connection, "SELECT pg_is_wal_replay_paused()"):
            connection.execute("SELECT pg_wal_replay_resume()")
        moved_at = time.monotonic()
        while (now := look_at(server)).replayed < now.received:
            if now.replayed != state.replayed:
                moved_at = time.monotonic()
            elif (
                now.received - now.replayed < SEGMENT_BYTES and time.monotonic() - moved_at > _SETTLED_SECONDS
            ):
                break  # what is left is the beginning of a record whose end was never sent
            state = now
            if time.monotonic() > deadline or stopped():
                raise RestoreError(
                    f"the standby has replayed up to {format_lsn(state.replayed)}, "
                    f"and received up to {format_lsn(state.received)}",
                    op=_OP,
                    hint="Look for a query on it that conflicts with replay, then run it with --resume.",
                )
            time.sleep(_POLL_SECONDS)
        state = now
        seconds = max(1, round(deadline - time.monotonic()))
        if not one_value(connection, "SELECT pg_promote(true, %s)", seconds):
            raise RestoreError(
                "the standby was not promoted in time", op=_OP, hint="Look into its log, then --resume."
            )
    return Promoted(_timeline(server), state.replayed, state.last_commit)


def _timeline(server: Server) -> int:
    """Of what it writes now: the control file may still name the one before, until a checkpoint."""
    with server.connect() as connection, postgres_errors(_OP):
        return int(str(one_value(connection, "SELECT pg_walfile_name(pg_current_wal_lsn())"))[:8], 16)
