"""The application before the database: does it answer, how fast, at which addresses?"""

from __future__ import annotations

import time

import httpx

from pra.settings import Api
from pra.timing import format_duration
from pra.watch.status.aim import Aim
from pra.watch.status.finding import Finding, Level

_PROTECTED = (401, 403)
_HINT = "Look at the application's log; the database is judged by its own line."


def api(aim: Aim) -> list[Finding]:
    """GET every endpoint. A 401 or 403 is alive: it is protected, and says so. Bodies are not kept."""
    settings = aim.context.target.api
    assert settings is not None
    assert settings.url is not None
    limit = aim.status.limit.total_seconds() / 2
    bad: list[str] = []
    slowest, where = 0.0, ""
    with httpx.Client(base_url=settings.url, timeout=limit, trust_env=False) as client:
        endpoints = settings.endpoints or ["/"]
        for endpoint in endpoints:
            wrong, seconds = _get(client, endpoint, limit)
            path = endpoint.split("?", 1)[0]
            if wrong:
                bad.append(f"GET {path}: {wrong}")
            elif seconds > slowest:
                slowest, where = seconds, path
    value = round(slowest * 1000, 1)
    if bad:
        level = Level.CRITICAL if len(bad) == len(endpoints) else Level.WARNING
        fact = f"{len(bad)} of {len(endpoints)} endpoints do not answer: {bad[0]}"
        return [aim.bad(level, "api", fact, _HINT, value, "ms")]
    if slowest > aim.status.api_slow.total_seconds():
        fact = f"GET {where} answers only after {format_duration(slowest)}"
        return [aim.bad(Level.WARNING, "api", fact, _HINT, value, "ms")]
    return [aim.ok("api", f"{_count(len(endpoints))} in {value:.0f} ms at most", value, "ms")]


def is_asked(settings: Api | None) -> bool:
    return settings is not None and settings.url is not None


def _count(number: int) -> str:
    return "1 endpoint answers" if number == 1 else f"{number} endpoints answer"


def _get(client: httpx.Client, endpoint: str, limit: float) -> tuple[str, float]:
    """What is wrong (empty: nothing), and the seconds until the last byte."""
    start = time.monotonic()
    try:
        with client.stream("GET", endpoint) as answer:
            for _piece in answer.iter_raw():
                # A socket's own limit is for each piece: one that trickles would keep us for ever.
                if time.monotonic() - start > limit:
                    return f"not whole within {limit:g} s", limit
            status = answer.status_code
    except httpx.ConnectError:
        return "nothing listens there", 0.0
    except httpx.TimeoutException:
        return f"no answer within {limit:g} s", limit
    except httpx.HTTPError as error:
        return type(error).__name__, 0.0
    if status >= 400 and status not in _PROTECTED:
        return f"status {status}", 0.0
    return "", time.monotonic() - start
