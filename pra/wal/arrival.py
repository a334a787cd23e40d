"""Until when everything that a server committed is in a repository, as far as anybody can know. Pure.

When an object landed says nothing about when its content was committed: after an outage hours of old WAL land
within minutes. Only the streamer knows, who has asked the server; and every backup brings its own WAL.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Streaming:
    """What the streamer's lease in a repository says.

    Attributes:
        vouched: Until then everything is there; None: it never said, or took its word back at its end.
        alive: It runs.
    """

    vouched: datetime | None = None
    alive: bool = False


def arrived_until(
    streaming: Streaming, *, newest_backup: datetime | None, landed: datetime | None
) -> datetime | None:
    """The last moment of which everything is there; None when nothing tells.

    Args:
        newest_backup: When the newest base backup there was taken.
        landed: When the furthest piece of WAL landed, by the repository's clock. Counts only where nobody
            streams: then it came with a backup, or a streamer shipped it at its end.

    Example: the streamer began a minute ago and ships the WAL of three hours; the last backup was taken four
    hours ago: four hours ago.
    """
    known = [newest_backup, streaming.vouched]
    if streaming.vouched is None and not streaming.alive:
        known.append(landed)
    return max((moment for moment in known if moment is not None), default=None)
