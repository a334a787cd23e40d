"""The switch, and whether the service answers afterwards where the applications look for it."""

from __future__ import annotations

import time

import httpx
from psycopg import conninfo

from pra import service_file
from pra.drill.record import Event
from pra.errors import RestoreError
from pra.failover.commands import run_command
from pra.failover.journal import StepDone
from pra.failover.server import await_answer, is_ours
from pra.failover.state import Failover
from pra.model import CheckResult, Status
from pra.postgres.connect import Server
from pra.settings import Api

_EXPECTED = "the recovered server answers where the applications look for it"
_ANSWER_SECONDS = 30.0
_OP = "switch service"


def switch(this: Failover, step: StepDone) -> None:
    """Point the service file, run the command, and see who answers there.

    Raises:
        ToolError: The command failed. RestoreError: Another server answers, or none.
        UsageError, StorageError: The service file cannot be rewritten.
    """
    how = this.how
    if how.service_file is not None and how.service is not None:
        service_file.point(how.service_file, how.service, this.server.words())
        step.facts["service"] = how.service
    if how.switch is not None:
        run_command(this.context.scope, how.switch, op=_OP, limit=how.switch_timeout, env=this.env)
        step.facts["switched"] = True
    if how.service_file is None and how.switch is None:
        step.deviations.append("No switch is configured: the applications have to be sent there by hand.")
    _see_who_answers(this)
    failure = _api(this)
    observed = failure or f"at {this.server.place}"
    status = Status.FAILED if failure else Status.PASSED
    step.checks.append(CheckResult("service", status, _EXPECTED, observed))
    if not failure:
        step.events.append(Event("service", this.context.clock(), f"at {this.server.place}"))


def _see_who_answers(this: Failover) -> None:
    server = this.server
    if this.how.service_file is not None and this.how.service is not None:
        words = service_file.read(this.how.service_file, this.how.service)
        server = Server(conninfo.make_conninfo("", **words), server.password)
    await_answer(server, _ANSWER_SECONDS, this.context.scope)
    system_id = str(this.journal.facts("recover")["system_id"])
    if not is_ours(server, system_id, this.how.directory if this.how.standby is None else None):
        raise RestoreError(
            f"another server answers at {server.place}",
            op=_OP,
            hint="Correct failover.dsn and the switch, then run the failover again with --resume.",
        )


def _api(this: Failover) -> str:
    """Why the application does not answer; empty when it does, or when none is configured."""
    api = this.context.target.api
    if api is None or not api.url or not api.endpoints:
        return ""
    deadline = time.monotonic() + api.timeout.total_seconds()
    while wrong := _ask(api):
        if time.monotonic() > deadline or this.context.scope.closed:
            return wrong
        time.sleep(0.5)
    return ""


def _ask(api: Api) -> str:
    good = False
    for endpoint in api.endpoints:
        try:
            code = httpx.get(f"{str(api.url).rstrip('/')}{endpoint}", timeout=5).status_code
        except httpx.HTTPError as error:
            return f"GET {endpoint}: {type(error).__name__}"
        if code >= 500:
            return f"GET {endpoint}: {code}"
        good = good or 200 <= code < 300
    return "" if good else "no endpoint answers 2xx"
