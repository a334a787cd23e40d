"""From which record on a server in recovery can be asked, and so be paused. Pure.

It must know which transactions run, which it learns from ``RUNNING_XACTS`` records. Of one with more than 64
subtransactions the rest is not listed there, and until it has ended nobody is let in: at a target the server
would be promoted instead of pausing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OVERFLOWED = (
    "a transaction with more than 64 subtransactions was running: until a later list without it "
    "no standby can be asked"
)


@dataclass
class HotStandby:
    """What recovery makes of those records, one by one (``ProcArrayApplyRecoveryInfo`` in
    ``storage/ipc/procarray.c``).

    Attributes:
        ready: It can be asked from here on.
        newest: The newest transaction at the first list that was not whole; None: there was none so far.
    """

    ready: bool = False
    newest: int | None = None

    def take(self, next_xid: int, xids: Sequence[int], *, overflowed: bool) -> None:
        """The next record, with the 32-bit ids that it lists."""
        if not overflowed:
            self.ready = True
        elif self.newest is None:
            self.newest = next_xid - 1
        elif all(_precedes(self.newest, xid) for xid in xids):
            self.ready = True  # all that ran at that list have ended


def _precedes(one: int, other: int) -> bool:
    """Transaction ids go round: half of them lie before any."""
    return 0 < (other - one) % (1 << 32) < 1 << 31
