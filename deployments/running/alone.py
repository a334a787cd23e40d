"""One part in place of this process: for systemd and containers, which keep it running themselves."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from deployments.running.access import make_auth, record_api
from deployments.running.apart import require_apart
from deployments.running.environment import (
    inherited,
    server_argv,
    server_environment,
    worker_argv,
    worker_environment,
)
from deployments.running.parts import pool_of
from deployments.running.place import Place
from pra.settings import Settings


def become(settings: Settings, config: Path | None, name: str) -> NoReturn:
    """Turn this process into the Prefect server or a worker.

    A worker asks the API that ``PREFECT_API_URL`` names, else the one of this machine.

    Raises:
        NotFoundError: There is no such part.
        SettingsError: Its password, or its database, cannot be used.
    """
    pool = pool_of(name)
    argv, environment = _server(settings) if pool is None else _worker(settings, config, pool)
    sys.stdout.flush()
    os.execve(argv[0], argv, environment)


def _server(settings: Settings) -> tuple[tuple[str, ...], dict[str, str]]:
    require_apart(settings)
    auth = make_auth(settings)
    record_api(settings)
    home = Place(settings.state_dir).home
    own = server_environment(home, settings.prefect, auth)
    return server_argv(settings.prefect), inherited(os.environ) | own


def _worker(settings: Settings, config: Path | None, pool: str) -> tuple[tuple[str, ...], dict[str, str]]:
    prefect, home = settings.prefect, Place(settings.state_dir).home
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    api = os.environ.get("PREFECT_API_URL") or prefect.api_url
    auth = os.environ.get("PREFECT_API_AUTH_STRING")
    if not auth and (prefect.auth is not None or api == prefect.api_url):
        auth = make_auth(settings)
    own = worker_environment(home, api, auth, state_dir=settings.state_dir, config=config)
    return worker_argv(pool, f"pra-{pool}-{socket.gethostname()}"), inherited(os.environ) | own
