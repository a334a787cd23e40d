"""The application of a target, started against a restored database and asked over HTTP."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote, urlencode

import httpx

from pra.errors import ToolError
from pra.postgres.connect import Server
from pra.proc import Process, Scope
from pra.settings import Api

REQUEST_SECONDS = 10.0
_PAUSE = 0.1
_PROTECTED = (401, 403)
_OP = "start the application"


def endpoints(api: Api) -> Sequence[str]:
    return api.endpoints or ["/"]


def is_good(status: int) -> bool:
    """2xx; or 401 or 403: a protected endpoint that says so is alive."""
    return 200 <= status < 300 or status in _PROTECTED


def client_of(api: Api) -> httpx.Client:
    """Asks ``api.restore_url``. Redirects are not followed: they may lead to production."""
    assert api.restore_url is not None
    return httpx.Client(base_url=api.restore_url, timeout=REQUEST_SECONDS, trust_env=False)


def answers(client: httpx.Client) -> bool:
    """Whether anything answers there."""
    try:
        client.get("/", timeout=2.0)
    except httpx.HTTPError:
        return False
    return True


@contextmanager
def application(api: Api, server: Server, scope: Scope, client: httpx.Client) -> Iterator[None]:
    """``api.start`` runs, and ``api.restore_url`` answers; its whole group ends on leaving.

    The command gets the database as ``PRA_RESTORED_DSN`` (with the password, where there is one) and in place
    of ``{dsn}`` (without).

    Raises:
        ToolError: It could not be started, ended, or did not answer in time. It may quote the DSN's password.
    """
    assert api.start is not None
    url = database_url(server)
    process = scope.start(
        [part.replace("{dsn}", url) for part in shlex.split(api.start)],
        op=_OP,
        env={"PRA_RESTORED_DSN": database_url(server, secret=True)},
        secrets=server.secrets,
    )
    try:
        _wait(client, process, api.timeout.total_seconds())
        yield
    finally:
        process.end()
        scope.forget(process)


def _wait(client: httpx.Client, process: Process, seconds: float) -> None:
    """Until any HTTP answer comes.

    Raises:
        ToolError: The command ended, or nothing answered in time.
    """
    deadline = time.monotonic() + seconds
    while not answers(client):
        if not process.running() and process.popen.returncode != 0:
            process.check()
        # A command that exited with 0 may have started a server in the background; it still owns the time.
        if time.monotonic() > deadline:
            raise ToolError(f"nothing answers at api.restore_url after {seconds:g} s", op=_OP)
        time.sleep(_PAUSE)


def database_url(server: Server, *, secret: bool = False) -> str:
    """The database as a URL, which every driver reads; a socket directory goes into ``host=``."""
    words = server.words()
    user = quote(words.pop("user", "postgres"), safe="")
    database = quote(words.pop("dbname", "postgres"), safe="")
    password = f":{quote(server.password, safe='')}" if secret and server.password else ""
    return f"postgresql://{user}{password}@/{database}?{urlencode(words, quote_via=quote)}"
