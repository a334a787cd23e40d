"""What to read again today. Pure: what there is, when it was read last, and the present in; a list out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pra.scrub.holdings import Item
from pra.scrub.state import ScrubState

_DAY = timedelta(days=1)
_SPARE = 1.1
"""So much more than a day's share, since a scrub may not run one day."""


@dataclass(frozen=True)
class Amount:
    """How much to read: ``everything``, a number of objects, or (neither) a day's share."""

    everything: bool = False
    sample: int = 0


@dataclass(frozen=True)
class ScrubPlan:
    """``chosen``: the oldest check first. ``overdue``: so many were due and would be too much for a day."""

    chosen: tuple[Item, ...]
    overdue: int = 0


def plan(
    items: Sequence[Item],
    state: ScrubState,
    amount: Amount,
    *,
    now: datetime,
    within: timedelta,
    most_bytes: int,
) -> ScrubPlan:
    """Choose. What is known to be damaged comes first, each time, until it is gone or whole again.

    A day's share is all bytes divided by the days of ``within``, and a little more; besides, whatever would
    be older than ``within`` at this time tomorrow. Of both no more than ``most_bytes`` is read, and one
    object at least.

    Example: 300 GB, within 30 days: 11 GB a day.
    """
    known = [item for item in items if state.is_damaged(item.key)]
    rest = sorted(
        (item for item in items if not state.is_damaged(item.key)),
        key=lambda item: (state.when(item.key, item.modified), item.key),
    )
    if amount.everything:
        return ScrubPlan((*known, *rest))
    if amount.sample:
        return ScrubPlan((*known, *rest[: amount.sample]))
    share = sum(item.bytes for item in items) * _SPARE / max(1.0, within / _DAY)
    horizon = now + _DAY - within
    chosen: list[Item] = []
    taken, overdue = 0, 0
    for item in rest:
        due = state.when(item.key, item.modified) < horizon
        if chosen and not (taken < share or due):
            break
        if chosen and taken + item.bytes > most_bytes:
            overdue += due
            continue
        chosen.append(item)
        taken += item.bytes
    return ScrubPlan((*known, *chosen), overdue)
