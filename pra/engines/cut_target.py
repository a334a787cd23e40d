"""Whether recovery to a target passes the cut, or an earlier position that equals the snapshot as well. Pure.

PostgreSQL weighs a time at every commit and at every abort (``recoveryStopsBefore`` in
``access/transam/xlogrecovery.c``). What was rolled back changes nothing in a database, so the cut may lie
behind it; the target does not.
"""

from __future__ import annotations

from collections.abc import Sequence

from pra.engines.cut import Cut, Ended, NoCut, Record
from pra.engines.recovery_target import RecoveryTarget

BEFORE_TARGET = "the target lies before the backup's snapshot"
Position = tuple[int, bool]
"""Where a record begins, and whether that record is still replayed."""


def fit(
    cut: Cut,
    target: RecoveryTarget,
    records: Sequence[Record],
    points: Sequence[tuple[int, str]] = (),
    *,
    consistent_at: int,
) -> Cut | NoCut:
    """The cut; or, where recovery to the target ends before it, that end if it equals the snapshot as well.

    Args:
        records: In WAL order, at least from the snapshot up to the cut; for a transaction all from the
            backup's stop LSN on.
        points: For a restore point: positions and names, from the backup's stop LSN on.
        consistent_at: The backup's stop LSN: recovery cannot end before it.

    Example: a snapshot, a rollback at 120, a commit at 130: the cut is before 130. To a time before both,
    recovery stops before 120, where the database holds the same.
    """
    if cut.lsn is None:
        return cut
    end = _end(target, records, points)
    if end is None or end >= (cut.lsn, cut.inclusive):
        return cut
    # At an inclusive LSN recovery ends behind the next record, and that may be the one to leave out.
    if target.lsn is not None or end[0] < consistent_at or _commits(records, end, cut):
        return NoCut(BEFORE_TARGET)
    return Cut(end[0], inclusive=end[1], last=cut.last)


def _end(
    target: RecoveryTarget, records: Sequence[Record], points: Sequence[tuple[int, str]]
) -> Position | None:
    """Where recovery to the target ends; None: behind everything given here."""
    if target.kind == "immediate":
        return (0, False)
    if target.lsn is not None:
        return (target.lsn, target.inclusive)
    if target.kind == "name":
        return next(((lsn, True) for lsn, name in points if name == target.value), None)
    return next((found for r in records if isinstance(r, Ended) and (found := _stops(target, r))), None)


def _stops(target: RecoveryTarget, record: Ended) -> Position | None:
    """Where recovery ends if this record is the first that it ends at; None if it is not one."""
    moment = target.moment
    if moment is not None:
        late = record.at > moment if target.inclusive else record.at >= moment
        return (record.lsn, False) if late else None
    if target.kind == "xid" and record.xid == int(target.value) % (1 << 32):
        return (record.lsn, target.inclusive)
    return None


def _commits(records: Sequence[Record], end: Position, cut: Cut) -> bool:
    """Whether anything was committed between: the snapshot sees it, as all that lies before the cut."""
    assert cut.lsn is not None
    return any(
        isinstance(r, Ended) and r.committed and end < (r.lsn, True) <= (cut.lsn, cut.inclusive)
        for r in records
    )
