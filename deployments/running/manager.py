"""The process manager, supervisord, as we ask it through its socket."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.running.parts import MANAGER
from deployments.running.place import OP, Place
from deployments.running.processes import marked
from pra.errors import UnavailableError

_ANSWER_SECONDS = 10.0
_START_SECONDS = 30.0
_POLL_SECONDS = 0.1
_LOG_TAIL = 20_000
_MISSING = (10, 70)  # BAD_NAME, NOT_RUNNING
_STARTED = 60  # ALREADY_STARTED

RUNNING, STARTING, BACKOFF, STOPPING, FATAL = "RUNNING", "STARTING", "BACKOFF", "STOPPING", "FATAL"
ALIVE = (RUNNING, STARTING, BACKOFF, STOPPING)


@dataclass(frozen=True)
class State:
    """How one part is. ``since`` is the second of the epoch at which it last started, 0 if never."""

    name: str
    state: str
    pid: int
    since: int


class Manager:
    """A supervisord that runs, perhaps started by an earlier ``pra up``."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._rpc: Any = xmlrpc.client.ServerProxy("http://supervisor", transport=_Transport(place.socket))

    def pid(self) -> int | None:
        """Its process; None when it does not answer."""
        try:
            return int(self._rpc.supervisor.getPID())
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return None

    def states(self) -> dict[str, State]:
        """Every part by name.

        Raises:
            UnavailableError: It does not answer.
        """
        found = self._ask("getAllProcessInfo")
        return {
            each["name"]: State(each["name"], each["statename"], each["pid"], each["start"]) for each in found
        }

    def start(self, name: str) -> None:
        """Start a part; it need not be up when this returns. Raises as `states`."""
        self._ask("startProcess", name, False, passed=(_STARTED,))

    def stop(self, name: str) -> None:
        """Ask a part to end; it need not have ended when this returns. Raises as `states`."""
        self._ask("stopProcess", name, False, passed=_MISSING)

    def shut_down(self) -> None:
        """End what runs, then the manager itself. Raises as `states`."""
        self._ask("shutdown")

    def why_it_ended(self, name: str) -> str:
        """What the manager saw of a part's last end, for example ``terminated by SIGKILL``; may be empty."""
        try:
            with self._place.log("supervisord").open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL))
                text = log.read().decode(errors="replace")
        except OSError:
            return ""
        found = re.findall(rf"exited: {re.escape(name)} \((.*?);", text)
        return str(found[-1]) if found else ""

    def _ask(self, method: str, *arguments: Any, passed: tuple[int, ...] = ()) -> Any:
        try:
            return getattr(self._rpc.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in passed:
                return None
            raise self._silent(fault.faultString) from None
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            raise self._silent(type(error).__name__) from None

    def _silent(self, what: str) -> UnavailableError:
        log = self._place.log("supervisord")
        return UnavailableError(f"the process manager failed: {what}", op=OP, hint=f"Look into {log}.")


def start_manager(place: Place, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start supervisord with the file that lies there, and wait until it answers.

    Not in a `pra.proc.Scope`: when this process is killed the streamers shall stream on, and the manager with
    them. In a session of its own: Ctrl-C in a terminal is for us alone, since there is an order to be kept.

    Raises:
        UnavailableError: It ended, or did not answer within half a minute.
    """
    log = place.log("supervisord")
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "--configuration", place.config],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env={**environment, **marked(place, MANAGER)},
            cwd=place.folder,
            start_new_session=True,
            umask=0o077,
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        manager = Manager(place)
        while manager.pid() != process.pid:
            if process.poll() is not None or time.monotonic() > deadline:
                raise UnavailableError("the process manager did not start", op=OP, hint=f"Look into {log}.")
            time.sleep(_POLL_SECONDS)
    except BaseException:
        # It may have started parts: it ends them first, as asked.
        process.terminate()
        raise
    return process


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("supervisor", timeout=_ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_ANSWER_SECONDS)
        self.sock.connect(str(self._path))


class _Transport(xmlrpc.client.Transport):
    """XML-RPC through a socket of the file system: who may enter its folder may ask, nobody else."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _Connection(self._path)
