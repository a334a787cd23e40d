"""A snapshot that equals a position in the WAL.

A transaction becomes visible a moment after its commit record is written. A snapshot taken in that moment may
see a later commit and not an earlier one, and then no position in the WAL equals it. So snapshots are taken
until one has nobody in that moment: no transaction in progress at all, or only such that go on for long.
``pg_current_snapshot()`` lists those below the newest that ended; newer ones are found by asking for their
status until the server says that an id lies in the future. A try costs under a millisecond. On a server too
busy for a quiet one, the snapshot with the fewest transactions in progress is the likeliest.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from pra.engines.snapshot import Snapshot, export_snapshot, open_snapshots
from pra.postgres.connect import Connection, Server, one_value, postgres_errors

LONG_SECONDS = 0.1
"""A transaction that is seen this long after the snapshot was not committing when it was taken."""
TRY_SECONDS = 3.0
_MOST = 4  # newer transactions looked for: on a busy server there is no end of them
_OP = "take snapshot"


@dataclass(frozen=True)
class QuietSnapshot:
    """A snapshot that is held.

    Attributes:
        doubtful: Transactions that may have been committing when it was taken; 0 is a quiet one.
        lsn: The WAL's end just before it was taken: the position that equals it is not far from here.
        tries: How many were taken.
    """

    snapshot: Snapshot
    doubtful: int
    lsn: int
    tries: int


@contextmanager
def hold_quiet_snapshot(server: Server, *, seconds: float = TRY_SECONDS) -> Iterator[QuietSnapshot]:
    """Take snapshots until one is quiet, or for that many seconds, and export it: the best found.

    For the first half of the time only a quiet one will do; then one as good as the best seen.

    Raises:
        PostgresError: The server refused or was lost.
    """
    with open_snapshots(server) as connection:
        with postgres_errors(_OP):
            search = _Search(connection, seconds)
            doubtful = search.run()
            snapshot = export_snapshot(connection)
        yield QuietSnapshot(snapshot, doubtful, search.lsn, search.tries)


@dataclass
class _Search:
    """Ends with a transaction open whose snapshot is the chosen one.

    Attributes:
        first_seen: When each transaction in progress was first seen, in monotonic seconds.
    """

    connection: Connection
    seconds: float
    tries: int = 0
    lsn: int = 0
    first_seen: dict[int, float] = field(default_factory=dict)

    def run(self) -> int:
        started = time.monotonic()
        fewest: tuple[int, int] | None = None
        while True:
            running, xmax = self._take()
            short = self._short(running)
            newer = set() if short else self._newer(xmax)
            score = (len(short), len(self._short(newer)))
            elapsed = time.monotonic() - started
            late = elapsed > self.seconds / 2
            if not any(score) or (late and fewest and score <= fewest) or elapsed > self.seconds:
                doubtful = self._doubtful(running | newer)
                if not doubtful or late:
                    return doubtful
            fewest = min(fewest or score, score)
            self.connection.rollback()

    def _take(self) -> tuple[set[int], int]:
        """What a new snapshot says is in progress, and its xmax; the WAL's end is read before it is taken."""
        self.tries += 1
        self.lsn = int(one_value(self.connection, _LSN))
        self.connection.rollback()
        text = str(one_value(self.connection, "SELECT pg_catalog.pg_current_snapshot()::text"))
        return parse_running(text), int(text.split(":")[1])

    def _newer(self, xmax: int) -> set[int]:
        """Ids from ``xmax`` on that have been given out by now: in progress when the snapshot was taken, or
        begun since.
        """
        found: set[int] = set()
        for xid in range(xmax, xmax + _MOST):
            try:
                with self.connection.transaction():  # a savepoint: an error must not end the snapshot
                    self._status(xid)
            except psycopg.errors.InvalidParameterValue:  # it lies in the future
                break
            found.add(xid)
        return found

    def _short(self, running: set[int]) -> set[int]:
        """Those that have not been seen for long."""
        now = time.monotonic()
        return {xid for xid in running if now - self.first_seen.setdefault(xid, now) < LONG_SECONDS}

    def _doubtful(self, running: set[int]) -> int:
        """How many of them ended within a moment after the snapshot: only those may have been committing."""
        if running:
            time.sleep(LONG_SECONDS)
        return sum(self._status(xid) != "in progress" for xid in running)

    def _status(self, xid: int) -> str | None:
        status = one_value(self.connection, "SELECT pg_catalog.pg_xact_status(%s::text::xid8)", str(xid))
        return None if status is None else str(status)


_LSN = """
SELECT (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
             ELSE pg_catalog.pg_current_wal_insert_lsn() END - '0/0'::pg_lsn)::int8
"""


def parse_running(text: str) -> set[int]:
    """The transactions in progress in ``xmin:xmax:xip``."""
    return {int(xid) for xid in text.rsplit(":", 1)[-1].split(",") if xid}
