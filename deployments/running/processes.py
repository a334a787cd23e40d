"""The processes that were started for one place, however they came to outlive their manager.

supervisord writes the address of its socket into the environment of each of its programs, and each hands it
to its own children: what carries ours is ours, and nothing else is. The tools that a backup starts do not
carry it; they are bound to their parent (`pra.proc`) and end with it. Nor does a server that a failover has
started: it is production by then.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deployments.running.place import Place

_PROC = Path("/proc")
_MARK, _PART = "SUPERVISOR_SERVER_URL", "SUPERVISOR_PROCESS_NAME"
_RUN = b"PREFECT__FLOW_RUN_ID="


def marked(place: Place, part: str) -> dict[str, str]:
    """The variables that make a process ours, and supervisord write the same."""
    return {_MARK: f"unix://{place.socket}", _PART: part}


@dataclass(frozen=True)
class Found:
    """One of our processes.

    Attributes:
        part: What it was started as, or by.
        flow_run: The id of the Prefect run that it carries out; None when it is the part itself.
        parent: The process that started it, or took it over.
    """

    pid: int
    part: str
    flow_run: str | None = None
    parent: int = 0


def find(place: Place) -> tuple[Found, ...]:
    """Every process of ours that lives, this one and those it came from aside. Only Linux can tell."""
    own = _ancestry()
    numbers = (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal())
    return tuple(found for pid in numbers if pid not in own and (found := _look(place, pid)))


def runs(place: Place) -> tuple[Found, ...]:
    """Those that carry out runs, one a run."""
    by_run = {found.flow_run: found for found in find(place) if found.flow_run}
    return tuple(by_run.values())


def end(place: Place, chosen: Iterable[Found], grace: float) -> tuple[Found, ...]:
    """End processes: SIGTERM, and after ``grace`` seconds SIGKILL; return those that were there to be ended.

    Their children are not chased: ask `find` again.
    """
    with contextlib.ExitStack() as stack:
        handles: dict[int, Found] = {}
        for found in chosen:
            handle = stack.enter_context(_handle(place, found.pid))
            if handle is not None:
                handles[handle] = found
        ended = tuple(handles.values())
        for signum, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
            for handle in handles:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signum)
            handles = _still(handles, seconds)
            if not handles:
                break
        return ended


def _still(handles: dict[int, Found], seconds: float) -> dict[int, Found]:
    """Those that have not ended within so long."""
    left = dict(handles)
    deadline = time.monotonic() + seconds
    while left and (wait := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select(list(left), [], [], min(wait, 1.0))
        for handle in ready:
            del left[handle]
    return left


@contextlib.contextmanager
def _handle(place: Place, pid: int) -> Iterator[int | None]:
    """A hold on a process that no reuse of its number can turn into another one's."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        # Looked at again, now that the number cannot change hands.
        yield handle if _look(place, pid) else None
    finally:
        os.close(handle)


def _look(place: Place, pid: int) -> Found | None:
    try:
        if (_PROC / str(pid)).stat().st_uid not in _accounts(place):
            return None
        variables = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return None  # it has ended, or is none of our business
    if os.fsencode(f"{_MARK}=unix://{place.socket}") not in variables:
        return None
    run = _value(variables, _RUN)
    return Found(pid, _value(variables, f"{_PART}=".encode()), run or None, _parent(pid))


def _accounts(place: Place) -> set[int]:
    """Whose processes may be ours: this account's, and those of the one that the place belongs to."""
    found = {os.geteuid()}
    with contextlib.suppress(OSError):
        found.add(place.folder.stat().st_uid)
    return found


def _value(variables: list[bytes], name: bytes) -> str:
    return next((each[len(name) :].decode() for each in variables if each.startswith(name)), "")


def _ancestry() -> set[int]:
    """This process and all above it: a run of ours may be what asks."""
    found: set[int] = set()
    pid = os.getpid()
    while pid > 1 and pid not in found:
        found.add(pid)
        pid = _parent(pid)
    return found


def _parent(pid: int) -> int:
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])
