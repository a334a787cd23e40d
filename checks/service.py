"""Does the service answer? The application, started against the restored database and asked."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from urllib.parse import quote, urlencode

import httpx

from checks.database import bounded, number
from pra.errors import ToolError
from pra.model import CheckResult, Status
from pra.postgres.connect import Server
from pra.proc import Process
from pra.redact import redact
from pra.restored import RestoredDatabase
from pra.settings import Api

REQUEST_SECONDS = 10.0
_PAUSE = 0.1
_PROTECTED = (401, 403)
_OP = "start the application"


def service(db: RestoredDatabase) -> CheckResult:
    """Start ``api.start``, wait until ``api.restore_url`` answers, GET every endpoint, end the whole group.

    The command gets the restored database as ``PRA_RESTORED_DSN`` (with the password, where there is one)
    and in place of ``{dsn}`` (without). An endpoint passes with 2xx, or with 401 or 403: a protected one that
    says so is alive; at least one must say 2xx. Redirects are not followed: they may lead to production.
    """
    api = db.target.api
    assert api is not None
    assert api.start is not None
    assert api.restore_url is not None
    expected = f"{number(len(_endpoints(api)), 'endpoint')} answer"
    with httpx.Client(base_url=api.restore_url, timeout=REQUEST_SECONDS, trust_env=False) as client:
        if _answers(client):
            # Somebody else's answer would prove nothing about this database.
            reason = "something already answers at api.restore_url"
            return CheckResult("service", Status.SKIPPED, expected, "not asked", reason)
        url = database_url(db.server)
        started = time.monotonic()
        try:
            process = db.scope.start(
                [part.replace("{dsn}", url) for part in shlex.split(api.start)],
                op=_OP,
                env={"PRA_RESTORED_DSN": database_url(db.server, secret=True)},
                secrets=db.server.secrets,
            )
        except ToolError as error:
            return CheckResult("service", Status.FAILED, expected, "not started", error.message)
        try:
            _wait(client, process, api.timeout.total_seconds())
            ready = time.monotonic() - started
            lines, statuses = _ask(client, _endpoints(api))
        except ToolError as error:
            words = redact(error.message, db.server.secrets)
            return CheckResult("service", Status.FAILED, expected, "no answer", words)
        finally:
            process.end()
            db.scope.forget(process)
    return _judge(expected, lines, statuses, ready)


def _endpoints(api: Api) -> Sequence[str]:
    return api.endpoints or ["/"]


def _judge(expected: str, lines: Sequence[str], statuses: Sequence[int], seconds: float) -> CheckResult:
    bad = [line for line, status in zip(lines, statuses, strict=True) if not _is_good(status)]
    if not bad and not any(200 <= status < 300 for status in statuses):
        bad = ["every endpoint is protected: at least one must answer 2xx"]
    if bad:
        observed = f"{len(bad)} of {len(lines)} do not"
        return CheckResult("service", Status.FAILED, expected, observed, bad[0], details=bounded(lines))
    observed = f"{number(len(lines), 'endpoint')} answered, {seconds:.1f} s after the start"
    return CheckResult("service", Status.PASSED, expected, observed, details=bounded(lines))


def _is_good(status: int) -> bool:
    return 200 <= status < 300 or status in _PROTECTED


def _answers(client: httpx.Client) -> bool:
    try:
        client.get("/", timeout=2.0)
    except httpx.HTTPError:
        return False
    return True


def _wait(client: httpx.Client, process: Process, seconds: float) -> None:
    """Until any HTTP answer comes.

    Raises:
        ToolError: The command ended, or nothing answered in time.
    """
    deadline = time.monotonic() + seconds
    while not _answers(client):
        if not process.running() and process.popen.returncode != 0:
            process.check()
        # A command that exited with 0 may have started a server in the background; it still owns the time.
        if time.monotonic() > deadline:
            raise ToolError(f"nothing answers at api.restore_url after {seconds:g} s", op=_OP)
        time.sleep(_PAUSE)


def _ask(client: httpx.Client, endpoints: Sequence[str]) -> tuple[list[str], list[int]]:
    """One line for each endpoint: its path without the query, status, milliseconds. Never the body."""
    lines, statuses = [], []
    for endpoint in endpoints:
        started, path = time.monotonic(), endpoint.split("?", 1)[0]
        try:
            status = client.get(endpoint).status_code
            said = str(status)
        except httpx.HTTPError as error:
            status, said = 0, type(error).__name__
        lines.append(f"GET {path}: {said} in {(time.monotonic() - started) * 1000:.0f} ms")
        statuses.append(status)
    return lines, statuses


def database_url(server: Server, *, secret: bool = False) -> str:
    """The database as a URL, which every driver reads; a socket directory goes into ``host=``."""
    words = server.words()
    user = quote(words.pop("user", "postgres"), safe="")
    database = quote(words.pop("dbname", "postgres"), safe="")
    password = f":{quote(server.password, safe='')}" if secret and server.password else ""
    return f"postgresql://{user}{password}@/{database}?{urlencode(words, quote_via=quote)}"
