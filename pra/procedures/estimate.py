"""How long a recovery should take, from what earlier ones took. Pure but for reading the record.

A verification or restore leaves in its evidence how many bytes it fetched and replayed, and how long both
took. The estimate is the median rate of the last few, and
names them: a number without its source is a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from pra.evidence_record import EvidenceRecord
from pra.timing import from_iso

LAST = 5


@dataclass(frozen=True)
class Measured:
    """One earlier recovery: stored bytes of the chain and of its WAL, seconds until the service answered."""

    sequence: int
    at: datetime
    kind: str
    bytes: int
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.bytes / self.seconds


@dataclass(frozen=True)
class Estimate:
    """Seconds for so many bytes, and the measurements it rests on."""

    seconds: float
    rate: float
    measured: tuple[Measured, ...]


def measured(
    records: Iterable[EvidenceRecord], sizes: Mapping[str, int], *, look: int = 200
) -> list[Measured]:
    """Earlier recoveries of physical backups, newest first.

    Args:
        sizes: Stored bytes of each backup's chain, by id: for records that do not say what they read.
        look: How many records to look through; every one is an object to be read.
    """
    found: list[Measured] = []
    for record in islice(records, look):
        body = record.body
        backup_id, milliseconds = body.get("backup_id"), body.get("rto_milliseconds")
        if record.problem or record.kind not in ("verification", "restore") or backup_id not in sizes:
            continue
        if isinstance(milliseconds, int) and milliseconds > 0:
            read, seconds = _read_bytes(body) or sizes[str(backup_id)], milliseconds / 1000
            seconds -= _waited(body)
            found.append(Measured(record.sequence, record.at, record.kind, read, seconds))
        if len(found) == LAST:
            break
    return found


def _waited(body: Mapping[str, Any]) -> float:
    """Seconds from the disaster until the restore began, which its RTO counts and no work was done in."""
    disaster, started = body.get("disaster_at"), body.get("started_at")
    if not isinstance(disaster, str) or not isinstance(started, str):
        return 0.0
    return max((from_iso(started) - from_iso(disaster)).total_seconds(), 0.0)


def _read_bytes(body: Mapping[str, Any]) -> int:
    """Backups and WAL, as the record says; 0 where it does not."""
    recovery = body.get("recovery")
    if not isinstance(recovery, dict):
        return 0
    return sum(n for n in (recovery.get("backup_bytes"), recovery.get("wal_bytes")) if isinstance(n, int))


def estimate(bytes_: int, measured: Sequence[Measured]) -> Estimate | None:
    """The median rate of the last few; None when there is none."""
    usable = sorted((m for m in measured if m.bytes > 0 and m.seconds > 0), key=lambda m: m.sequence)[-LAST:]
    if not usable:
        return None
    rates = sorted(m.rate for m in usable)
    rate = (
        rates[len(rates) // 2]
        if len(rates) % 2
        else (rates[len(rates) // 2 - 1] + rates[len(rates) // 2]) / 2
    )
    return Estimate(bytes_ / rate, rate, tuple(usable))
