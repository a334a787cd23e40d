"""Which moments can be recovered, per repository."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pra.procedures.context import Context


@dataclass(frozen=True)
class Window:
    """A contiguous run of recoverable moments in one repository.

    Attributes:
        backup_id: The oldest backup that it begins with.
        from_time: From here on (the server's clock). to_time: About until here (the repository's clock).
        ends_at: Why it ends: ``now``, ``gap``, ``timeline left`` or ``end of WAL``.
        missing: The first segment that is missing behind it, or empty.
    """

    repository: str
    timeline: int
    backup_id: str
    from_time: datetime
    from_lsn: int
    to_time: datetime
    to_lsn: int
    ends_at: str
    missing: str = ""


@dataclass(frozen=True)
class Windows:
    """All of them; ``problems`` are pairs of place and message."""

    items: tuple[Window, ...]
    problems: tuple[tuple[str, str], ...]


def windows(context: Context) -> Windows:
    """Look at every repository; one that does not answer is a problem, not the end."""
    raise NotImplementedError
