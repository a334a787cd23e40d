"""Does the service answer? The application, started against the restored database and asked."""

from __future__ import annotations

import time
from collections.abc import Sequence

import httpx

from checks.database import bounded, number
from pra.application import answers, application, client_of, endpoints, is_good
from pra.errors import ToolError
from pra.model import CheckResult, Status
from pra.redact import redact
from pra.restored import RestoredDatabase


def service(db: RestoredDatabase) -> CheckResult:
    """Start ``api.start``, wait until ``api.restore_url`` answers, GET every endpoint, end the whole group.

    An endpoint passes with 2xx, or with 401 or 403: a protected one that says so is alive; at least one must
    say 2xx. See `pra.application`.
    """
    api = db.target.api
    assert api is not None
    asked = endpoints(api)
    expected = f"{number(len(asked), 'endpoint')} answer"
    with client_of(api) as client:
        if answers(client):
            # Somebody else's answer would prove nothing about this database.
            reason = "something already answers at api.restore_url"
            return CheckResult("service", Status.SKIPPED, expected, "not asked", reason)
        started = time.monotonic()
        try:
            with application(api, db.server, db.scope, client):
                ready = time.monotonic() - started
                lines, statuses = _ask(client, asked)
        except ToolError as error:
            words = redact(error.message, db.server.secrets)
            return CheckResult("service", Status.FAILED, expected, "no answer", words)
    return _judge(expected, lines, statuses, ready)


def _judge(expected: str, lines: Sequence[str], statuses: Sequence[int], seconds: float) -> CheckResult:
    bad = [line for line, status in zip(lines, statuses, strict=True) if not is_good(status)]
    if not bad and not any(200 <= status < 300 for status in statuses):
        bad = ["every endpoint is protected: at least one must answer 2xx"]
    if bad:
        observed = f"{len(bad)} of {len(lines)} do not"
        return CheckResult("service", Status.FAILED, expected, observed, bad[0], details=bounded(lines))
    observed = f"{number(len(lines), 'endpoint')} answered, {seconds:.1f} s after the start"
    return CheckResult("service", Status.PASSED, expected, observed, details=bounded(lines))


def _ask(client: httpx.Client, asked: Sequence[str]) -> tuple[list[str], list[int]]:
    """One line for each endpoint: its path without the query, status, milliseconds. Never the body."""
    lines, statuses = [], []
    for endpoint in asked:
        started, path = time.monotonic(), endpoint.split("?", 1)[0]
        try:
            status = client.get(endpoint).status_code
            said = str(status)
        except httpx.HTTPError as error:
            status, said = 0, type(error).__name__
        lines.append(f"GET {path}: {said} in {(time.monotonic() - started) * 1000:.0f} ms")
        statuses.append(status)
    return lines, statuses
