"""A snapshot that equals a position in the WAL.

A transaction becomes visible a moment after its commit record is written. A snapshot taken in that moment may
see a later commit and not an earlier one, and then no position in the WAL equals it. So snapshots are taken
until one has nobody in that moment: no transaction in progress at all, or only such that go on for long.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pra.engines.snapshot import Snapshot
from pra.postgres.connect import Server

LONG_SECONDS = 0.1
"""A transaction that is seen this long after the snapshot was not committing when it was taken."""
TRY_SECONDS = 3.0


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

    Raises:
        PostgresError: The server refused or was lost.
    """
    raise NotImplementedError
    yield
