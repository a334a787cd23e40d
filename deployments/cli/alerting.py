"""What the command line tells the people on call: through the same sender as the flows' hooks."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deployments.cli.session import Session
from deployments.cli.signals import Stopped
from pra.errors import BusyError, Interrupted, PraError, UsageError
from pra.model import Status, Verdict

if TYPE_CHECKING:  # every command loads this module, and no command needs all of these
    from pra.drill.record import DrillRecord
    from pra.evidence_record import Head
    from pra.procedures.backup import BackupReport
    from pra.procedures.judging import VerifyReport
    from pra.procedures.loadtest import LoadTestReport
    from pra.procedures.scrub import ScrubReport


@contextmanager
def alerting(session: Session, what: str, target: str, *, typed: bool = False) -> Iterator[None]:
    """Alert when the work inside ends in an error, then let the error go on.

    Ctrl-C is not told: whoever pressed it knows. Another run being at work is a warning.

    Args:
        typed: A person is at the keyboard and sees a wrong usage; otherwise a timer started this.
    """
    try:
        yield
    except PraError as error:
        if not (typed and isinstance(error, UsageError)):
            tell(session, what, target, error, critical=not isinstance(error, BusyError))
        raise
    except Stopped as stopped:
        if stopped.signum != signal.SIGINT:
            tell(session, what, target, Interrupted(stopped.signum), critical=False)
        raise
    except Exception as error:
        tell(session, what, target, error, critical=True)
        raise


def tell(session: Session, what: str, target: str, error: BaseException, *, critical: bool) -> None:
    # Loaded here: slack-sdk is needed only when something is wrong.
    from pra.watch import alerts

    severity = alerts.Severity.CRITICAL if critical else alerts.Severity.WARNING
    alerts.notify_failure(session.settings, error, what=what, target=target, severity=severity)


def tell_backup(session: Session, done: BackupReport) -> None:
    """Alert when not every repository holds the backup."""
    failed = [result for result in done.repositories if not result.ok]
    if failed:
        message = "; ".join(f"{result.name}: {result.error}" for result in failed)
        error = PraError(message, op=f"publish {done.backup_id}", hint=failed[0].hint)
        tell(session, "backup", done.target, error, critical=done.exit_code == 1)


def tell_proof(session: Session, what: str, done: VerifyReport) -> None:
    """Alert when the verdict is not PASS. Names and counts only, as everywhere."""
    if done.verdict is Verdict.PASS:
        return
    wrong = [check for check in done.checks if check.status in (Status.FAILED, Status.SKIPPED)]
    found = ", ".join(f"{check.name} {check.status}: {check.observed or check.reason}" for check in wrong)
    head = f" (evidence {done.head.short})" if done.head is not None else ""
    message = f"{done.verdict}: {done.backup_id} from {done.repository}{head}: {found}"
    hint = next((check.reason for check in wrong if check.reason), "")
    tell(
        session,
        what,
        done.target,
        PraError(message, op="check", hint=hint),
        critical=done.verdict is Verdict.FAIL,
    )


def tell_scrub(session: Session, done: ScrubReport) -> None:
    """Alert when stored bytes are damaged, or could not be read."""
    from pra.procedures.scrub import scrub_hint, scrub_sentence

    if done.verdict is not Verdict.PASS:
        error = PraError(scrub_sentence(done), op="scrub", hint=scrub_hint(done))
        tell(session, "scrub", done.target, error, critical=done.verdict is Verdict.FAIL)


def tell_drill(session: Session, record: DrillRecord, head: Head) -> None:
    """Alert when a drill or failover did not pass. One that a person aborted is no news."""
    if record.verdict in (Verdict.PASS, "aborted"):
        return
    wrong = [check for check in record.checks if check.status in (Status.FAILED, Status.SKIPPED)]
    found = ", ".join(f"{check.name} {check.status}: {check.reason or check.observed}" for check in wrong)
    message = f"{record.verdict}: {record.scenario or record.kind} (evidence {head.short}): {found}"
    error = PraError(
        message, op=record.kind, hint=next((check.reason for check in wrong if check.reason), "")
    )
    tell(session, record.kind, record.target, error, critical=record.verdict is not Verdict.PARTIAL)


def tell_load_test(session: Session, done: LoadTestReport) -> None:
    """Alert when a load test did not pass."""
    record = done.record
    if record.verdict is Verdict.PASS:
        return
    wrong = [check for check in record.checks if check.status in (Status.FAILED, Status.SKIPPED)]
    found = ", ".join(f"{check.name} {check.status}: {check.reason or check.observed}" for check in wrong)
    message = f"{record.verdict}: load test (evidence {done.evidence.head.short}): {found}"
    hint = "Read its report: pra loadtest --report FILE, or the page of the flow's run."
    error = PraError(message, op="load-test", hint=hint)
    tell(session, "load-test", record.target, error, critical=record.verdict is not Verdict.PARTIAL)
