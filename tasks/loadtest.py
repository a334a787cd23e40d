"""The phases of a load test as tasks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect import Task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger

from pra.loadtest.state import LoadTest, Order
from pra.messages import translator
from pra.model import Status
from pra.procedures import loadtest
from pra.procedures.loadtest import LoadTestReport
from pra.report import markdown
from pra.report.loadtest import load_report_of
from pra.report.stamp import Stamp
from pra.settings import load_settings
from pra.timing import Phase
from tasks import pages
from tasks.report import Ended, verdict_ended
from tasks.step import Handle, discreet, red, step
from tasks.work import Work

Tested = Handle[LoadTest]
Report = LoadTestReport


@contextmanager
def testing(
    work: Work, rounds: int, clients: int, seconds: int, backup: bool, repository: str
) -> Iterator[Tested]:
    """What one load test owns, gone afterwards."""
    with discreet():
        order = Order(
            rounds,
            clients,
            seconds,
            backup,
            repository=repository or None,
            operator=work.held.operator,
        )
        with loadtest.open_load_test(work.held, order) as this:
            try:
                yield Handle(this)
            except BaseException:
                work.held.scope.close()
                raise


# Tried once, all of them: what was measured at a second try would flatter.
@step("prepare", retries=0)
def prepare(this: Tested) -> None:
    loadtest.prepare(this.held)


@step("backup", retries=0)
def backup(this: Tested) -> Handle[None]:
    before = len(this.held.results)
    loadtest.backup(this.held)
    return _coloured(this, before)


@step("restore", retries=0)
def restore(this: Tested) -> Handle[None]:
    before = len(this.held.results)
    loadtest.restore(this.held)
    return _coloured(this, before)


@step("original", retries=0)
def original(this: Tested) -> Handle[None]:
    loadtest.original(this.held)
    return Handle(None)


@step("load", retries=0)
def load(this: Tested) -> Handle[None]:
    before = len(this.held.results)
    loadtest.load(this.held)
    return _coloured(this, before)


@step("api", retries=0)
def api(this: Tested) -> Handle[None]:
    before = len(this.held.results)
    loadtest.api(this.held)
    return _coloured(this, before)


@step("integrity", retries=0)
def integrity(this: Tested) -> Handle[None]:
    before = len(this.held.results)
    loadtest.integrity(this.held)
    return _coloured(this, before)


@step("report", retries=0)
def conclude(this: Tested) -> Handle[Report]:
    return Handle(loadtest.conclude(this.held))


def carry_out(task: Task[[Tested], Handle[None]], this: Tested) -> None:
    """One phase. Red with a result, its answers are not in order, and the rest goes on.

    Raises:
        PraError: It could not be carried out, which is no answer.
    """
    found = task.submit(this).result(raise_on_failure=False)
    if isinstance(found, BaseException):
        raise found


@contextmanager
def shown(target: str) -> Iterator[list[Report]]:
    """Show what the body appends, once it is left: ``load-test-<target>``, its times as a table beside."""
    done: list[Report] = []
    try:
        yield done
    finally:
        for each in done:
            _show(target, each)


def _show(target: str, done: Report) -> None:
    settings = load_settings()
    _ = translator(settings.language)
    record = done.record
    phases = tuple(Phase(each.name, each.started_at, each.seconds) for each in record.steps)
    objective = settings.target(target).rto.total_seconds()
    page = markdown.page(load_report_of(record, Stamp.of(done.evidence), done.earlier, settings.language))
    try:
        create_table_artifact(
            pages.phase_rows(phases, objective, _),
            key=f"load-test-phases-{target}",
            description=_("Time of each step, and its share of the RTO"),
        )
        create_markdown_artifact(page, key=f"load-test-{target}", description=_sentence(done))
    except (httpx.HTTPError, PrefectException) as error:
        get_run_logger().warning("the run's artifacts could not be written: %s", type(error).__name__)


def ended(done: Report) -> Ended:
    """Its verdict is the run's colour."""
    return verdict_ended(done.verdict, _sentence(done))


def _sentence(done: Report) -> str:
    wrong = [c for c in done.record.checks if c.status in (Status.FAILED, Status.SKIPPED)]
    told = ", ".join(f"{c.name} {c.status} ({c.reason or c.observed})" for c in wrong)
    head = f"{done.verdict}: load test (evidence {done.evidence.head.short})"
    return f"{head}: {told}" if told else head


def _coloured(this: Tested, before: int) -> Handle[None]:
    """Red where an answer of this phase is not in order."""
    found = this.held.results[before:]
    wrong = [check for check in found if check.status in (Status.FAILED, Status.SKIPPED)]
    done: Handle[None] = Handle(None)
    message = "; ".join(f"{check.name} {check.status}: {check.reason or check.observed}" for check in wrong)
    return red(done, message) if wrong else done
