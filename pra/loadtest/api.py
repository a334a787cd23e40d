"""The application's endpoints under concurrent requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import httpx

from pra.application import REQUEST_SECONDS, answers, application, client_of, endpoints, is_good
from pra.errors import ToolError
from pra.loadtest.measures import ApiLoad, Query, percentile
from pra.postgres.connect import Server
from pra.proc import Scope
from pra.redact import redact
from pra.settings import Api

_OP = "put load on the application"


def ask_concurrently(api: Api, server: Server, scope: Scope, *, clients: int, seconds: float) -> ApiLoad:
    """Start the application against the database, and GET every endpoint in turn from many clients at once.

    Raises:
        ToolError: It could not be started or did not answer; or something else already answers there.
    """
    with client_of(api) as probe:
        if answers(probe):
            raise ToolError(
                "something already answers at api.restore_url",
                op=_OP,
                hint="End it: its answers say nothing about the restored database.",
            )
        try:
            with application(api, server, scope, probe):
                return _put_load(api, endpoints(api), scope, clients, seconds)
        except ToolError as error:
            raise ToolError(redact(error.message, server.secrets), op=error.op, hint=error.hint) from None


def _put_load(api: Api, asked: Sequence[str], scope: Scope, clients: int, seconds: float) -> ApiLoad:
    answered: list[tuple[str, float, bool]] = []
    started = time.monotonic()
    deadline = started + seconds

    def work(first: int) -> None:
        with client_of(api) as client:
            turn = first
            while time.monotonic() < deadline and not scope.closed:
                answered.append(_ask(client, asked[turn % len(asked)]))
                turn += 1

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 2 * REQUEST_SECONDS)
    paths = tuple(dict.fromkeys(_path(endpoint) for endpoint in asked))
    return summarize(list(answered), paths, clients, time.monotonic() - started)


def _ask(client: httpx.Client, endpoint: str) -> tuple[str, float, bool]:
    began = time.monotonic()
    try:
        good = is_good(client.get(endpoint).status_code)
    except httpx.HTTPError:
        good = False
    return _path(endpoint), time.monotonic() - began, good


def _path(endpoint: str) -> str:
    return endpoint.split("?", 1)[0]


def summarize(
    answered: Sequence[tuple[str, float, bool]], paths: Sequence[str], clients: int, seconds: float
) -> ApiLoad:
    """From path, seconds and whether it was good, of every request.

    Raises:
        ToolError: None was answered.
    """
    if not answered:
        raise ToolError("the application answered no request", op=_OP)
    every = sorted(took for _, took, _ in answered)
    by_path = {path: [took for p, took, _ in answered if p == path] for path in paths}
    return ApiLoad(
        clients,
        seconds,
        len(answered),
        sum(not good for _, _, good in answered),
        percentile(every, 0.5),
        percentile(every, 0.95),
        tuple(Query.of(path, times) for path, times in by_path.items() if times),
    )
