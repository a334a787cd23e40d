"""The steps of a failover and of a guarded restore as tasks, and the forms in which people decide."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any, Literal

from prefect import Task
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from pydantic import Field

from checks import Checks
from pra.approval import FENCE, Challenge
from pra.engines.recovery import LATEST, parse_target
from pra.errors import SignatureError, UsageError
from pra.failover.state import Failover, Reply
from pra.procedures import failover
from pra.procedures.failover import ChecksFailed, FailoverReport, Order, Unprotected
from pra.timing import from_iso, utc_now
from tasks.step import Handle, discreet, step
from tasks.work import Work

UnderWay = Handle[Failover]
Report = FailoverReport
Aborted = failover.Aborted
ANSWERS = 5
"""So many answers may prove nothing before the run gives up; it can be resumed."""


_TYPING_SECONDS = 3600.0


class Approval(RunInput):
    """What is answered to a challenge. A signature is no secret; nothing that is one belongs here."""

    decision: Literal["proceed", "abort"] = Field(
        default="proceed", description="proceed: with the answer below. abort: nothing is touched."
    )
    answer: str = Field(
        default="", description="Printed by: pra approve. Better: pra approve RUN fills it in and resumes."
    )
    name: str = Field(default="", description="Who decides; kept in the evidence.", max_length=80)
    comment: str = Field(default="", description="Why; kept in the evidence.", max_length=200)


class OldIsOff(RunInput):
    """Typed by somebody who has seen it: silence is no proof."""

    target: str = Field(default="", description="The target's name, once you have seen that it is off.")


def wait_for[T: RunInput](form: type[T], seconds: float) -> T:
    """Pause the run until somebody has filled in the form.

    Raises:
        UsageError: Nobody did, in time.
    """
    try:
        return pause_flow_run(wait_for_input=form, timeout=max(1, round(seconds)), poll_interval=1)
    except FlowPauseTimeout:
        raise UsageError(
            "nobody answered in time",
            op="approve",
            hint="Start the run again, with resume where it had begun.",
        ) from None


class InForms:
    """See `pra.failover.state.Hands`: whoever answers does it in Prefect, by form or by ``pra approve``."""

    def approve(self, challenge: Challenge) -> Reply:
        words = "\n".join(f"- {line}" for line in challenge.lines)
        form = Approval.with_initial_data(
            description=f"{words}\n\nAn approver signs this challenge with a key of his own: "
            f"`pra approve` and the id or address of this run.\n\n"
            f"```{FENCE}\n{challenge.text()}\n```"
        )
        left = (challenge.expires_at - utc_now()).total_seconds()
        given = wait_for(form, left)
        return Reply(given.answer, given.decision == "abort", given.name, given.comment)

    def old_is_off(self, target: str, place: str) -> str:
        form = OldIsOff.with_initial_data(
            description=f"Is the old server at {place} off, and can it not come back by itself? "
            f"Type **{target}** once you have seen that it is."
        )
        return wait_for(form, _TYPING_SECONDS).target

    def say(self, line: str) -> None:
        get_run_logger().warning(line)


HANDS = InForms()


@contextmanager
def failing_over(
    work: Work, *, moment: str, backup: str, repository: str, disaster_at: str, resume: bool
) -> Iterator[UnderWay]:
    """A new failover, or the one that was interrupted."""
    with discreet():
        order = Order(
            moment=parse_target(moment, now=utc_now(), zone=UTC) if moment else LATEST,
            repository=repository or None,
            backup_id=backup or None,
            disaster_at=_moment(disaster_at),
            resume=resume,
        )
        with failover.open_failover(work.held, order) as this:
            yield Handle(this)


def _moment(text: str) -> Any:
    if not text:
        return None
    try:
        return from_iso(text)
    except ValueError:
        moment = parse_target(text, now=utc_now(), zone=UTC).moment
    if moment is None:
        raise UsageError(
            f"not a moment: {text[:40]!r}", op="read moment", hint="Write it as 2026-11-22 10:00 (UTC)."
        )
    return moment


# Tried once, all of them: whoever resumes looks at what the first try has left.
@step("plan", retries=0)
def plan(this: UnderWay) -> None:
    failover.make_plan(this.held)


@step("recover", retries=0)
def recover(this: UnderWay) -> None:
    failover.recover(this.held)


@step("start", retries=0)
def start(this: UnderWay) -> None:
    failover.start(this.held)


@step("checks", retries=0)
def check(this: UnderWay) -> None:
    failover.check(this.held, Checks())


@step("switch", retries=0)
def switch(this: UnderWay) -> None:
    failover.switch(this.held)


@step("announce", retries=0)
def announce(this: UnderWay) -> None:
    failover.announce(this.held)


@step("re-protect", retries=0)
def protect(this: UnderWay) -> None:
    failover.protect(this.held, Checks(), HANDS)


@step("report", retries=0)
def conclude(this: UnderWay, outcome: str) -> Handle[Report]:
    return Handle(failover.conclude(this.held, outcome))


def approve(this: UnderWay) -> None:
    """Pause until the challenge is answered. An answer that proves nothing leaves it open for the right one.

    Raises:
        Aborted: The answer was no.
    """
    for tries in range(1, ANSWERS + 1):
        try:
            with discreet():
                return failover.approve(this.held, HANDS)
        except SignatureError as error:
            if tries == ANSWERS:
                raise
            get_run_logger().error("the answer proves nothing: %s", error.message)
    raise AssertionError("unreachable")


def fence(this: UnderWay) -> None:
    """By the configured command; else the run pauses until somebody types that the old server is off."""
    with discreet():
        failover.fence(this.held, HANDS)


def carry_out(task: Task[[UnderWay], Any], this: UnderWay) -> None:
    """One step, to its end."""
    task.submit(this).result()


@contextmanager
def until_halted(this: UnderWay) -> Iterator[None]:
    """What keeps it from being finished is its verdict, and it can be resumed."""
    try:
        yield
    except (ChecksFailed, Unprotected) as error:
        this.held.open = f"{error.message} {error.hint}".strip()
        get_run_logger().error("not finished: %s", error)
