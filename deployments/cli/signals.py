"""A signal ends the work at once, tidily, whatever it was doing."""

from __future__ import annotations

import signal
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal. Not an Exception: what carries on after one repository's error must stop for this."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def install() -> None:
    """From here on each signal raises ``Stopped`` in the main thread, once."""
    for signum in SIGNALS:
        signal.signal(signum, _stop)


def _stop(signum: int, _frame: FrameType | None) -> None:
    # Only the first one interrupts: what is left to do is to end processes and tidy up.
    for each in SIGNALS:
        signal.signal(each, _ignore)
    raise Stopped(signum)


def _ignore(_signum: int, _frame: FrameType | None) -> None:
    """Unlike SIG_IGN, a handler is not inherited by the processes that we start."""
