"""The phases of a drill as tasks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from prefect import Task
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from pydantic import Field

from checks import Checks
from pra.drill.scenarios import Intensity, scenario
from pra.drill.state import Aborted, Answer, Drill, Order
from pra.errors import PraError
from pra.model import Status
from pra.procedures import drill
from pra.procedures.drill import DrillReport
from tasks.step import Handle, discreet, red, step
from tasks.work import Work

Rehearsed = Handle[Drill]
Report = DrillReport


class Decision(RunInput):
    """What the approver answers in Prefect's form. Whatever is typed here stays readable: no secret."""

    decision: Literal["proceed", "abort"] = Field(
        default="abort", description="proceed: recover the rehearsed service. abort: end the drill here."
    )
    name: str = Field(default="", description="Who decides; kept in the evidence.", max_length=80)
    comment: str = Field(default="", description="Why; kept in the evidence.", max_length=200)


@contextmanager
def rehearsing(
    work: Work, name: str, intensity: Intensity, backup: str, repository: str
) -> Iterator[Rehearsed]:
    """The environment of one drill, gone afterwards."""
    with discreet():
        order = Order(
            scenario(name), intensity, backup or "newest", repository or None, operator=work.held.operator
        )
        with drill.open_drill(work.held, order) as this:
            try:
                yield Handle(this)
            except BaseException:
                work.held.scope.close()
                raise


# Tried once, all of them: a second try would meet what the first has left.
@step("prepare", retries=0)
def prepare(this: Rehearsed) -> None:
    drill.prepare(this.held)


@step("baseline", retries=0)
def baseline(this: Rehearsed) -> None:
    drill.baseline(this.held)


@step("inject", retries=0)
def inject(this: Rehearsed) -> None:
    drill.inject(this.held)


@step("detect", retries=0)
def detect(this: Rehearsed) -> None:
    drill.detect(this.held)


@step("recover", retries=0)
def recover(this: Rehearsed) -> None:
    drill.recover(this.held)


@step("switch", retries=0)
def switch(this: Rehearsed) -> None:
    drill.switch(this.held)


@step("checks", retries=0)
def check(this: Rehearsed) -> Handle[None]:
    drill.check(this.held, Checks())
    wrong = [c for c in this.held.results if c.status in (Status.FAILED, Status.SKIPPED)]
    done: Handle[None] = Handle(None)
    message = "; ".join(f"{c.name} {c.status}: {c.reason or c.observed}" for c in wrong)
    return red(done, message) if wrong else done


@step("report", retries=0)
def conclude(this: Rehearsed, settled: list[str]) -> Handle[Report]:
    return Handle(drill.conclude(this.held, settled[0] if settled else None))


def carry_out(task: Task[[Rehearsed], Any], this: Rehearsed) -> None:
    """One phase. What is raised before the fault ends the run; after it, it is the drill's answer."""
    try:
        task.submit(this).result(raise_on_failure=task is not check)
    except PraError as error:
        if not this.held.injected or this.held.context.scope.closed:
            raise
        drill.failed(this.held, error)
        raise Answered(error.message) from None


class Answered(Exception):
    """The verdict is known before the end: what remains is to record it."""


@contextmanager
def answers() -> Iterator[list[str]]:
    """Once the drill is aborted or has failed, the phases after that are left out.

    Yields a list that holds a verdict where none is to be reckoned.
    """
    settled: list[str] = []
    try:
        yield settled
    except Answered as answered:
        get_run_logger().error("the drill has its answer: %s", answered)
    except Aborted as aborted:
        get_run_logger().warning("%s", aborted.message)
        settled.append("aborted")


def approve(this: Rehearsed, *, asked: bool, minutes: int) -> None:
    """Pause the run until somebody answers in Prefect's form; in time, or the answer is no.

    Raises:
        Aborted: The answer was no.
    """
    held = this.held
    if not asked:
        drill.approve(held, lambda _: Answer("automatic", "", "the run was started without an approval"))
        return
    with held.phase("approve", waiting=True):
        wanted = Decision.with_initial_data(
            description=f"**{held.scenario.title}** in the rehearsal of {held.context.target.name}.\n\n"
            f"Noticed by the status checks: {held.detected or 'nothing'}.\n\nRecover?"
        )
        given = pause_flow_run(wait_for_input=wanted, timeout=minutes * 60, poll_interval=1)
    drill.record_answer(held, Answer(given.decision, given.name or "Prefect UI", given.comment))
