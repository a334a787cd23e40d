"""RPO and RTO: what was measured, against what was promised. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise


@dataclass(frozen=True)
class Point:
    """One backup in one repository: the instant it brings back, and when it could first be used."""

    taken_at: datetime
    published_at: datetime


def longest_gap(points: Sequence[Point], now: datetime, since: datetime | None = None) -> timedelta | None:
    """The most that a disaster could have cost at its worst moment.

    Just before a backup is published, the newest usable instant is the snapshot before it; and right now
    it is the newest snapshot. ``since`` leaves out gaps that closed earlier.

    Example: snapshots at 10:00 and 11:00, published at 10:02 and 11:03, now 11:30: 63 minutes.

    Returns:
        None without any backup: nothing could have been recovered, which no duration expresses.
    """
    ordered = sorted(points, key=lambda point: point.taken_at)
    if not ordered:
        return None
    gaps = [now - ordered[-1].taken_at]
    for earlier, later in pairwise(ordered):
        if since is None or later.published_at >= since:
            gaps.append(later.published_at - earlier.taken_at)
    return max(*gaps, timedelta(0))
