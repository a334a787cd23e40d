"""From what was measured to answers against the SLA. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from pra.errors import PraError
from pra.loadtest.diagnosis import Condition
from pra.loadtest.measures import ApiLoad, Load, Round, seconds_of
from pra.loadtest.record import Beside, Slow
from pra.model import CheckResult, Status
from pra.timing import Objective, format_duration

API_SECONDS = 5.0
API_ERRORS = 0.01
BACKUP, RTO, LOAD, SLOW = "backup-interval", "rto", "load", "slow-queries"
INDEXES, STATISTICS, INTEGRITY = "indexes", "statistics", "integrity"
API_P95, API_RATE = "api-p95", "api-errors"
_SHOWN = 50


def backup_interval(rounds: Sequence[Round], interval: timedelta) -> CheckResult:
    """The slowest backup is done before the next one is due."""
    found = seconds_of(rounds, "backup")
    assert found is not None
    limit = interval.total_seconds()
    return _limit(BACKUP, found.most, limit, format_duration(limit), format_duration(found.most))


def rto(objective: Objective) -> CheckResult:
    assert objective.seconds is not None
    target = objective.target_seconds
    return _limit(
        RTO,
        objective.seconds,
        target,
        format_duration(target),
        f"{format_duration(objective.seconds)} at worst",
    )


def _limit(name: str, value: float, limit: float, said: str, observed: str) -> CheckResult:
    if value <= limit:
        return CheckResult(name, Status.PASSED, f"at most {said}", observed)
    return CheckResult(name, Status.FAILED, f"at most {said}", observed, "it takes longer than the objective")


def load(measured: Load) -> CheckResult:
    """A deadlock or the like is the application's to retry; more than one in a hundred is a fault."""
    failed = measured.failed
    status = Status.PASSED if failed <= measured.transactions * API_ERRORS else Status.FAILED
    observed = f"{measured.tps:.0f} transactions a second, {failed} failed"
    return CheckResult(LOAD, status, "the load is served, less than 1 % failed", observed)


def slow_queries(
    slow: Sequence[Slow], compared: int, beside: Beside, *, asked: bool, unfinished: Sequence[str] = ()
) -> CheckResult:
    """No query takes much longer than beside.

    Args:
        compared: How many queries there were on both sides.
        unfinished: Queries that ran beside, and not once here.
        asked: The source was to be read, so a comparison should have been possible.
    """
    expected = "no query more than twice as slow as beside"
    if beside == "nothing" or not compared:
        reason = "there is no copy of the original, and no earlier load test on this hardware"
        status = Status.SKIPPED if asked else Status.NOT_APPLICABLE
        return CheckResult(SLOW, status, expected, "not compared", reason)
    if not slow and unfinished:
        reason = f"not finished once, give it more --seconds: {', '.join(unfinished)}"
        return CheckResult(SLOW, Status.SKIPPED, expected, f"{compared} queries compared", reason)
    if not slow:
        return CheckResult(SLOW, Status.PASSED, expected, f"{compared} queries compared")
    lines = [sentence(each) for each in slow]
    observed = f"{len(slow)} of {compared} slow: {', '.join(each.name for each in slow)}"
    return CheckResult(SLOW, Status.FAILED, expected, observed, lines[0], details=tuple(lines[:_SHOWN]))


def sentence(slow: Slow) -> str:
    """``inbox: 12.1 ms instead of 0.4 ms; index public.messages_… is missing``."""
    names = ", ".join(slow.names)
    why = {
        "index": f"missing index: {names}",
        "statistics": f"no planner statistics: {names}",
        "scan": f"reads from end to end: {names}",
        "unknown": "no reason was found",
    }[slow.reason]
    return f"{slow.name}: {slow.seconds * 1000:.1f} ms instead of {slow.reference * 1000:.1f} ms; {why}"


def condition(lacks: Condition) -> list[CheckResult]:
    """What was saved is there: every index, and statistics for every table with rows."""
    found = []
    named: Mapping[str, Sequence[str]] = {
        INDEXES: tuple(sorted(lacks.indexes)),
        STATISTICS: tuple(sorted(lacks.statistics)),
    }
    for name, missing in named.items():
        expected = (
            "every index of the backup" if name == INDEXES else "statistics for every table that holds rows"
        )
        if missing:
            observed = f"{len(missing)} missing"
            first = f"missing: {', '.join(missing[:3])}"
            found.append(
                CheckResult(name, Status.FAILED, expected, observed, first, details=tuple(missing[:_SHOWN]))
            )
        else:
            found.append(CheckResult(name, Status.PASSED, expected, "none is missing"))
    return found


def api(measured: ApiLoad) -> list[CheckResult]:
    requests = f"{measured.requests} requests from {measured.clients} clients"
    p95 = CheckResult(
        API_P95,
        Status.PASSED if measured.p95 < API_SECONDS else Status.FAILED,
        f"95 % of the answers within {API_SECONDS:g} s",
        f"{format_duration(measured.p95)}, {requests}",
    )
    errors = CheckResult(
        API_RATE,
        Status.PASSED if measured.error_rate < API_ERRORS else Status.FAILED,
        "less than 1 % errors",
        f"{measured.errors} of {measured.requests}",
    )
    return [p95, errors]


def no_api(reason: str) -> list[CheckResult]:
    return [CheckResult(name, Status.NOT_APPLICABLE, reason=reason) for name in (API_P95, API_RATE)]


def unanswered(name: str, expected: str, reason: str, hint: str = "") -> CheckResult:
    """It should have been asked and could not be."""
    return CheckResult(
        name, Status.SKIPPED, expected, "not answered", reason, details=(hint,) if hint else ()
    )


def failed(name: str, expected: str, error: PraError) -> CheckResult:
    """It was tried and did not work."""
    return CheckResult(name, Status.FAILED, expected, error.message, error.hint)


def no_backup() -> CheckResult:
    return CheckResult(BACKUP, Status.NOT_APPLICABLE, reason="backups were left out (--no-backup)")
