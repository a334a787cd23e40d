"""Start a deployment's run and follow it, or answer one that waits. Imports Prefect: loaded when needed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, WorkPoolStatus
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import get_current_settings

from pra.approval import Challenge, find_challenge
from pra.errors import PraError, UnavailableError, UsageError
from pra.model import Verdict

_POLL_SECONDS = 1.0
_SKIPPED = "Skipped"  # its moment had passed, and a later run is due: as it should be
_UNREMARKABLE = ("", "Scheduled", "Pending")
_PATIENCE_SECONDS = 60.0
_VERDICTS = {"Completed": Verdict.PASS, "Partial": Verdict.PARTIAL, "Fail": Verdict.FAIL}


@dataclass(frozen=True)
class FlowRunReport:
    """How a run ended. ``verdict`` is None when there is none: it crashed, was cancelled, or raised."""

    flow_run_id: UUID
    name: str
    deployment: str
    state: str
    message: str
    verdict: Verdict | None
    seconds: float
    url: str

    @property
    def exit_code(self) -> int:
        if self.verdict is None:
            return 0 if self.state == _SKIPPED else 1
        return self.verdict.exit_code


def run(
    deployment: str, parameters: Mapping[str, Any], *, say: Callable[[str], None] = lambda line: None
) -> FlowRunReport:
    """Create a run of ``flow/name`` and wait until it is final.

    Args:
        deployment: For example ``backup/akig``.
        parameters: What differs from the deployment's own.
        say: Told each change of state, of the run and of its tasks.

    Raises:
        UnavailableError: No API, no such deployment, or no worker that would run it.
    """
    with _connected() as client:
        found = _find(client, deployment)
        if found.work_pool_name:
            _require_worker(client, found.work_pool_name)
        created = client.create_flow_run_from_deployment(
            found.id, parameters=dict(parameters), name=found.name
        )
        url = _ui_url(created.id)
        say(f"flow run {created.name}: {url}")
        final = _follow(client, created.id, found.work_pool_name, say)
    return _report(final, deployment, url)


def challenge_of(run_id: UUID) -> Challenge:
    """What a paused failover waits for.

    Raises:
        UnavailableError: No API answers.
        UsageError: There is no such run, or it does not wait for an approval.
    """
    with _connected() as client:
        keys = _waiting_for(client, run_id)
        page = json.loads(client.read_flow_run_input(run_id, keys["description"]))
    return find_challenge(str(page))


def answer(run_id: UUID, text: str) -> None:
    """Give a paused failover its answer, and let it go on. Raises as `challenge_of`."""
    with _connected() as client:
        _waiting_for(client, run_id)
        resumed = client.resume_flow_run(run_id, run_input={"decision": "proceed", "answer": text})
        if resumed.status != SetStateStatus.ACCEPT:
            raise UsageError(
                f"the run could not be resumed: {resumed.status.value.lower()}",
                op="approve",
                hint="Look at the run; its pause may have ended.",
            )


def _waiting_for(client: SyncPrefectClient, run_id: UUID) -> dict[str, str]:
    """The keys under which its form lies."""
    try:
        state = client.read_flow_run(run_id).state
    except ObjectNotFound:
        raise UsageError(
            f"there is no flow run {run_id}", op="approve", hint="Copy its id or address from the interface."
        ) from None
    keys = state.state_details.run_input_keyset if state is not None and state.is_paused() else None
    if not keys or "description" not in keys:
        name = state.name if state is not None else "unknown"
        raise UsageError(
            f"the run waits for no approval: it is {name}", op="approve", hint="Look at the run's state."
        )
    return {str(name): str(key) for name, key in keys.items()}


def _follow(client: SyncPrefectClient, run_id: UUID, pool: str | None, say: Callable[[str], None]) -> FlowRun:
    last: str | None = None
    moved = time.monotonic()
    tasks: dict[UUID, str] = {}
    while True:
        flow_run = client.read_flow_run(run_id)
        state = flow_run.state
        name = state.name if state else None
        if name != last:
            say(f"flow run {flow_run.name}: {name}")
            last, moved = name, time.monotonic()
        _say_tasks(client, run_id, tasks, say)
        if state is not None and state.is_final():
            return flow_run
        waiting = state is None or state.is_scheduled() or state.is_pending()
        if waiting and pool and time.monotonic() - moved > _PATIENCE_SECONDS:
            # Perhaps busy, perhaps gone: only a pool that lost its worker ends the wait.
            _require_worker(client, pool)
            moved = time.monotonic()
        time.sleep(_POLL_SECONDS)


def _say_tasks(
    client: SyncPrefectClient, run_id: UUID, known: dict[UUID, str], say: Callable[[str], None]
) -> None:
    of_this_run = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    found = client.read_task_runs(flow_run_filter=of_this_run)
    for task_run in sorted(found, key=lambda run: str(run.end_time or run.start_time or "")):
        state = task_run.state_name or ""
        if state in _UNREMARKABLE or known.get(task_run.id) == state:
            continue
        known[task_run.id] = state
        say(f"{task_run.name}: {state}")


def _report(flow_run: FlowRun, deployment: str, url: str) -> FlowRunReport:
    state = flow_run.state
    name = state.name or "" if state else ""
    return FlowRunReport(
        flow_run_id=flow_run.id,
        name=flow_run.name,
        deployment=deployment,
        state=name,
        message=(state.message or "") if state else "",
        verdict=_VERDICTS.get(name),
        seconds=flow_run.total_run_time.total_seconds(),
        url=url,
    )


@contextmanager
def _connected() -> Iterator[SyncPrefectClient]:
    """A client of the API that is configured; without one Prefect would start a server of its own."""
    url = get_current_settings().api.url
    if not url:
        raise _unavailable("no Prefect API is configured", "Set PREFECT_API_URL, or leave out --flow.")
    try:
        reached = httpx.get(f"{url.rstrip('/')}/health", timeout=5).status_code < 500
    except httpx.HTTPError:
        reached = False
    if not reached:
        raise _unavailable(f"no Prefect API answers at {url}", "Start the server, or leave out --flow.")
    try:
        with get_client(sync_client=True) as client:
            yield client
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        raise _unavailable(
            f"the Prefect API failed with {type(error).__name__}", "Look at the run in its UI."
        ) from error


def _find(client: SyncPrefectClient, deployment: str) -> Any:
    try:
        return client.read_deployment_by_name(deployment)
    except ObjectNotFound:
        raise _unavailable(f"there is no deployment {deployment}", "Register it with: pra deploy") from None


def _require_worker(client: SyncPrefectClient, pool: str) -> None:
    try:
        status = client.read_work_pool(pool).status
    except ObjectNotFound:
        raise _unavailable(f"there is no work pool {pool}", "Register it with: pra deploy") from None
    if status != WorkPoolStatus.READY:
        what = "is paused" if status == WorkPoolStatus.PAUSED else "has no worker online"
        raise _unavailable(f"the work pool {pool} {what}", f"Start one: prefect worker start --pool {pool}")


def _ui_url(run_id: UUID) -> str:
    base = get_current_settings().ui_url or ""
    return f"{base.rstrip('/')}/runs/flow-run/{run_id}"


def _unavailable(message: str, hint: str) -> PraError:
    return UnavailableError(message, op="start flow run", hint=hint)
