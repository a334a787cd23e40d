"""The schedule itself, asked of Prefect's API over HTTP: runs that are late, missing, stuck or paused.

The core does not know Prefect: where it is the casualty, this is one unknown line and nothing else fails.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx

from pra.settings import Settings, Status
from pra.timing import format_duration, from_iso
from pra.watch.status.finding import HOST, Finding, Level

LATE = timedelta(minutes=15)
"""A run waits for a worker, or for the one before it; beyond this it is late."""
NEEDED = ("backup", "restore-verify")
"""Flows without which a target is not protected."""
_PAGE = 200
_HINT = "Start the Prefect server and its workers; commands work without them: pra backup"


@dataclass(frozen=True)
class Deployment:
    """``name`` is ``flow/deployment``. ``often``: its schedule has more than one run a month."""

    id: str
    name: str
    active: bool
    often: bool


@dataclass(frozen=True)
class Run:
    deployment: str
    name: str
    due: datetime | None
    moved: datetime | None


def schedule(settings: Settings, now: datetime) -> list[Finding]:
    """Late, missing, stuck and paused; nothing at all where no API is configured."""
    status = settings.status
    if status.prefect_api is None:
        return []
    try:
        with _client(status) as client:
            deployments = _deployments(client)
            late = _runs(client, ["SCHEDULED"], now - LATE)
            at_work = _runs(client, ["RUNNING", "PENDING", "CANCELLING"], None)
            planned = _planned(client, [each.id for each in deployments if each.active and each.often])
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        fact = f"the Prefect API does not answer: {_words(error)}"
        return [Finding("schedule", HOST, Level.UNKNOWN, fact, hint=_HINT)]
    return [judge(deployments, late, at_work, list(settings.targets), status, now, planned)]


def judge(
    deployments: Sequence[Deployment],
    waiting: Sequence[Run],
    at_work: Sequence[Run],
    targets: Sequence[str],
    status: Status,
    now: datetime,
    planned: Collection[str] = (),
) -> Finding:
    """The worst of what the schedule has. Pure.

    Args:
        waiting: Runs that are scheduled; those that are late must be among them.
        planned: Ids of deployments of which some run is scheduled, whenever.
    """
    names = {each.id: each.name for each in deployments}
    late = [run for run in waiting if run.due is not None and run.due < now - LATE]
    stuck = [run for run in at_work if run.moved is not None and run.moved < now - status.longest_run]
    due = {run.deployment for run in waiting} | set(planned)
    missing = [d.name for d in deployments if d.active and d.often and d.id not in due]
    have = {each.name for each in deployments}
    needed = [f"{flow}/{target}" for target in targets for flow in NEEDED]
    absent = [name for name in needed if name not in have]
    idle = [each.name for each in deployments if not (each.active or each.often) and each.name in needed]
    paused = [each.name for each in deployments if not each.active and each.often]
    if late:
        oldest = min(late, key=lambda run: run.due or now)
        where = names.get(oldest.deployment, oldest.name)
        assert oldest.due is not None
        ago = format_duration((now - oldest.due).total_seconds())
        fact = f"{_runs_are(len(late))} late: {where} was due {ago} ago"
        level = Level.CRITICAL if len(late) > 1 else Level.WARNING
        return Finding("schedule", HOST, level, fact, len(late), "count", hint=_WORKER)
    if stuck:
        oldest = min(stuck, key=lambda run: run.moved or now)
        where = names.get(oldest.deployment, oldest.name)
        assert oldest.moved is not None
        ago = format_duration((now - oldest.moved).total_seconds())
        fact = f"{where} has not moved for {ago}"
        return Finding("schedule", HOST, Level.WARNING, fact, len(stuck), "count", hint=_STUCK)
    if missing:
        fact = f"no run of {_some(missing)} is planned although its schedule is active"
        hint = "Look at the Prefect server's log: its scheduler makes no runs."
        return Finding("schedule", HOST, Level.CRITICAL, fact, len(missing), "count", hint=hint)
    if absent:
        fact = f"there is no deployment {_some(absent)}"
        return Finding("schedule", HOST, Level.WARNING, fact, len(absent), "count", hint="Run: pra deploy")
    if paused:
        fact = f"the schedule of {_some(paused)} is paused"
        hint = "Switch it on again in the Prefect interface once the reason is gone."
        return Finding("schedule", HOST, Level.WARNING, fact, len(paused), "count", hint=hint)
    if idle:
        fact = f"no schedule of {_some(idle)} is active"
        return Finding("schedule", HOST, Level.WARNING, fact, len(idle), "count", hint="Run: pra deploy")
    return Finding("schedule", HOST, Level.OK, f"{len(deployments)} deployments, no run is late", 0, "count")


_WORKER = "Start the worker of its pool: pra up, or its own service (pra up worker-…)."
_STUCK = "Look at the run's log; cancel it in the Prefect interface if its process is gone."


def _runs_are(count: int) -> str:
    return "1 run is" if count == 1 else f"{count} runs are"


def _some(names: Sequence[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


def _words(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"status {error.response.status_code}"
    return "its answer has another form" if isinstance(error, ValueError | KeyError) else type(error).__name__


# -- the API -------------------------------------------------------------------------------------


def _client(status: Status) -> httpx.Client:
    auth = None
    if status.prefect_auth is not None:
        user, _, password = status.prefect_auth.get_secret_value().partition(":")
        auth = (user, password)
    seconds = status.limit.total_seconds() / 4  # a pass asks five times, one page each where there are few
    url = str(status.prefect_api).rstrip("/")
    return httpx.Client(base_url=url, timeout=seconds, auth=auth, trust_env=False)


def _ask(client: httpx.Client, path: str, **body: Any) -> list[dict[str, Any]]:
    """The first page."""
    answer = client.post(path, json={"limit": _PAGE, **body})
    answer.raise_for_status()
    found = answer.json()
    if not isinstance(found, list):
        raise ValueError("no list")
    return found


def _ask_all(client: httpx.Client, path: str, **body: Any) -> Iterator[dict[str, Any]]:
    """Page by page: a fleet has more deployments than the server gives at once."""
    offset = 0
    while page := _ask(client, path, offset=offset, **body):
        yield from page
        offset += len(page)
        if len(page) < _PAGE:
            return


def _deployments(client: httpx.Client) -> list[Deployment]:
    flows = {flow["id"]: flow["name"] for flow in _ask_all(client, "/flows/filter")}
    return [
        Deployment(
            raw["id"],
            f"{flows.get(raw['flow_id'], '?')}/{raw['name']}",
            not raw.get("paused") and any(each["active"] for each in raw["schedules"]),
            any(_often(each["schedule"].get("cron")) for each in raw["schedules"]),
        )
        for raw in _ask_all(client, "/deployments/filter")
    ]


def _planned(client: httpx.Client, ids: Sequence[str]) -> set[str]:
    """Those of which some run is scheduled. Counted first: a fleet has thousands of runs to come."""
    body = {
        "deployments": {"id": {"any_": list(ids)}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
    }
    answer = client.post("/deployments/count", json=body)
    answer.raise_for_status()
    if answer.json() == len(ids):
        return set(ids)
    return {str(raw["id"]) for raw in _ask_all(client, "/deployments/filter", **body)}


def _often(cron: object) -> bool:
    """Whether a run of it must be planned: the scheduler looks some hundred days ahead, and not at a year."""
    fields = str(cron or "").split()
    return len(fields) == 5 and fields[3] == "*"


def _runs(client: httpx.Client, states: Sequence[str], until: datetime | None) -> list[Run]:
    chosen: dict[str, Any] = {"state": {"type": {"any_": list(states)}}}
    if until is not None:
        chosen["expected_start_time"] = {"before_": until.isoformat()}
    raws = _ask(client, "/flow_runs/filter", flow_runs=chosen, sort="EXPECTED_START_TIME_ASC")
    return list(_parsed(raws))


def _parsed(raws: Iterable[dict[str, Any]]) -> Iterable[Run]:
    for raw in raws:
        state = raw.get("state") or {}
        yield Run(
            deployment=str(raw.get("deployment_id") or ""),
            name=str(raw.get("name") or "?"),
            due=_moment(raw.get("expected_start_time")),
            moved=_moment(state.get("timestamp")),
        )


def _moment(text: object) -> datetime | None:
    return from_iso(text) if isinstance(text, str) else None
