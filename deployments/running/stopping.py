"""The end of everything at one place: runs and workers first, then the streamers, then the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from deployments.running import processes
from deployments.running.access import Access
from deployments.running.cancelling import say_cancelled
from deployments.running.manager import ALIVE, Manager
from deployments.running.parts import MANAGER, WAL, WORKER
from deployments.running.place import OP, Place
from deployments.running.processes import Found
from pra.errors import PraError, UnavailableError

Say = Callable[[str], None]

_POLL_SECONDS = 0.2
_GROUP_SECONDS = 90.0  # the most patient part, and a little more
_RUN_SECONDS = 35.0  # what Prefect gives a run that it cancels, and a little more
_WAL_SECONDS = 45.0
_MANAGER_SECONDS = 10.0
_ROUNDS = 3

_GROUPS: tuple[tuple[str, float], ...] = ((WORKER, _RUN_SECONDS), (WAL, _WAL_SECONDS), ("", 20.0))
"""What the names of a group begin with, the earliest to end first, and its patience in seconds."""


def stop_all(place: Place, say: Say = lambda part: None, *, access: Access | None = None) -> tuple[str, ...]:
    """End what runs at this place, whoever started it; return the names of the parts that ran.

    A run that is under way is cancelled: it gets half a minute to end its tools and tidy up, and publishes
    nothing that is not whole. WAL that was received is shipped once more.

    Args:
        say: Told the name of each part before it is asked to end.
        access: The server at this place, which is told of the runs that were cancelled.

    Raises:
        PraError: Something is still there.
    """
    ended: list[str] = []
    manager = Manager(place)
    if manager.pid() is not None:
        try:
            ended += _through(manager, place, say, access)
        except UnavailableError:
            ended += []  # it stopped answering: what follows needs no answer
    ended += _by_process(place, say, access)
    if left := processes.find(place):
        numbers = ", ".join(str(found.pid) for found in left)
        raise PraError(f"still running: {numbers}", op=OP, hint=f"End them with: kill -9 {numbers}")
    return tuple(dict.fromkeys(name for name in ended if name not in ("", MANAGER)))


def group_of(name: str) -> int:
    """Which group a part belongs to; the lower one ends first."""
    return next(place for place, (prefix, _) in enumerate(_GROUPS) if name.startswith(prefix))


def _through(manager: Manager, place: Place, say: Say, access: Access | None) -> list[str]:
    """The orderly way: the manager ends its own."""
    under_way = _runs(place)
    ran = [state.name for state in manager.states().values() if state.state in ALIVE]
    for group in range(len(_GROUPS)):
        names = [name for name in ran if group_of(name) == group]
        for name in names:
            say(name)
            manager.stop(name)
        deadline = time.monotonic() + _GROUP_SECONDS
        while any(manager.states()[name].state in ALIVE for name in names):
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_SECONDS)
        # Runs outlive a worker that was killed.
        processes.end(place, _tops(place, group), _GROUPS[group][1])
        if group == 0:
            say_cancelled(access, under_way)
    manager.shut_down()
    deadline = time.monotonic() + _MANAGER_SECONDS
    while _managers(place) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return ran


def _by_process(place: Place, say: Say, access: Access | None) -> list[str]:
    """What no manager looks after any more. The manager first, or it would start again what is ended."""
    under_way = _runs(place)
    ended = [found.part for found in processes.end(place, _managers(place), _MANAGER_SECONDS)]
    for group, (_, grace) in enumerate(_GROUPS):
        for _ in range(_ROUNDS):
            found = _tops(place, group)
            for part in dict.fromkeys(one.part for one in found):
                if part not in ended:
                    say(part)
            if not found:
                break
            ended += [one.part for one in processes.end(place, found, grace)]
        if group == 0 and under_way:
            say_cancelled(access, under_way)
    return ended


def _runs(place: Place) -> tuple[str, ...]:
    return tuple(found.flow_run for found in processes.runs(place) if found.flow_run)


def _managers(place: Place) -> Sequence[Found]:
    return [found for found in processes.find(place) if found.part == MANAGER]


def _tops(place: Place, group: int) -> Sequence[Found]:
    """Those of a group whose parents are not of ours: what they started is theirs to end."""
    found = processes.find(place)
    numbers = {one.pid for one in found if one.part != MANAGER}
    mine = [one for one in found if one.part != MANAGER and group_of(one.part) == group]
    return [one for one in mine if one.parent not in numbers]
