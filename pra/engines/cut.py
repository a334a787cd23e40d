"""The cut: a position in the WAL at which a database held exactly what a snapshot saw.

A backup's fingerprint names its snapshot (``pg_current_snapshot()``: ``xmin:xmax:xip``). A transaction's
commit record is written a moment before other snapshots see it, so a position with every visible commit
before it and every other commit after it need not exist. Where it does, recovery stops there and every table
is compared digest by digest.

Only the ids of transactions decide, never clocks. That all visible ones have ended is known from
``RUNNING_XACTS`` records, which list whoever runs (one comes with each checkpoint, and every 15 s from the
background writer): what is neither listed, nor younger than the record, ended before it. The same records
say from where on the recovered server can be asked at all.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pra.engines.hot_standby import OVERFLOWED, HotStandby
from pra.errors import IntegrityError, ToolTimeout
from pra.postgres.tools import Tools
from pra.postgres.wal import parse_lsn
from pra.postgres.wal_pages import holds_record
from pra.proc import Scope

WALDUMP_SECONDS = 900
_XID_SPACE = 1 << 32
_SNAPSHOT = re.compile(r"(\d{1,20}):(\d{1,20}):([\d,]*)")
_RECORD = re.compile(
    r"rmgr: (?P<rmgr>\w+)\s+len .*?, tx:\s*(?P<tx>\d+), "
    r"lsn: (?P<lsn>[0-9A-F]+/[0-9A-F]+), .*?desc: (?P<desc>.*)"
)
_ENDED = re.compile(
    r"(?P<how>COMMIT|ABORT)(?:_PREPARED (?P<prepared>\d+):)? "
    r"(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) \S+(?P<rest>.*)"
)
_SUBXIDS = re.compile(r"; subxacts: ([\d ]+)")
_RUNNING = re.compile(r"RUNNING_XACTS nextXid (\d+) .*?(?:; \d+ xacts: ([\d ]+))?(?:;.*)?")


@dataclass(frozen=True)
class Snapshot:
    """``xmin:xmax:xip`` as 64-bit transaction ids."""

    xmin: int
    xmax: int
    running: frozenset[int]

    def sees(self, xid: int) -> bool:
        """Whether what this transaction (64 bits) did is in the snapshot, if it committed."""
        return xid < self.xmin or (xid < self.xmax and xid not in self.running)

    def widened(self, xid: int) -> int:
        """The 64-bit id that a 32-bit one from the WAL stands for: the nearest to the snapshot."""
        distance = (xid - self.xmax) % _XID_SPACE
        return self.xmax + (distance - _XID_SPACE if distance >= _XID_SPACE // 2 else distance)


@dataclass(frozen=True)
class Ended:
    """A commit or abort record.

    Attributes:
        lsn: Where the record begins.
        xid: The transaction's own id, 32 bits; of a prepared one too.
        subxids: Its subtransactions.
        at: When it ended, by the server's clock.
        committed: False for an abort.
    """

    lsn: int
    xid: int
    subxids: tuple[int, ...]
    at: datetime
    committed: bool


@dataclass(frozen=True)
class Running:
    """A record of who runs: a transaction older than ``next_xid`` and not in ``xids`` ended before it.

    One that is listed may have its commit record before this one all the same. ``overflowed``: not all
    subtransactions are known.
    """

    lsn: int
    next_xid: int
    xids: tuple[int, ...]
    overflowed: bool = False


Record = Ended | Running


@dataclass(frozen=True)
class Cut:
    """Recovered up to here, the database holds what the snapshot saw.

    Attributes:
        lsn: For ``recovery_target_lsn``; None: the first consistent state, at the backup's own end.
        inclusive: Whether the record at ``lsn`` is still replayed.
        last: When the last visible transaction committed, if that was behind the backup's end.
    """

    lsn: int | None
    inclusive: bool = True
    last: datetime | None = None


@dataclass(frozen=True)
class NoCut:
    """No such position.

    Attributes:
        reason: One lowercase fact.
        unfinished: More WAL may yet tell.
    """

    reason: str
    unfinished: bool = False


def parse_snapshot(text: str) -> Snapshot:
    """Read ``pg_current_snapshot()``.

    Raises:
        IntegrityError: It is not one.
    """
    match = _SNAPSHOT.fullmatch(text)
    if match is None:
        raise IntegrityError("the fingerprint names no snapshot", op="find cut", hint="Use another backup.")
    running = frozenset(int(xid) for xid in match[3].split(",") if xid)
    return Snapshot(int(match[1]), int(match[2]), running)


def parse_records(lines: Iterable[str]) -> Iterator[Record]:
    """What ``pg_waldump --rmgr=Transaction --rmgr=Standby`` prints in UTC: those that matter, in order."""
    for line in lines:
        match = _RECORD.match(line)
        if match is None:
            continue
        lsn, description = parse_lsn(match["lsn"]), match["desc"]
        if match["rmgr"] == "Transaction" and (ended := _ENDED.match(description)):
            subxids = _SUBXIDS.search(ended["rest"])
            yield Ended(
                lsn,
                int(ended["prepared"] or match["tx"]),
                _numbers(subxids[1]) if subxids else (),
                datetime.fromisoformat(ended["at"]).replace(tzinfo=UTC),
                ended["how"] == "COMMIT",
            )
        elif match["rmgr"] == "Standby" and (running := _RUNNING.fullmatch(description.rstrip())):
            overflowed = "; subxid ov" in description  # "ovf" before PostgreSQL 16, "overflowed" since
            yield Running(lsn, int(running[1]), _numbers(running[2] or ""), overflowed)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split())


def read_records(tools: Tools, scope: Scope, folder: Path, segments: Sequence[str]) -> list[Record]:
    """The records of these plain, consecutive segment files in ``folder``, up to where they can be read.

    They are named as one timeline's: pg_waldump follows no switch, and a segment begins with its ancestor's
    bytes. A record that begins in the last segment and ends behind it is not read, nor one that began before
    the first. A segment that was still being written ends in zeros, where pg_waldump stops with an error.

    Raises:
        IntegrityError: Not even a first record could be read, although there is one; or a file is missing.
    """
    lines, words = _dump(tools, scope, folder, segments, "Transaction", "Standby")
    records = list(parse_records(lines))
    if "could not find file" in words or (
        words and not records and not _ends_early(words, folder / segments[0])
    ):
        last = words.splitlines()[-1]
        raise IntegrityError(f"the WAL cannot be read: {last[:200]}", op="find cut")
    return records


def restore_points(
    tools: Tools, scope: Scope, folder: Path, segments: Sequence[str]
) -> list[tuple[int, str]]:
    """Positions and names given to ``pg_create_restore_point``, in plain segments as for `read_records`."""
    lines, _ = _dump(tools, scope, folder, segments, "XLOG")
    found = (match for line in lines if (match := _RECORD.match(line)))
    mark = "RESTORE_POINT "
    return [
        (parse_lsn(match["lsn"]), match["desc"].removeprefix(mark))
        for match in found
        if match["desc"].startswith(mark)
    ]


def _dump(
    tools: Tools, scope: Scope, folder: Path, segments: Sequence[str], *managers: str
) -> tuple[list[str], str]:
    """What pg_waldump printed; and, where it stopped with an error, its words."""
    options = [f"--rmgr={name}" for name in managers]
    argv = [tools.path("pg_waldump"), *options, f"--path={folder}", segments[0], segments[-1]]
    process = scope.start(argv, op="find cut", env={**tools.env(), "TZ": "UTC"})
    try:
        code = process.popen.wait(WALDUMP_SECONDS)
        lines = process.stdout().splitlines()
        return lines, process.stderr() or "it wrote no message" if code else ""
    except subprocess.TimeoutExpired:
        raise ToolTimeout(f"pg_waldump took longer than {WALDUMP_SECONDS} s", op="find cut") from None
    finally:
        process.end()
        scope.forget(process)


def _ends_early(words: str, first: Path) -> bool:
    """Whether pg_waldump found the end of the WAL, rather than damage."""
    if "could not find a valid record" in words:
        return not holds_record(first.read_bytes())
    return "invalid record length" in words


@dataclass
class _Search:
    """What is known while reading on."""

    snapshot: Snapshot
    consistent_at: int
    ended: set[int] = field(default_factory=set)
    pending: set[int] | None = None  # visible ones that may not have ended yet; None: no list seen so far
    last_visible: Ended | None = None
    first_hidden: Ended | None = None
    last: Record | None = None
    standby: HotStandby = field(default_factory=HotStandby)  # before the first hidden one

    def take(self, record: Record) -> None:
        if isinstance(record, Running):
            self._list(record)
        else:
            self._end(record)
        self.last = record

    def _list(self, record: Running) -> None:
        snapshot = self.snapshot
        if self.first_hidden is None:
            self.standby.take(record.next_xid, record.xids, overflowed=record.overflowed)
        listed = {snapshot.widened(xid) for xid in record.xids}
        unborn = range(snapshot.widened(record.next_xid), snapshot.xmax)
        self.pending = {xid for xid in (*listed, *unborn) if snapshot.sees(xid)} - self.ended

    def _end(self, record: Ended) -> None:
        xid = self.snapshot.widened(record.xid)
        gone = {xid, *(self.snapshot.widened(each) for each in record.subxids)}
        self.ended |= gone
        if self.pending is not None:
            self.pending -= gone
        if not record.committed:
            return
        if self.snapshot.sees(xid):
            self.last_visible = record
        elif self.first_hidden is None:
            self.first_hidden = record

    @property
    def settled(self) -> bool:
        return self.pending is not None and not self.pending


def find_cut(
    records: Iterable[Record], snapshot: Snapshot, *, consistent_at: int, from_start: bool = True
) -> Cut | NoCut:
    """Find the position. Pure.

    The latest one is taken, just before the first commit that the snapshot does not see: sequences lie
    outside snapshots, and what moved them was written before the snapshot was taken.

    Args:
        records: In WAL order, from a ``RUNNING_XACTS`` record on, if possible from before ``consistent_at``.
        consistent_at: The backup's stop LSN: recovery cannot stop before it.
        from_start: They are all that recovery replays up to there: there are no earlier ones to be read.
    """
    search = _Search(snapshot, consistent_at)
    for record in records:
        search.take(record)
        if search.settled and search.first_hidden is not None and record.lsn >= consistent_at:
            break
    return _judge(search, from_start)


def _judge(search: _Search, from_start: bool) -> Cut | NoCut:
    hidden, visible, at = search.first_hidden, search.last_visible, search.consistent_at
    if hidden is not None and hidden.lsn < at:
        return NoCut("a transaction that the snapshot does not see was committed before the backup ended")
    if hidden is not None and visible is not None and hidden.lsn < visible.lsn:
        return NoCut("a transaction was being committed while the snapshot was taken")
    if search.pending is None:
        return NoCut("the WAL does not say which transactions ran", unfinished=True)
    if search.pending:
        return NoCut("the WAL ends before the snapshot", unfinished=True)
    if not search.standby.ready:
        if search.standby.newest is None:
            return NoCut("the WAL does not say from where on a standby can be asked", unfinished=True)
        return NoCut(OVERFLOWED, unfinished=hidden is None or not from_start)
    last = visible.at if visible is not None and visible.lsn >= at else None
    if hidden is not None:
        return Cut(hidden.lsn, inclusive=False, last=last)
    if search.last is None or search.last.lsn < at:
        return Cut(None)
    return Cut(search.last.lsn, last=last)
