"""The cut and a recovery's target: rollbacks count for PostgreSQL, and change nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pra.engines.cut import Cut, Ended, NoCut, Record, Running
from pra.engines.cut_target import BEFORE_TARGET, fit
from pra.engines.recovery import IMMEDIATE, LATEST, RecoveryTarget, lsn_target, time_target

START = datetime(2026, 11, 22, 10, tzinfo=UTC)
STOP = 100
CUT = Cut(140, inclusive=False, last=START)
AT_END = Cut(150)
NONE = NoCut(BEFORE_TARGET)


def at(lsn: int) -> datetime:
    return START + timedelta(seconds=lsn)


def ended(lsn: int, xid: int, *, committed: bool = False) -> Ended:
    return Ended(lsn, xid, (), at(lsn), committed)


# 105 is seen, 120 and 130 are rolled back, 140 is not seen: the cut lies before 140.
RECORDS: tuple[Record, ...] = (
    Running(90, 10, ()), ended(95, 7), ended(105, 8, committed=True), ended(120, 9), Running(125, 11, ()),
    ended(130, 10), ended(140, 11, committed=True),
)  # fmt: skip


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param(LATEST, CUT, id="the end"),
        pytest.param(IMMEDIATE, NONE, id="the end of the backup"),
        pytest.param(time_target(at(131)), CUT, id="a time behind the rollbacks"),
        pytest.param(time_target(at(130)), CUT, id="the time of the last rollback"),
        pytest.param(
            time_target(at(130), inclusive=False), Cut(130, inclusive=False, last=START), id="exclusive"
        ),
        pytest.param(time_target(at(121)), Cut(130, inclusive=False, last=START), id="between rollbacks"),
        pytest.param(time_target(at(110)), Cut(120, inclusive=False, last=START), id="before both"),
        pytest.param(time_target(at(104)), NONE, id="before a commit that is seen"),
        pytest.param(RecoveryTarget("xid", "11"), CUT, id="the first commit that is not seen"),
        pytest.param(RecoveryTarget("xid", "11", inclusive=False), CUT, id="just before it"),
        pytest.param(RecoveryTarget("xid", "10"), Cut(130, last=START), id="a rollback"),
        pytest.param(
            RecoveryTarget("xid", "10", inclusive=False), Cut(130, inclusive=False, last=START),
            id="just before a rollback",
        ),
        pytest.param(RecoveryTarget("xid", str((1 << 32) + 9)), Cut(120, last=START), id="its 64 bits"),
        pytest.param(RecoveryTarget("xid", "8"), Cut(105, last=START), id="the last one that is seen"),
        pytest.param(RecoveryTarget("xid", "8", inclusive=False), NONE, id="just before that"),
        pytest.param(RecoveryTarget("xid", "7"), NONE, id="before the backup's end"),
        pytest.param(RecoveryTarget("name", "half"), Cut(115, last=START), id="a restore point"),
        pytest.param(RecoveryTarget("name", "early"), NONE, id="a restore point before a commit"),
        pytest.param(RecoveryTarget("name", "late"), CUT, id="a restore point behind the cut"),
        pytest.param(RecoveryTarget("name", "elsewhere"), CUT, id="a restore point further on"),
        pytest.param(lsn_target(140), CUT, id="a position behind the cut"),
        pytest.param(lsn_target(140, inclusive=False), CUT, id="the cut itself"),
        pytest.param(lsn_target(135), NONE, id="a position behind which the unseen commit comes next"),
    ],
)  # fmt: skip
def test_the_cut_gives_way_to_the_target_where_it_may(target: RecoveryTarget, expected: Cut | NoCut) -> None:
    points = [(103, "early"), (115, "half"), (145, "late")]
    assert fit(CUT, target, RECORDS, points, consistent_at=STOP) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (time_target(at(149)), Cut(150, inclusive=False)),
        (RecoveryTarget("xid", "12"), AT_END),
        (RecoveryTarget("xid", "12", inclusive=False), Cut(150, inclusive=False)),
    ],
)
def test_a_cut_behind_a_rollback_may_lie_before_it(target: RecoveryTarget, expected: Cut) -> None:
    """The last record there is."""
    assert fit(AT_END, target, [*RECORDS[:2], ended(150, 12)], consistent_at=STOP) == expected


def test_the_backups_own_end_is_passed_by_every_target() -> None:
    assert fit(Cut(None), IMMEDIATE, RECORDS, consistent_at=STOP) == Cut(None)
