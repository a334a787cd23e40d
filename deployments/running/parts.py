"""What there is to run, in which order it stops, and how supervisord is told of it. Pure."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from deployments.running.place import OP, Place
from pra.errors import NotFoundError, UsageError
from pra.settings import Settings

MANAGER = "supervisord"
SERVER = "prefect"
WORKER = "worker-"
WAL = "wal-"
POOLS = ("backup", "verify")
EMERGENCY = "emergency"

_PRA = (sys.executable, "-m", "deployments.cli")
# The higher, the later it starts and the earlier it stops. Runs need the API to say how they ended; the
# streamers outlast the runs, so that what a backup needs is shipped.
_SERVER_RANK, _WAL_RANK, _WORKER_RANK = 100, 200, 300


@dataclass(frozen=True)
class Part:
    """One program that is kept running.

    Attributes:
        rank: Parts of the highest rank are ended first.
        patience: Seconds that it has for ending; then its process group is killed.
        at_once: It needs nothing else to be there before it.
    """

    name: str
    argv: tuple[str, ...]
    rank: int
    patience: int
    at_once: bool = True


def parts_of(settings: Settings, *, emergency: bool = False) -> tuple[Part, ...]:
    """What these settings call for: server, workers, one streamer a physical target; as it starts."""
    pools = (*POOLS, EMERGENCY) if emergency else POOLS
    physical = [target.name for target in settings.targets.values() if target.engine == "physical"]
    return (
        Part(SERVER, (*_PRA, "up", SERVER), _SERVER_RANK, patience=20),
        *(
            # Its last pass over the repositories may take half a minute.
            Part(WAL + name, (*_PRA, "wal", "stream", name), _WAL_RANK, patience=45)
            for name in physical
        ),
        *(
            # It gives each of its runs half a minute to tidy up.
            Part(WORKER + pool, (*_PRA, "up", WORKER + pool), _WORKER_RANK, patience=60, at_once=False)
            for pool in pools
        ),
    )


def pool_of(name: str) -> str | None:
    """The work pool of a part that is a worker; None: it is the server.

    Raises:
        NotFoundError: There is no such part that could be run by itself.
    """
    if name == SERVER:
        return None
    pool = name.removeprefix(WORKER)
    if name.startswith(WORKER) and pool in (*POOLS, EMERGENCY):
        return pool
    known = ", ".join((SERVER, *(WORKER + pool for pool in (*POOLS, EMERGENCY))))
    raise NotFoundError(
        f"no such part: {name!r}",
        op=OP,
        hint=f"Parts are {known}; a target's WAL: pra wal stream TARGET. Without a part, all are run.",
    )


def supervisor_config(place: Place, parts: Sequence[Part]) -> str:
    """supervisord's file.

    Raises:
        UsageError: A path cannot be written in such a file.
    """
    return "\n".join([_HEAD.format(**_head(place)), *(_program(place, part) for part in parts)])


_HEAD = """\
; Written by pra up at every start: what is changed here is lost.
[supervisord]
nodaemon = true
silent = true
logfile = {log}
logfile_maxbytes = 10MB
logfile_backups = 3
pidfile = {pidfile}

[unix_http_server]
file = {socket}
chmod = 0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""

_PROGRAM = """\
[program:{name}]
command = {command}
priority = {rank}
autostart = {autostart}
autorestart = true
startsecs = 5
startretries = 8
stopsignal = TERM
stopwaitsecs = {patience}
; Only what does not end in time takes the rest of its group along.
stopasgroup = false
killasgroup = true
redirect_stderr = true
stdout_logfile = {log}
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 5
"""


def _head(place: Place) -> dict[str, str]:
    return {
        "log": _written(str(place.log("supervisord"))),
        "pidfile": _written(str(place.pidfile)),
        "socket": _written(str(place.socket)),
    }


def _program(place: Place, part: Part) -> str:
    return _PROGRAM.format(
        name=part.name,
        command=_written(shlex.join(part.argv)),
        rank=part.rank,
        autostart=str(part.at_once).lower(),
        patience=part.patience,
        log=_written(str(place.log(part.name))),
    )


def _written(value: str) -> str:
    """A value as supervisord reads it back: it fills in ``%``, and takes what follows `` ;`` for a remark."""
    # It fills in some values once and others twice, so that no escape is right for all.
    if any(mark in value for mark in ("%", " ;", " #", "\n", "\r")):
        raise UsageError(
            f"a path cannot stand in the process manager's file: {value!r}",
            op=OP,
            hint="Choose a state directory without %, without blanks before ; or #, in one line.",
        )
    return value
