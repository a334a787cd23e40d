"""A Prefect server and process workers as children of this process, ended with it. Loopback only."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from deployments.running.environment import server_argv, server_environment, worker_argv
from pra.errors import UnavailableError
from pra.proc import Process, Scope
from pra.settings import Prefect

HOST = "127.0.0.1"
_START_SECONDS = 180.0
_POLL_SECONDS = 0.3
_LOG_TAIL = 2000

Ready = Callable[[], bool]


@dataclass(frozen=True)
class PrefectServer:
    """A running server. ``environment`` is what a client, a worker or ``pra --flow`` needs to reach it."""

    api_url: str
    ui_url: str
    log: Path
    environment: Mapping[str, str] = field(repr=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def prefect_server(state_dir: Path, *, port: int | None = None) -> Iterator[PrefectServer]:
    """Run a server with a database of its own below ``state_dir/prefect``; ended on leaving.

    Args:
        port: Default: any free one.

    Raises:
        UnavailableError: It did not start within three minutes; the message ends with its log.
    """
    home = state_dir / "prefect"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = port or free_port()
    ui_url, log = f"http://{HOST}:{port}", home / "server.log"
    prefect = Prefect(port=port)
    environment = server_environment(home, prefect)
    server = PrefectServer(f"{ui_url}/api", ui_url, log, environment)
    with Scope() as scope:
        process = _start(scope, server_argv(prefect), environment, log, "start the Prefect server")
        _wait(process, log, lambda: _answers(f"{server.api_url}/health"), "the Prefect server")
        yield server


@contextmanager
def process_worker(
    server: PrefectServer, pool: str, *, environment: Mapping[str, str] | None = None, poll_seconds: float = 2
) -> Iterator[Path]:
    """Run a worker for one pool, which it creates when it is not there; yields its log.

    Args:
        environment: Added to what the worker, hence every flow run, sees: ``PRA_…`` for example.
        poll_seconds: How often it looks for work.

    Raises:
        UnavailableError: It was not ready within three minutes.
    """
    log = server.log.with_name(f"worker-{pool}.log")
    argv = (*worker_argv(pool, f"pra-{pool}"), "--type", "process")
    own = {"PREFECT_WORKER_QUERY_SECONDS": f"{poll_seconds:g}", **(environment or {})}
    with Scope() as scope:
        process = _start(scope, argv, {**server.environment, **own}, log, f"start the worker of {pool}")
        _wait(process, log, lambda: _is_ready(server.api_url, pool), f"the worker of {pool}")
        yield log


def _start(
    scope: Scope, argv: tuple[str, ...], environment: Mapping[str, str], log: Path, op: str
) -> Process:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with log.open("ab") as sink:
        return scope.start(
            argv,
            op=op,
            env={**inherited, **environment},
            stdout=sink,
            stderr=sink,
            keep_stdout=False,
        )


def _wait(process: Process, log: Path, ready: Ready, what: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ready():
        if not process.running() or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-_LOG_TAIL:]
            raise UnavailableError(f"{what} did not start: {tail}", op=process.op, hint=f"Look into {log}.")
        time.sleep(_POLL_SECONDS)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False


def _is_ready(api_url: str, pool: str) -> bool:
    try:
        answer = httpx.get(f"{api_url}/work_pools/{pool}", timeout=5)
        return answer.is_success and answer.json()["status"] == "READY"
    except httpx.HTTPError:
        return False
