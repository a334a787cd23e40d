"""What a run leaves in Prefect: its name, its artifacts, the colour of its verdict, and alerts.

Nothing here is the record: that is the manifest and the evidence in the repository. A name or an artifact
that cannot be written is therefore a warning, never the end of a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
from prefect import Flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.logging import get_logger, get_run_logger
from prefect.runtime import flow_run as this_run
from prefect.states import Cancelled, Completed, Failed
from prefect.utilities.urls import url_for

from pra.errors import PraError
from pra.messages import translator
from pra.model import PublishResult, Status, Verdict
from pra.procedures.backup import BackupReport, Outcome
from pra.procedures.drill import DrillReport
from pra.procedures.failover import FailoverReport
from pra.procedures.judging import VerifyReport
from pra.report import markdown
from pra.report.stamp import Stamp
from pra.settings import load_settings
from pra.timing import Phase, utc_now
from pra.watch import alerts
from tasks import pages
from tasks.work import Work

Ended = State[Any]
Recorded = DrillReport | FailoverReport
_DUE = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.COMPLETED)


# --- a run whose moment has passed


def overtaken() -> datetime | None:
    """The moment of a later scheduled run that is due as well: this one need not run any more.

    After a server was down, every run it missed is late and would be executed, the oldest first. A run
    that a person asked for is never overtaken.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or run.deployment_id is None or not run.auto_scheduled or run.expected_start_time is None:
        return None
    with get_client(sync_client=True) as client:
        later = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[run.deployment_id])),
            flow_run_filter=FlowRunFilter(
                expected_start_time=FlowRunFilterExpectedStartTime(after_=run.expected_start_time),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_DUE))),
            ),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        )
    present = utc_now()
    return max(
        (
            other.expected_start_time
            for other in later
            if other.auto_scheduled
            and other.expected_start_time is not None
            and run.expected_start_time < other.expected_start_time <= present
        ),
        default=None,
    )


def skipped(newer: datetime) -> Ended:
    message = f"its moment has passed: the run of {newer:%Y-%m-%d %H:%M} UTC is due as well"
    get_run_logger().warning("%s", message)
    return Completed(name="Skipped", message=message)


# --- names and artifacts


@contextmanager
def unimportant(what: str) -> Iterator[None]:
    """A name or an artifact that cannot be written is a warning."""
    try:
        yield
    except (httpx.HTTPError, PrefectException) as error:
        get_run_logger().warning("%s could not be written: %s", what, type(error).__name__)


def moment_name() -> str:
    """A run about all targets is named after its moment, in UTC."""
    return f"{utc_now():%Y-%m-%d %H:%M}"


def name_run(target: str, *backup_ids: str) -> None:
    """Name and tag the run after the target and the backups that it is about."""
    if this_run.id is None:
        return
    with unimportant("the run's name"), get_client(sync_client=True) as client:
        tags = sorted({*this_run.tags, target, *backup_ids})
        client.update_flow_run(UUID(this_run.id), name=" ".join((target, *backup_ids)), tags=tags)


def show_backup(work: Work, report: BackupReport) -> None:
    """One table of phases, one page: ``backup-phases-<target>`` and ``backup-<target>``."""
    target = work.held.target
    _ = translator(work.held.settings.language)
    with unimportant("the run's artifacts"):
        rows = pages.phase_rows(report.phases, target.rpo.total_seconds(), _)
        create_table_artifact(
            rows,
            key=f"backup-phases-{target.name}",
            description=_("Time of each step, and its share of the RPO"),
        )
        create_markdown_artifact(
            pages.backup_page(report, _), key=f"backup-{target.name}", description=_where(report.repositories)
        )


def show_proofs(target: str, reports: Sequence[VerifyReport], kind: str = "verify") -> None:
    """One table of phases, one page of verdicts: ``verify-phases-<target>`` and ``verify-<target>``."""
    if not reports:
        return
    settings = load_settings()
    objective = settings.target(target).rto.total_seconds()
    _ = translator(settings.language)
    rows = [
        row
        for report in reports
        for row in pages.phase_rows(
            report.phases, objective, _, **{_("Backup"): f"{report.backup_id} ({report.repository})"}
        )
    ]
    with unimportant("the run's artifacts"):
        create_table_artifact(
            rows, key=f"{kind}-phases-{target}", description=_("Time of each step, and its share of the RTO")
        )
        create_markdown_artifact(
            pages.proof_page(reports, _),
            key=f"{kind}-{target}",
            description="; ".join(_sentence(report) for report in reports),
        )


@contextmanager
def drill_shown(target: str) -> Iterator[list[Recorded]]:
    """Show what the body appends, once it is left: the report as ``drill-<target>``, its times as a table.

    That of a failover: ``failover-<target>``.
    """
    done: list[Recorded] = []
    try:
        yield done
    finally:
        for report in done:
            _show_drill(target, report)


def _show_drill(target: str, report: Recorded) -> None:
    settings = load_settings()
    _ = translator(settings.language)
    record = report.record
    objective = settings.target(target).rto.total_seconds()
    phases = tuple(Phase(each.name, each.started_at, each.seconds) for each in record.steps)
    with unimportant("the run's artifacts"):
        create_table_artifact(
            pages.phase_rows(phases, objective, _),
            key=f"{record.kind}-phases-{target}",
            description=_("Time of each step, and its share of the RTO"),
        )
        create_markdown_artifact(
            markdown.render(
                record,
                Stamp.of(report.evidence),
                report.earlier if isinstance(report, DrillReport) else (),
                settings.language,
            ),
            key=f"{record.kind}-{target}",
            description=_drill_sentence(report),
        )


def _drill_sentence(report: Recorded) -> str:
    record = report.record
    wrong = [c for c in record.checks if c.status in (Status.FAILED, Status.SKIPPED)]
    told = ", ".join(f"{c.name} {c.status} ({c.reason or c.observed})" for c in wrong)
    head = f"{record.verdict}: {record.scenario or record.kind} (evidence {report.evidence.head.short})"
    return f"{head}: {told}" if told else head


# --- verdict and colour


def drill_ended(report: Recorded) -> Ended:
    """Its verdict; an abort is neither green nor a failure of what was rehearsed, or was to be done."""
    message = _drill_sentence(report)
    if isinstance(report.verdict, Verdict):
        return verdict_ended(report.verdict, message)
    return Cancelled(name="Aborted", message=message)


def backup_refused(outcome: Outcome) -> Ended:
    """No repository took the backup."""
    return verdict_ended(Verdict.FAIL, _where(outcome.results))


def _where(results: Sequence[PublishResult]) -> str:
    return "; ".join(f"{each.name}: {'published' if each.ok else each.error}" for each in results)


def backup_ended(report: BackupReport) -> Ended:
    """Green only when every repository holds the backup."""
    message = _where(report.repositories)
    return verdict_ended(
        {0: Verdict.PASS, 2: Verdict.PARTIAL}.get(report.exit_code, Verdict.FAIL),
        f"{report.backup_id} - {message}",
    )


def proofs_ended(reports: Sequence[VerifyReport]) -> Ended:
    """The worst verdict of the run."""
    worst = max((report.verdict for report in reports), key=_SEVERITY.index)
    return verdict_ended(worst, "; ".join(_sentence(report) for report in reports))


_SEVERITY = (Verdict.PASS, Verdict.PARTIAL, Verdict.FAIL)


def _sentence(report: VerifyReport) -> str:
    wrong = [
        f"{check.name} {check.status}"
        + (f" ({check.observed or check.reason})" if check.observed or check.reason else "")
        for check in report.checks
        if check.status in (Status.FAILED, Status.SKIPPED)
    ]
    head = f" (evidence {report.head.short})" if report.head is not None else ""
    return f"{report.verdict}: {report.backup_id} from {report.repository}{head}" + (
        f": {', '.join(wrong)}" if wrong else ""
    )


def verdict_ended(verdict: Verdict, message: str) -> Ended:
    """A verdict is an outcome, not an exception: Prefect never retries it."""
    match verdict:
        case Verdict.PASS:
            return Completed(message=message)
        case Verdict.PARTIAL:
            return Failed(name="Partial", message=message)
        case Verdict.FAIL:
            return Failed(name="Fail", message=message)


# --- alerts: module-level, as Prefect wants its hooks


def alert_failure(flow: Flow[..., Any], flow_run: FlowRun, state: Ended) -> None:
    """A verdict in red, or an exception with its hint."""
    severity = alerts.Severity.WARNING if state.name == "Partial" else alerts.Severity.CRITICAL
    _alert(flow, flow_run, _error_of(flow, state), severity)


def alert_crash(flow: Flow[..., Any], flow_run: FlowRun, state: Ended) -> None:
    hint = "Look at the worker's log. What was not finished is not in any repository."
    _alert(flow, flow_run, PraError("the run crashed", op=flow.name, hint=hint), alerts.Severity.CRITICAL)


def alert_cancellation(flow: Flow[..., Any], flow_run: FlowRun, state: Ended) -> None:
    _alert(flow, flow_run, PraError("the run was cancelled", op=flow.name), alerts.Severity.WARNING)


HOOKS: dict[str, Any] = {
    "on_failure": [alert_failure],
    "on_crashed": [alert_crash],
    "on_cancellation": [alert_cancellation],
}


def _error_of(flow: Flow[..., Any], state: Ended) -> BaseException:
    if state.name in ("Partial", "Fail"):
        hint = "Open the run: its page names each check or repository, and what to do."
        return PraError(f"{state.name}: {state.message}", op=flow.name, hint=hint)
    error = state.result(raise_on_failure=False)
    return error if isinstance(error, PraError) else PraError(f"the run ended as {state.name}", op=flow.name)


def _alert(flow: Flow[..., Any], run: FlowRun, error: BaseException, severity: alerts.Severity) -> None:
    try:
        settings = load_settings()
    except PraError as problem:
        get_logger("alerts").error("no alert could be sent: %s", problem.message)
        return
    alerts.notify_failure(
        settings,
        error,
        what=flow.name,
        target=str(run.parameters.get("target", "")),
        link=url_for(run) or "",
        severity=severity,
    )
