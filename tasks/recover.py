"""The steps of a verification as tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC

from prefect import Task
from prefect.logging import get_run_logger

from checks import Checks
from pra.engines.recovery_target import LATEST, RecoveryTarget, parse_target
from pra.model import CheckResult, Status
from pra.procedures import judging, physical_verify, session, verify
from pra.procedures.judging import VerifyReport
from pra.procedures.session import Choice, Learned, Session
from pra.timing import utc_now
from tasks.step import Handle, discreet, red, step
from tasks.work import Work

AT_ONCE = 2
"""How many checks run side by side: each keeps a core of the sandbox busy."""


Chosen = Handle[Choice]
Restore = Handle[Session]
Until = RecoveryTarget
Proof = VerifyReport
BOTH = "newest and stalest"


def turns(backup: str) -> tuple[str, ...]:
    """What a run proves, one after the other.

    Each proof makes its repository the most recently proven one, so that the second is read from another.
    """
    return ("newest", "stalest") if backup == BOTH else (backup,)


def target_of(text: str) -> RecoveryTarget:
    """What the form's ``to`` says; a time without an offset is UTC.

    Raises:
        UsageError: It is no target.
    """
    with discreet():
        return parse_target(text, now=utc_now(), zone=UTC) if text else LATEST


@step("choose", run_name="choose {which}")
def choose(work: Work, which: str, repository: str | None, target: RecoveryTarget) -> Chosen:
    return Handle(verify.choose(work.held, which, repository, target))


def is_among(choice: Chosen, proofs: Sequence[Proof]) -> bool:
    """Whether this run has already proven that copy: with one backup, the newest is the stalest."""
    return (choice.held.repository, choice.held.backup_id) in {(p.repository, p.backup_id) for p in proofs}


def backups(choice: Chosen, proofs: Sequence[Proof]) -> list[str]:
    """Every backup that the run is about, in order, each once."""
    return list(dict.fromkeys([*(proof.backup_id for proof in proofs), choice.held.backup_id]))


@contextmanager
def restoring(work: Work, choice: Chosen, target: RecoveryTarget) -> Iterator[Handle[Session]]:
    """Folder, sandbox and lease of one verification, gone afterwards."""
    with session.open_session(work.held, choice.held, target=target) as this:
        try:
            yield Handle(this)
        except BaseException:
            # Before the sandbox is torn down: a step that still runs must not start another tool in it.
            work.held.scope.close()
            raise


@contextmanager
def findings() -> Iterator[None]:
    """Once a step has settled the verdict, the steps after it are left out."""
    try:
        yield
    except Learned as finding:
        get_run_logger().error("%s failed: %s", finding.result.name, finding.result.observed)


def attempt(task: Task[[Handle[Session]], None], this: Handle[Session]) -> None:
    """Carry out one step of the restore, and turn what it learns about the backup into a finding."""
    with session.learning(this.held, task.name):
        task.submit(this).result()


@step("manifest")
def read_manifest(this: Handle[Session]) -> None:
    session.read_manifest(this.held)


def is_physical(this: Handle[Session]) -> bool:
    """Whether the backup goes the way of base backups."""
    with discreet():
        return verify.is_physical(this.held)


# Tried once: a second try would start another server beside the first.
@step("preflight", retries=0)
def preflight(this: Handle[Session]) -> None:
    verify.preflight(this.held)


@step("fetch")
def fetch(this: Handle[Session]) -> None:
    session.fetch(this.held)


# Tried once: the clock of the objective runs, and what is half restored is evidence.
@step("restore", retries=0)
def restore(this: Handle[Session]) -> None:
    verify.restore(this.held)


# --- a base backup


@step("plan")
def plan_recovery(this: Handle[Session]) -> None:
    physical_verify.plan(this.held)


@step("preflight", retries=0)
def make_ready(this: Handle[Session]) -> None:
    physical_verify.preflight(this.held)


@step("fetch", retries=0)
def fetch_chain(this: Handle[Session]) -> None:
    physical_verify.fetch(this.held)


@step("recover", retries=0)
def recover(this: Handle[Session]) -> None:
    physical_verify.recover(this.held)


@step("compare", retries=0)
def compare(this: Handle[Session]) -> None:
    physical_verify.compare(this.held)


@step("roll on", retries=0)
def roll_on(this: Handle[Session]) -> None:
    physical_verify.roll_on(this.held)


@step("pages", retries=0)
def read_pages(this: Handle[Session]) -> Handle[list[CheckResult]]:
    result = physical_verify.check_pages(this.held)
    found = Handle([result])
    return red(found, result.reason) if result.status is Status.FAILED else found


def check_pages(this: Handle[Session], results: Handle[list[CheckResult]]) -> Handle[list[CheckResult]]:
    """Last of all, since the server is stopped for it."""
    found = read_pages.submit(this).result(raise_on_failure=False)
    return Handle([*results.held, *found.held])


@dataclass(frozen=True)
class Questions:
    """The plan of the checks: what is asked, what was ruled out beforehand, what must be answered."""

    asked: tuple[str, ...] = ()
    ruled_out: tuple[CheckResult, ...] = ()
    required: tuple[str, ...] = ()


NO_QUESTIONS = Questions()
NO_RESULTS: Handle[list[CheckResult]] = Handle([])


def plan_checks(this: Handle[Session]) -> Questions:
    database, checks = this.held.database, Checks()
    assert database is not None
    return Questions(
        tuple(checks.names(database)),
        tuple(checks.ruled_out(database)),
        tuple(verify.required_of(this.held, checks)),
    )


@step("check", run_name="check {name}", retries=0)
def check(this: Handle[Session], name: str) -> Handle[list[CheckResult]]:
    database = this.held.database
    assert database is not None
    results = Handle(list(Checks().run(name, database)))
    wrong = [each for each in results.held if each.status in (Status.FAILED, Status.SKIPPED)]
    message = "; ".join(f"{each.name} {each.status}: {each.observed or each.reason}" for each in wrong)
    return red(results, message) if wrong else results


def run_checks(this: Handle[Session], questions: Questions) -> Handle[list[CheckResult]]:
    """Ask everything side by side; the answers in the plan's order, those ruled out first."""
    with this.held.timeline.phase("checks"):
        asked = [check.submit(this, name) for name in questions.asked]
        answers = [each.result(raise_on_failure=False) for each in asked]
    return Handle([*questions.ruled_out, *(result for answer in answers for result in answer.held)])


@step("evidence")
def conclude(
    this: Handle[Session], results: Handle[list[CheckResult]], required: tuple[str, ...]
) -> Handle[Proof]:
    return Handle(judging.conclude(this.held, results.held, required=required))
