"""The cut: a position in the WAL at which a database held exactly what a snapshot saw.

A backup's fingerprint names its snapshot (``pg_current_snapshot()``: ``xmin:xmax:xip``). In the WAL, a
transaction's commit record is written a moment before other snapshots see it, so a position with every
visible commit before it and every other one after it need not exist. Where it does, recovery stops there
and every table is compared digest by digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pra.postgres.tools import Tools
from pra.proc import Scope


@dataclass(frozen=True)
class Snapshot:
    """``xmin:xmax:xip`` as 64-bit transaction ids."""

    xmin: int
    xmax: int
    running: frozenset[int]

    def sees(self, xid: int) -> bool:
        """Whether the effects of this (64-bit) transaction are in the snapshot, provided that it committed."""
        raise NotImplementedError


@dataclass(frozen=True)
class Ended:
    """A commit or abort record.

    Attributes:
        lsn: Where the record begins: ``recovery_target_lsn`` that stops just after it, inclusive.
        xid: The transaction's own id, 32 bits, of a prepared one too.
        subxids: Its subtransactions.
        at: When it ended, by the server's clock.
        committed: False for an abort.
    """

    lsn: int
    xid: int
    subxids: tuple[int, ...]
    at: datetime
    committed: bool


@dataclass(frozen=True)
class Running:
    """A record of the transactions that ran at ``lsn`` (``RUNNING_XACTS``); those ended before are not in it."""

    lsn: int
    next_xid: int
    xids: tuple[int, ...]


@dataclass(frozen=True)
class Cut:
    """Recover up to ``lsn``, inclusive: the state there is the snapshot's.

    Attributes:
        lsn: Where the last visible commit record begins; None when nothing visible was committed behind the
            backup's end, so that the first consistent state is the one.
        last: When that transaction committed.
    """

    lsn: int | None
    last: datetime | None = None


@dataclass(frozen=True)
class NoCut:
    """There is no such position, or none can be known; ``reason`` is one lowercase fact."""

    reason: str


def parse_snapshot(text: str) -> Snapshot:
    """Read ``pg_current_snapshot()``. Raises IntegrityError when it is not one."""
    raise NotImplementedError


def parse_records(lines: Iterable[str]) -> Iterator[Ended | Running]:
    """What ``pg_waldump --rmgr=Transaction --rmgr=Standby`` prints, in order."""
    raise NotImplementedError


def read_records(
    tools: Tools, scope: Scope, folder: Path, segments: Sequence[str]
) -> Iterator[Ended | Running]:
    """The records of these plain, consecutive segment files in ``folder``.

    Raises:
        IntegrityError: A segment's WAL cannot be read before its end.
    """
    raise NotImplementedError


def find_cut(records: Iterable[Ended | Running], snapshot: Snapshot, *, consistent_at: int) -> Cut | NoCut:
    """Find the position. Pure.

    Args:
        records: From the backup's start on, in WAL order; read only as far as is needed.
        consistent_at: The backup's stop LSN: recovery cannot stop before it.
    """
    raise NotImplementedError
