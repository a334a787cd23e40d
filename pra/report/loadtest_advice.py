"""What to do about each thing that a load test found."""

from __future__ import annotations

from pra.loadtest.judge import API_P95, API_RATE, BACKUP, INDEXES, INTEGRITY, LOAD, RTO, SLOW, STATISTICS
from pra.loadtest.record import LoadTestRecord, Slow
from pra.messages import mark
from pra.model import CheckResult, Status
from pra.report.blocks import Block, Cell, Items, Sentence
from pra.report.words import Words

_ADVICE = {
    RTO: mark(
        "A restore is too slow. Look at the slowest phase of its rounds: a faster disk, more jobs, a nearer "
        "repository, or an objective that can be kept."
    ),
    BACKUP: mark(
        "A backup fails, or is not done before the next one is due: run it less often, or make it faster."
    ),
    LOAD: mark(
        "The restored database did not serve its load. Read the reason under Checks, then verify the backup."
    ),
    INDEXES: mark(
        "Indexes of the backup are missing in the restored database. Verify the backup, and create them anew "
        "before it goes into service."
    ),
    STATISTICS: mark(
        "The planner knows nothing about some tables: run vacuumdb --analyze-only before it goes into "
        "service, and see why the restore did not."
    ),
    API_P95: mark(
        "The application answers too slowly, or not at all, on a restored database: start with its slowest "
        "endpoint."
    ),
    API_RATE: mark("The application answers with errors on a restored database: read its log."),
    INTEGRITY: mark("Tables changed that nobody wrote to. Do not trust this backup before it is verified."),
}
_WHY = {
    "index": mark("{name} is slow ({ratio} times): the index {names} is missing. Create it anew."),
    "statistics": mark("{name} is slow ({ratio} times): no planner statistics for {names}. Run ANALYZE."),
    "scan": mark(
        "{name} is slow ({ratio} times): it reads {names} from end to end. Compare its EXPLAIN with the "
        "original's."
    ),
    "unknown": mark(
        "{name} is slow ({ratio} times), and no reason was found. Compare its EXPLAIN with the original's."
    ),
}
_SOON = 90
"""Days before the forecast's date from which something is to be done."""


def advice(record: LoadTestRecord, words: Words) -> tuple[Block, ...]:
    """One line for each finding; a sentence where there is none."""
    lines = sentences(record, words)
    if not lines:
        return (Sentence(words._("Nothing: everything that was measured is in order."), "good"),)
    return (Items(tuple(Cell(line) for line in lines)),)


def sentences(record: LoadTestRecord, words: Words) -> tuple[str, ...]:
    """In the reader's language, the slow queries first."""
    found = [_slow(each, words) for each in record.slow]
    for check in record.checks:
        if check.status is Status.FAILED and check.name != SLOW:
            found.append(words._(_ADVICE[check.name]) if check.name in _ADVICE else _other(check, words))
        elif check.status is Status.SKIPPED:
            found.append(_unanswered(check, words))
    return (*found, *_forecast(record, words))


def _slow(slow: Slow, words: Words) -> str:
    ratio = round(slow.seconds / slow.reference, 1) if slow.reference else None
    return words._(_WHY[slow.reason]).format(
        name=slow.name, ratio=words.number(ratio), names=", ".join(slow.names) or words.unknown
    )


def _other(check: CheckResult, words: Words) -> str:
    """What a restore has found: the check's own words are the finding."""
    return words._("{name} failed: {reason}. Run: pra verify").format(
        name=check.name, reason=check.observed or check.reason
    )


def _unanswered(check: CheckResult, words: Words) -> str:
    return words._("{name} was not answered: {reason}. See to that, and run the load test again.").format(
        name=check.name, reason=check.reason or check.observed or words.unknown
    )


def _forecast(record: LoadTestRecord, words: Words) -> list[str]:
    found = record.forecast
    if found is None or found.state != "until" or found.at is None:
        return []
    if (found.at - record.started_at).days > _SOON:
        return []
    sentence = words._(
        "The RTO will no longer hold from {day} on: order faster disks, or archive old data, before."
    )
    return [sentence.format(day=words.day(found.at))]
