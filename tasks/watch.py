"""Watching as tasks: each probe of a status pass, what follows the pass, and scrubbing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from prefect import Flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import FlowRun
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from pra.proc import Scope
from pra.procedures import scrub as scrubbing
from pra.procedures.scrub import RepositoryScrub, ScrubReport
from pra.scrub.plan import Amount
from pra.settings import load_settings
from pra.watch.status import asking, passing
from pra.watch.status.asking import Question
from pra.watch.status.finding import Finding, Level, StatusPass
from pra.watch.status.passing import Opened
from tasks import report, start_here
from tasks.report import Ended
from tasks.step import Handle, discreet, red, step
from tasks.work import Work

AT_ONCE = 16
"""Probes side by side in a flow; the command line's own limit is ``concurrency`` under [status]."""

Pass = Handle[Opened]
Answers = Handle[list[Finding]]
Done = Handle[StatusPass]


@contextmanager
def looking() -> Iterator[Pass]:
    """One pass over every target. Raises SettingsError."""
    with discreet(), Scope() as scope:
        settings = load_settings()
        yield Handle(passing.opened(settings, list(settings.targets.values()), scope))


def probes(this: Pass) -> Iterator[tuple[str, Handle[Question]]]:
    """Each with its name, those about databases first."""
    for question in this.held.questions:
        yield question.name, Handle(question)


# Never retried: what it finds now is the answer, and the next pass is five minutes away.
@step("probe", run_name="{name}", retries=0)
def ask(name: str, question: Handle[Question]) -> Answers:
    """Ends within the probe's own limit, whatever hangs; red where something is critical."""
    found = asking.ask(question.held)
    result = Handle(found)
    bad = [finding.message for finding in found if finding.level is Level.CRITICAL]
    return red(result, "; ".join(bad)) if bad else result


def gathered(this: Pass, futures: Sequence[PrefectFuture[Any]]) -> Done:
    """All answers as one pass."""
    found = [finding for each in futures for finding in each.result(raise_on_failure=False).held]
    return Handle(passing.closed(this.held, found))


@step("record", retries=0)
def record(this: Pass, done: Done) -> None:
    """Sample, log, heartbeat; what did not work is said, and ends nothing."""
    for line in passing.conclude(this.held.settings, done.held):
        get_run_logger().warning("%s", line)


def ended(this: Pass, done: Done) -> Ended:
    """Critical is red by that name; a warning is not, or the history would be red for weeks."""
    found = done.held
    bad = [finding for finding in found.findings if finding.level is not Level.OK]
    with report.unimportant("the run's artifacts"):
        rows = [{**finding.as_json(), "target": finding.target or "host"} for finding in found.findings]
        summary = f"{found.level}: {len(bad)} of {len(rows)} not well"
        create_table_artifact(rows, key="status", description=summary)
    with report.unimportant("the page to start from"):
        start_here.refresh(this.held.settings, found)
    message = "; ".join(f"{f.target or 'host'} {f.name}: {f.message}" for f in bad) or "all is well"
    match found.level:
        case Level.CRITICAL:
            return Failed(name="Critical", message=message)
        case Level.OK:
            return Completed(message=message)
        case _:
            return Completed(name="Warning", message=message)


# --- scrub


# A second try would begin with the next objects: what could not be read is in the report, and comes again.
@step("reread", run_name="reread {repository}", retries=0)
def reread(work: Work, repository: str, sample: int, everything: bool) -> Handle[RepositoryScrub]:
    """Red where bytes are damaged."""
    done = scrubbing.scrub(work.held, repository, Amount(everything, sample))
    result = Handle(done)
    return red(result, done.damage[0].message) if done.damage else result


def all_of(futures: Sequence[PrefectFuture[Any]]) -> Handle[list[RepositoryScrub]]:
    """What came of each repository, once all were read."""
    return Handle([each.result(raise_on_failure=False).held for each in futures])


@step("record")
def conclude(work: Work, items: Handle[list[RepositoryScrub]]) -> Handle[ScrubReport]:
    """Verdict and evidence."""
    return Handle(scrubbing.conclude(work.held, items.held))


def repositories(work: Work) -> list[str]:
    """Those of the target; first of all, whether what is found could be signed."""
    with discreet():
        scrubbing.ready(work.held)
    return list(work.held.repositories)


def scrub_ended(done: Handle[ScrubReport]) -> Ended:
    return report.verdict_ended(done.held.verdict, scrubbing.scrub_sentence(done.held))


# --- hooks: a finding is told by the alerts that follow a pass; these tell of a run that broke


def alert_broken(flow: Flow[..., Any], flow_run: FlowRun, state: Ended) -> None:
    if state.name != "Critical":
        report.alert_failure(flow, flow_run, state)


HOOKS: dict[str, Any] = {"on_failure": [alert_broken], "on_crashed": [report.alert_crash]}
