"""``pra down``: end what ``pra up`` started, whether it still runs or was killed itself."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from deployments.running import processes, stopping
from deployments.running.access import Access
from deployments.running.place import DOWN, OP, UP, Place, has_lock, held, holder
from pra.errors import PraError

_LIMIT_SECONDS = 300.0
_POLL_SECONDS = 0.2
_TRIES = 5


@dataclass(frozen=True)
class Ended:
    """What `down` found. ``parts``: the names of what ran without a ``pra up`` over it."""

    ran: bool
    parts: tuple[str, ...] = ()
    waited_for: int = 0


def down(
    place: Place,
    *,
    access: Access | None = None,
    wait: float = 0,
    waiting: Callable[[int], None] = lambda runs: None,
    limit: float = 0,
) -> Ended:
    """End everything at this place, and return when it has ended.

    Args:
        access: The server at this place, which is told of the runs that were cancelled.
        wait: Seconds within which runs may end by themselves before anything is ended.
        waiting: Told how many runs are under way, whenever that changes.
        limit: Seconds that a running ``pra up`` gets for its end; 0: five minutes.

    Raises:
        PraError: It did not end in time, something is still there, or ``pra up`` runs elsewhere.
        BusyError: Another ``pra down`` is at work.
    """
    if not place.folder.exists():
        return Ended(False)
    waited_for = _wait_for_runs(place, wait, waiting)
    running = holder(place)
    if running is not None and running.role == UP:
        _ask_to_end(place, running.pid, limit or _LIMIT_SECONDS)
    with held(place, role=DOWN):
        # Also behind a pra up that ended well: should it have left something, that ends as well.
        parts = stopping.stop_all(place, access=access)
    return Ended(running is not None or bool(parts), parts, waited_for)


def _ask_to_end(place: Place, pid: int, limit: float) -> None:
    for _ in range(_TRIES):
        if _terminate(place, pid):
            break
        time.sleep(_POLL_SECONDS)
        running = holder(place)
        if running is None or running.role != UP:
            return
        pid = running.pid
    else:
        raise PraError(
            f"pra up is at work, and process {pid} of this machine is not it",
            op=OP,
            hint="It was started in a container or on another machine, or by another account: end it there.",
        )
    deadline = time.monotonic() + limit
    while (still := holder(place)) is not None and still.pid == pid:
        if time.monotonic() > deadline:
            raise PraError(
                f"pra up (process {pid}) did not end within {limit:.0f} s",
                op=OP,
                hint=f"Run: kill -9 {pid}; then again: pra down",
            )
        time.sleep(_POLL_SECONDS)


def _terminate(place: Place, pid: int) -> bool:
    """Whether this was the process that has the lock, and was asked to end: no other is ever hit."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not has_lock(place, pid):
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGTERM)
        return True
    finally:
        os.close(handle)


def _wait_for_runs(place: Place, wait: float, waiting: Callable[[int], None]) -> int:
    """Until no run is under way, at most so long; return how many there were at the beginning."""
    deadline = time.monotonic() + wait
    before = first = 0
    while time.monotonic() < deadline and (number := len(processes.runs(place))):
        first = first or number
        if number != before:
            waiting(number)
        before = number
        time.sleep(_POLL_SECONDS)
    return first
