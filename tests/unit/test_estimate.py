"""How long it should take, and from which measurements."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pra.evidence_record import EvidenceRecord
from pra.procedures.estimate import LAST, Measured, estimate, measured

MOMENT = datetime(2026, 11, 22, tzinfo=UTC)


def record(sequence: int, body: Mapping[str, Any], *, kind: str = "verification", problem: str = "") -> Any:
    return EvidenceRecord(
        sequence=sequence, key="", sha256="", previous_sha256="", kind=kind, target="db", at=MOMENT,
        body=body, key_id="", alg="", repository="near", problem=problem,
    )  # fmt: skip


def took(sequence: int, size: int, seconds: float) -> Measured:
    return Measured(sequence, MOMENT, "verification", size, seconds)


def test_without_a_measurement_there_is_no_estimate() -> None:
    assert estimate(1000, []) is None
    assert estimate(1000, [took(1, 0, 5.0), took(2, 5, 0.0)]) is None


def test_the_median_rate_counts_so_that_one_slow_night_does_not() -> None:
    found = estimate(1000, [took(1, 100, 1), took(2, 100, 1), took(3, 100, 100)])
    assert found is not None
    assert (found.seconds, found.rate) == (10.0, 100.0)
    assert [each.sequence for each in found.measured] == [1, 2, 3]


def test_only_the_last_few_count() -> None:
    old = [took(number, 100, 100) for number in range(10)]
    found = estimate(1000, [*old, *(took(100 + number, 100, 1) for number in range(LAST))])
    assert found is not None
    assert found.seconds == 10.0


def test_what_was_read_is_what_the_record_says_else_the_chain_as_stored() -> None:
    said = {"recovery": {"backup_bytes": 70, "wal_bytes": 30}}
    records = [
        record(9, {"backup_id": "a", "rto_milliseconds": 2000, **said}),
        record(8, {"backup_id": "a", "rto_milliseconds": 500}, kind="restore"),
    ]
    assert [(m.sequence, m.bytes, m.seconds) for m in measured(records, {"a": 40})] == [
        (9, 100, 2.0),
        (8, 40, 0.5),
    ]


def test_what_says_nothing_about_a_physical_recovery_is_passed_over() -> None:
    records = [
        record(5, {"backup_id": "logical", "rto_milliseconds": 1}),
        record(4, {"backup_id": "a", "rto_milliseconds": None}),
        record(3, {"backup_id": "a", "rto_milliseconds": 1}, kind="expiry"),
        record(2, {"backup_id": "a", "rto_milliseconds": 1}, problem="altered"),
    ]
    assert measured(records, {"a": 40}) == []
