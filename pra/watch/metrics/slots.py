"""The schedule of backups: which of its slots have one, and the longest gap. Pure.

What has expired is no longer listed, so that the past is known from samples, which date the newest backup
they see. A slot in which nobody looked, and whose backup may have expired, is unknown.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from pra.watch.metrics.observed import SAME_BACKUP, slot_begin, slot_of
from pra.watch.metrics.share import Period, Share


@dataclass(frozen=True)
class Slots:
    """Attributes:
    share: Slots with a backup, without, and unknown.
    missed: Beginnings of those without, in order.
    gap: Longest time between two backups of the period, in seconds; None with fewer than two.
    """

    share: Share
    missed: tuple[datetime, ...]
    gap: float | None


def slots_of(
    listed: Sequence[datetime],
    seen: Sequence[datetime],
    looked: Collection[int],
    period: Period,
    *,
    every: timedelta,
    complete_since: datetime | None,
) -> Slots:
    """Hold the backups against the schedule.

    Slots count from the first backup that is known on, and once they are over.

    Args:
        listed: Backups that are there. seen: Backups that samples saw.
        looked: Numbers of the slots in which a sample knew which backup is the newest.
        complete_since: From here on no backup has expired: what is not listed was not taken.
    """
    moments = merge(listed, seen)
    if not moments:
        return Slots(Share(), (), None)
    taken = {slot_of(moment, every) for moment in moments}
    first = max(slot_of(period.since, every), min(taken))
    if slot_begin(first, every) < period.since - timedelta(seconds=60):
        first += 1
    end = slot_of(period.until, every)  # the slot that is not over
    missed: list[int] = []
    good = unknown = 0
    for number in range(first, end):
        if number in taken:
            good += 1
        elif (
            number in looked
            or number + 1 in looked
            or (complete_since is not None and slot_begin(number, every) >= complete_since)
        ):
            missed.append(number)
        else:
            unknown += 1
    return Slots(
        Share(good, len(missed), unknown),
        tuple(slot_begin(number, every) + timedelta(seconds=60) for number in missed),
        _gap([moment for moment in moments if period.holds(moment)]),
    )


def merge(listed: Sequence[datetime], seen: Sequence[datetime]) -> list[datetime]:
    """Both, in order; a backup that was listed and seen comes once, as listed."""
    ordered = sorted(listed)
    return sorted([*ordered, *(moment for moment in seen if not _near(ordered, moment))])


def _near(ordered: Sequence[datetime], moment: datetime) -> bool:
    place = bisect_left(ordered, moment)
    return any(abs(each - moment) <= SAME_BACKUP for each in ordered[max(0, place - 1) : place + 1])


def _gap(moments: Sequence[datetime]) -> float | None:
    gaps = [(b - a).total_seconds() for a, b in pairwise(moments)]
    return max(gaps, default=None)
