"""The cut: which position in the WAL equals a snapshot, from lists of commits alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from pra.engines.cut import Cut, Ended, NoCut, Record, Running, find_cut, parse_records, parse_snapshot
from pra.errors import IntegrityError

START = datetime(2026, 11, 22, 10, tzinfo=UTC)
STOP = 100


def commit(lsn: int, xid: int, *subxids: int) -> Ended:
    return Ended(lsn, xid, subxids, START + timedelta(seconds=lsn), committed=True)


def abort(lsn: int, xid: int, *subxids: int) -> Ended:
    return Ended(lsn, xid, subxids, START + timedelta(seconds=lsn), committed=False)


def running(lsn: int, next_xid: int, *xids: int) -> Running:
    return Running(lsn, next_xid, xids)


def overflowed(lsn: int, next_xid: int, *xids: int) -> Running:
    return Running(lsn, next_xid, xids, overflowed=True)


def cut(snapshot: str, *records: Record) -> Cut | NoCut:
    return find_cut(records, parse_snapshot(snapshot), consistent_at=STOP)


CLEAN: dict[str, tuple[str, tuple[Record, ...], Cut]] = {
    "just before the first commit that is not seen": (
        "10:12:10",
        (running(50, 10), commit(110, 11), commit(120, 10), commit(130, 12)),
        Cut(120, inclusive=False, last=START + timedelta(seconds=110)),
    ),
    "nothing happened since: the backup's own end": ("10:10:", (running(50, 10),), Cut(None)),
    "the last known record, when nothing unseen was committed": (
        "12:12:",
        (running(50, 10), commit(110, 10), abort(120, 11), running(130, 12)),
        Cut(130, last=START + timedelta(seconds=110)),
    ),
    "seen ones before the backup's end, an unseen one behind it": (
        "12:12:",
        (running(50, 10), commit(60, 10), commit(70, 11), commit(130, 12)),
        Cut(130, inclusive=False),
    ),
    "an unseen one that aborts is no obstacle": (
        "10:12:10",
        (running(50, 10), abort(105, 10), commit(110, 11), commit(130, 12)),
        Cut(130, inclusive=False, last=START + timedelta(seconds=110)),
    ),
    "subtransactions end with their transaction": (
        "10:14:",
        (running(50, 10), commit(110, 10, 11, 12), abort(115, 13), commit(130, 14)),
        Cut(130, inclusive=False, last=START + timedelta(seconds=110)),
    ),
    "subtransactions of one that still runs are not waited for, once a list says who does": (
        "10:14:10",
        (running(50, 10), commit(110, 13), running(120, 14, 10), commit(130, 10, 11, 12)),
        Cut(130, inclusive=False, last=START + timedelta(seconds=110)),
    ),
    "a list that names a transaction whose commit came before": (
        "10:12:10",
        (running(50, 10), commit(110, 11), running(112, 12, 11, 10), commit(120, 12)),
        Cut(120, inclusive=False, last=START + timedelta(seconds=110)),
    ),
    "many subtransactions that began only after a whole list": (
        "10:99:10",
        (running(50, 10), overflowed(90, 99, 10), commit(130, 99)),
        Cut(130, inclusive=False),
    ),
    "many subtransactions that were rolled back before a whole list": (
        "10:99:10",
        (overflowed(50, 99, 10), abort(110, 10), running(120, 99), commit(130, 99)),
        Cut(130, inclusive=False),
    ),
    "many subtransactions, all of another transaction than before": (
        "10:199:100",
        (overflowed(50, 99, 10), commit(60, 10), overflowed(120, 199, 100), commit(130, 199)),
        Cut(130, inclusive=False),
    ),
    "transaction ids that have wrapped around": (
        f"{(7 << 32) - 1}:{(7 << 32) + 4}:{(7 << 32) + 3}",
        (running(50, (1 << 32) - 1), commit(110, (1 << 32) - 1), *(commit(110 + n, n) for n in range(3)),
         commit(130, 4)),
        Cut(130, inclusive=False, last=START + timedelta(seconds=112)),
    ),
}  # fmt: skip

UNCLEAN: dict[str, tuple[str, tuple[Record, ...], str]] = {
    "an unseen commit before a seen one": (
        "10:12:10", (running(50, 10), commit(110, 10), commit(120, 11), commit(130, 12)),
        "being committed while the snapshot was taken",
    ),
    "an unseen commit before the backup's end": (
        "10:12:10", (running(50, 10), commit(70, 10), commit(80, 11), commit(130, 12)),
        "committed before the backup ended",
    ),
    "a seen transaction has no end here": (
        "10:12:10", (running(50, 10), commit(110, 10)), "ends before the snapshot",
    ),
    "one that ran at the last list has no end here": (
        "12:12:", (running(50, 12, 11),), "ends before the snapshot",
    ),
    "many subtransactions of one that still runs": (
        "10:99:10", (overflowed(50, 99, 10), commit(130, 99), running(140, 100)),
        "more than 64 subtransactions",
    ),
    "many subtransactions, and the whole list comes too late": (
        "10:99:10", (overflowed(50, 99, 10), abort(110, 10), commit(130, 99), running(140, 100)),
        "more than 64 subtransactions",
    ),
    "many subtransactions of one that ran before and still does": (
        "10:199:10,100", (overflowed(50, 99, 10), overflowed(120, 199, 100, 10), commit(130, 199)),
        "more than 64 subtransactions",
    ),
    "a list only behind the first unseen commit": (
        "10:12:10", (commit(110, 11), commit(120, 12), running(130, 13, 10)), "from where on a standby",
    ),
    "nobody says who ran": ("12:12:", (commit(110, 11), commit(120, 12)), "does not say which"),
}  # fmt: skip


@pytest.mark.parametrize("case", CLEAN)
def test_there_is_a_cut(case: str) -> None:
    snapshot, records, expected = CLEAN[case]
    assert cut(snapshot, *records) == expected


@pytest.mark.parametrize("case", UNCLEAN)
def test_there_is_none(case: str) -> None:
    snapshot, records, says = UNCLEAN[case]
    found = cut(snapshot, *records)
    assert isinstance(found, NoCut)
    assert says in found.reason


def test_more_wal_may_tell_what_less_does_not() -> None:
    records: list[Record] = [running(50, 10), commit(110, 10), commit(120, 11), commit(130, 12)]
    snapshot = parse_snapshot("12:12:")
    less = find_cut(records[:2], snapshot, consistent_at=STOP)
    assert less == NoCut("the WAL ends before the snapshot", unfinished=True)
    assert find_cut(records, snapshot, consistent_at=STOP) == Cut(
        130, inclusive=False, last=START + timedelta(seconds=120)
    )


def test_earlier_wal_may_say_that_a_standby_can_be_asked() -> None:
    """A list in the middle may miss subtransactions, and recovery have begun with a whole one."""
    records: list[Record] = [running(50, 10), overflowed(105, 99, 10), commit(130, 99)]
    snapshot = parse_snapshot("10:99:10")
    less = find_cut(records[1:], snapshot, consistent_at=STOP, from_start=False)
    assert isinstance(less, NoCut)
    assert less.unfinished
    whole = find_cut(records[1:], snapshot, consistent_at=STOP)
    assert isinstance(whole, NoCut)
    assert not whole.unfinished
    # Later WAL may too, as long as nothing unseen was committed.
    quiet = find_cut(records[1:2], snapshot, consistent_at=STOP)
    assert isinstance(quiet, NoCut)
    assert quiet.unfinished
    assert isinstance(find_cut(records, snapshot, consistent_at=STOP, from_start=False), Cut)


def test_nothing_is_read_behind_the_answer() -> None:
    def records() -> Iterator[Record]:
        yield from (running(50, 10), commit(110, 10), commit(120, 11))
        raise AssertionError("read on")

    found = find_cut(records(), parse_snapshot("11:11:"), consistent_at=STOP)
    assert found == Cut(120, inclusive=False, last=START + timedelta(seconds=110))


WALDUMP = """\
rmgr: Standby     len (rec/tot):     42/    42, tx:        726, lsn: 0/01943130, prev 0/019430E8, desc: LOCK xid 726 db 5 rel 7
rmgr: Transaction len (rec/tot):    405/   405, tx:        726, lsn: 0/01944078, prev 0/01944030, desc: COMMIT 2026-11-22 12:06:24.885647 UTC; inval msgs: catcache 80 relcache 16385
rmgr: Standby     len (rec/tot):     50/    50, tx:          0, lsn: 0/01944278, prev 0/01944250, desc: RUNNING_XACTS nextXid 728 latestCompletedXid 727 oldestRunningXid 728
rmgr: Transaction len (rec/tot):     34/    34, tx:        730, lsn: 0/019443E8, prev 0/019443A8, desc: ABORT 2026-11-22 12:06:24.904936 UTC
rmgr: Standby     len (rec/tot):     66/    66, tx:          0, lsn: 0/01AF3138, prev 0/01AF3118, desc: RUNNING_XACTS nextXid 761 latestCompletedXid 758 oldestRunningXid 756; 2 xacts: 756 755; 3 subxacts: 757 759 760
rmgr: Standby     len (rec/tot):     66/    66, tx:          0, lsn: 0/01AF3140, prev 0/01AF3118, desc: RUNNING_XACTS nextXid 761 latestCompletedXid 758 oldestRunningXid 756; 1 xacts: 756; subxid overflowed
rmgr: Transaction len (rec/tot):     54/    54, tx:        728, lsn: A/01944510, prev 0/01944498, desc: COMMIT 2026-11-22 12:06:24.919383 UTC; rels: base/5/7; subxacts: 729 731 732
rmgr: Transaction len (rec/tot):    242/   242, tx:        733, lsn: 0/01944588, prev 0/01944548, desc: PREPARE gid x: 2026-11-22 12:06:24.919729 UTC
rmgr: Transaction len (rec/tot):     42/    42, tx:          0, lsn: 0/019447B8, prev 0/019446C0, desc: COMMIT_PREPARED 733: 2026-11-22 12:06:24.926805 UTC
rmgr: Transaction len (rec/tot):     42/    42, tx:          0, lsn: 0/019447E8, prev 0/019447B8, desc: ABORT_PREPARED 734: 2026-11-22 12:06:24.928490 UTC
rmgr: Transaction len (rec/tot):     42/    42, tx:        790, lsn: 0/019447F0, prev 0/019447B8, desc: ASSIGNMENT xtop 790: subxacts: 791 792
"""  # noqa: E501


@pytest.mark.parametrize("word", ["ovf", "overflowed"])
def test_that_subtransactions_are_missing_is_read_from_every_major(word: str) -> None:
    line = WALDUMP.splitlines()[5].replace("overflowed", word)
    assert [r.overflowed for r in parse_records([line]) if isinstance(r, Running)] == [True]


def test_what_pg_waldump_prints_is_read() -> None:
    found = list(parse_records(WALDUMP.splitlines()))
    ends = [(r.xid, r.subxids, r.committed) for r in found if isinstance(r, Ended)]
    assert ends == [(726, (), True), (730, (), False), (728, (729, 731, 732), True), (733, (), True),
                    (734, (), False)]  # fmt: skip
    lists = [(r.next_xid, r.xids) for r in found if isinstance(r, Running)]
    assert lists == [(728, ()), (761, (756, 755)), (761, (756,))]
    assert [r.overflowed for r in found if isinstance(r, Running)] == [False, False, True]
    assert found[0].lsn == 0x1944078
    assert found[5].lsn == 0xA01944510
    assert isinstance(found[0], Ended)
    assert found[0].at == datetime(2026, 11, 22, 12, 6, 24, 885647, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "10", "10:12", "a:b:", "10:12:11;"])
def test_a_snapshot_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError, match="names no snapshot"):
        parse_snapshot(text)
