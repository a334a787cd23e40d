"""What the evidence says of earlier restores and load tests."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from pra.drill.record import INTERRUPTED
from pra.errors import PraError
from pra.evidence_record import EvidenceRecord
from pra.loadtest.forecast import Point
from pra.loadtest.hardware import Hardware
from pra.loadtest.measures import Load, of_kind
from pra.loadtest.record import LOAD_TEST, LoadTestRecord, load_test_of
from pra.model import Verdict
from pra.procedures.context import Context

EARLIER = 11
"""With this one, a year of them."""
_LOOK = 1000
"""How many records are looked through; each is an object to be read."""
_log = logging.getLogger(__name__)


def read_records(context: Context) -> tuple[EvidenceRecord, ...]:
    """The newest believable records, newest first. Never raises: a load test is worth more than its past."""
    found = []
    try:
        for record in islice(context.evidence.records(), _LOOK):
            if not record.problem:
                found.append(record)
    except PraError as error:
        _log.warning("the past is not shown: %s", error.message)
    return tuple(found)


def points(records: Iterable[EvidenceRecord], ratio: float) -> list[Point]:
    """Every restore on record as bytes read and seconds with durable settings.

    Args:
        ratio: How many times longer those take than a sandbox's, which most verifications are made in.
    """
    found = []
    for record in records:
        point = _of_load_test(record) if record.kind == LOAD_TEST else _of_proof(record, ratio)
        if point is not None:
            found.append(point)
    return found


def _of_proof(record: EvidenceRecord, ratio: float) -> Point | None:
    body = record.body
    milliseconds = body.get("rto_milliseconds")
    if record.kind not in ("verification", "restore") or not isinstance(milliseconds, int):
        return None
    if "disaster_at" in body:  # it counts from the disaster, when nobody was at work yet
        return None
    read = _read_bytes(body)
    seconds = milliseconds / 1000 * (ratio if body.get("environment") == "sandbox" else 1.0)
    return Point(record.at, read, seconds) if read > 0 and seconds > 0 else None


def _read_bytes(body: Mapping[str, Any]) -> int:
    """The chain and its WAL; for a dump, the backup."""
    recovery, backup = body.get("recovery"), body.get("backup")
    if isinstance(recovery, dict):
        return sum(n for n in (recovery.get("backup_bytes"), recovery.get("wal_bytes")) if isinstance(n, int))
    size = backup.get("bytes") if isinstance(backup, dict) else None
    return size if isinstance(size, int) else 0


def _of_load_test(record: EvidenceRecord) -> Point | None:
    test = _read(record)
    return None if test is None else point_of(test)


def point_of(test: LoadTestRecord) -> Point | None:
    """The middle one of its restores with durable settings; None where it made none."""
    rounds = sorted(of_kind(test.rounds, "restore"), key=lambda each: each.seconds)
    middle = rounds[len(rounds) // 2] if rounds else None
    return Point(test.started_at, middle.stored, middle.seconds) if middle else None


def load_tests(records: Iterable[EvidenceRecord]) -> tuple[tuple[int, LoadTestRecord], ...]:
    """Earlier load tests with their numbers, newest first. One that was interrupted has measured nothing."""
    read = ((record.sequence, _read(record)) for record in records if record.kind == LOAD_TEST)
    return tuple((number, test) for number, test in read if test is not None and test.verdict != INTERRUPTED)


def reference(
    records: Iterable[EvidenceRecord], hardware: Hardware, major: int, clients: int
) -> tuple[int, LoadTestRecord, Load] | None:
    """The newest load test without a slow query, on the same hardware under as many clients.

    Returns:
        Its number, itself, and its figures: of the original where it had a copy of it.
    """
    for sequence, test in load_tests(records):
        same = (test.hardware, test.major) == (hardware, major)
        load = test.original if test.beside == "copy" else test.restored
        sound = not test.slow and (test.verdict != Verdict.FAIL or test.beside == "copy")
        if same and sound and load is not None and load.clients == clients:
            return sequence, test, load
    return None


def _read(record: EvidenceRecord) -> LoadTestRecord | None:
    try:
        return load_test_of(record.body)
    except (KeyError, TypeError, ValueError):
        _log.warning("evidence %d is no load test that this version can read", record.sequence)
        return None
