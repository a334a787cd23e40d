"""What Prefect is told of runs that ended with the worker they belonged to."""

from __future__ import annotations

from collections.abc import Iterable

import httpx

from deployments.running.access import Access

_SECONDS = 10.0
_FINAL = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
_STATE = {"type": "CANCELLED", "name": "Cancelled", "message": "Everything on this machine was stopped."}


def say_cancelled(access: Access | None, runs: Iterable[str]) -> None:
    """Call these runs cancelled where nobody has said how they ended.

    A worker that is ended says nothing of its runs: they would be called running for ever, and keep the slot
    that the next run of their target waits for. Where the server does not answer, it stays at that.
    """
    if access is None:
        return
    user, _, password = (access.auth or "").partition(":")
    auth = httpx.BasicAuth(user, password) if access.auth else None
    try:
        with httpx.Client(base_url=access.url, auth=auth, timeout=_SECONDS) as client:
            for run in runs:
                _say(client, run)
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return


def _say(client: httpx.Client, run: str) -> None:
    found = client.get(f"/flow_runs/{run}")
    if found.status_code == httpx.codes.NOT_FOUND:
        return
    if found.raise_for_status().json()["state"]["type"] not in _FINAL:
        wanted = {"state": _STATE, "force": True}
        client.post(f"/flow_runs/{run}/set_state", json=wanted).raise_for_status()
