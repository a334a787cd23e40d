"""How long a recovery should take, from what earlier ones took. Pure but for reading the record.

A verification or restore leaves in its evidence how many bytes it fetched and replayed, and how long both
took. The estimate is the median rate of the last few, and
names them: a number without its source is a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

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
