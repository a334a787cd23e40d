"""A hole in the WAL behind a backup: damage, expiry, or simply that nobody streamed yet. Pure.

Before the window (``pitr_window``) only each backup's own WAL is kept. Without a streamer, WAL comes with
backups only, and from one to the next there is none. Neither is a fault. Where somebody streamed, a segment
of the window that is missing is lost.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from pra.engines.recovery import RecoveryPlan
from pra.postgres.wal import segment_end, segment_name, segment_start
from pra.wal.archive import Archive


class Hole(StrEnum):
    """What a plan's ``missing`` segment means."""

    NONE = "none"
    EXPIRED = "expired"  # it lies before the window
    LOST = "lost"  # there was streamed WAL on both sides, or on this one
    UNSTREAMED = "unstreamed"  # all WAL there is came with backups
    BEFORE_STREAMING = "before streaming"  # streaming began after this backup


def judge_hole(plan: RecoveryPlan, archive: Archive, brought: Collection[str], kept_from: int | None) -> Hole:
    """Why the WAL behind the plan's backup ends before the archive does.

    Args:
        brought: Names of all segments that backups brought themselves.
        kept_from: As `pra.wal.retention.kept_whole_from` says: from here on WAL is kept whole; None: nowhere.

    Example: a backup brought segment 4; 5 and 7 are there and 6 is not → lost. Of 4 and 7, where 7 came
    with the next backup → unstreamed. Where 7 was streamed → before streaming, unless 3 was streamed too.
    With WAL kept whole from 7 on, 6 is expired in any case.
    """
    if not plan.missing:
        return Hole.NONE
    size, facts = plan.segment_bytes, plan.manifest.physical
    assert facts is not None
    if kept_from is None or segment_end(plan.missing, size) <= kept_from:
        return Hole.EXPIRED
    own = [segment_end(segment.name, size) for segment in facts.wal]
    streamed = {*archive.segments, *archive.partials} - set(brought)
    before = segment_name(facts.timeline, plan.start - size, size) if plan.start >= size else ""
    if plan.until > max(own, default=plan.until) or before in streamed:
        return Hole.LOST
    behind = any(segment_start(name, size) >= plan.until for name in streamed)
    return Hole.BEFORE_STREAMING if behind else Hole.UNSTREAMED
