"""Whether a recovery came to its target, from where it ended alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from checks.recovered import recovery, wal_continuity
from pra.engines.recovery_target import LATEST, RecoveryTarget, lsn_target, time_target
from pra.model import Status
from pra.postgres.wal import PAGE_BYTES, SEGMENT_BYTES
from pra.procedures.physical_restore import waited_seconds
from pra.restored import Recovered, RestoredDatabase

AT = datetime(2026, 11, 22, 10, tzinfo=UTC)
SOON = timedelta(microseconds=1)
PAGE = 5 * SEGMENT_BYTES + PAGE_BYTES


def status(target: RecoveryTarget, reached: int | None, last: datetime | None = None) -> Status:
    recovered = Recovered(
        observed=None, uncompared="", damaged="", target=target, reached=reached, last_commit=last
    )
    facts = SimpleNamespace(wal_segment_bytes=SEGMENT_BYTES)
    db = SimpleNamespace(recovered=recovered, manifest=SimpleNamespace(physical=facts))
    return recovery(cast(RestoredDatabase, db)).status


@pytest.mark.parametrize(
    ("target", "reached", "last"),
    [
        pytest.param(LATEST, PAGE, None, id="the end"),
        pytest.param(lsn_target(PAGE + 96), PAGE + 136, None, id="behind the record at a position"),
        pytest.param(lsn_target(PAGE + 96, inclusive=False), PAGE + 96, None, id="just before it"),
        pytest.param(lsn_target(PAGE + 24, inclusive=False), PAGE, None, id="before a page's first record"),
        pytest.param(
            lsn_target(6 * SEGMENT_BYTES + 40, inclusive=False), 6 * SEGMENT_BYTES, None,
            id="before a segment's first record",
        ),
        pytest.param(time_target(AT), PAGE, None, id="a time before any transaction"),
        pytest.param(time_target(AT), PAGE, AT, id="with the transaction of that time"),
        pytest.param(time_target(AT, inclusive=False), PAGE, AT - SOON, id="without it"),
    ],
)  # fmt: skip
def test_a_target_was_reached(target: RecoveryTarget, reached: int, last: datetime | None) -> None:
    assert status(target, reached, last) is Status.PASSED


@pytest.mark.parametrize(
    ("target", "reached", "last"),
    [
        pytest.param(LATEST, None, None, id="nobody knows where it ended"),
        pytest.param(lsn_target(PAGE + 96), PAGE + 96, None, id="before the record at a position"),
        pytest.param(lsn_target(PAGE + 96, inclusive=False), PAGE + 88, None, id="a record too early"),
        pytest.param(
            lsn_target(PAGE + 32, inclusive=False), PAGE, None, id="a page's first record too early"
        ),
        pytest.param(time_target(AT), PAGE, AT + SOON, id="with a transaction of after that time"),
        pytest.param(time_target(AT, inclusive=False), PAGE, AT, id="with the one to be left out"),
    ],
)
def test_a_target_was_missed(target: RecoveryTarget, reached: int | None, last: datetime | None) -> None:
    assert status(target, reached, last) is Status.FAILED


@pytest.mark.parametrize(
    ("missing", "streamed", "expired", "expected"),
    [
        pytest.param("", True, False, Status.PASSED, id="none"),
        pytest.param("000000010000000000000006", True, False, Status.SKIPPED, id="streaming began later"),
        pytest.param("000000010000000000000006", False, False, Status.NOT_APPLICABLE, id="nobody streams"),
        pytest.param("000000010000000000000006", True, True, Status.NOT_APPLICABLE, id="before the window"),
    ],
)
def test_a_hole_behind_a_backup(missing: str, streamed: bool, expired: bool, expected: Status) -> None:
    found = Recovered(None, "", "", LATEST, PAGE, None, missing=missing, streamed=streamed, expired=expired)
    result = wal_continuity(cast(RestoredDatabase, SimpleNamespace(recovered=found)))
    assert result.status is expected
    assert missing in result.reason


@pytest.mark.parametrize(
    ("ago", "seconds"), [(None, 0), (timedelta(hours=1), 3600), (-timedelta(hours=1), 0)]
)
def test_what_a_restore_waited_for_is_never_negative(ago: timedelta | None, seconds: int) -> None:
    assert waited_seconds(None if ago is None else AT - ago, AT) == seconds
