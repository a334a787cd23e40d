"""Which archived WAL to keep. Pure: a listing, the backups that stay and the present in, a plan out.

The rule, for each server (system identifier) by itself:

1. WAL is kept **whole** from the start of the newest backup that is older than ``pitr_window``, so that every
   moment of the window can be recovered; from the oldest backup's start where none is older. A backup in the
   window whose start lies further back (a server that was put back to an earlier point) moves it there, and
   so does one that somebody is reading now. The window reaches back from the newest backup, or from now if
   that is earlier: neither silence nor a clock that ran ahead moves anything out. That there is such a backup
   is ``pra.retention``'s care. A server that has backups in the window and older ones begins from its own.
2. Before that only what a kept backup names (``physical.wal``) is kept, by its contents.
3. A backup whose manifest cannot be read may need anything from the readable backup before it on; where
   there is none, everything.
4. Where there is no backup at all the first may be under way: what is younger than the window stays.
5. What landed within the last ``longest_backup`` stays: a backup on its way, or one being copied here, brings
   its WAL before its manifest. So does what is still under the object lock that it was streamed with.
   Histories stay always: without them nobody can tell timelines apart.

A server that no backup in the window came from keeps only what its kept backups name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pra.postgres.wal import segment_end
from pra.wal.archive import Archive, ArchivedPartial, ArchivedSegment


@dataclass(frozen=True)
class WalBackup:
    """What WAL retention needs to know of a backup that stays.

    Attributes:
        system_id: Of the server it came from; empty when its manifest cannot be read.
        start: Position at which recovery from it begins.
        wal: ``(segment, sha256)`` without which it cannot be restored.
        readable: Its manifest could be read.
        in_use: A lease covers it: somebody restores from it, or builds upon it.
    """

    backup_id: str
    taken_at: datetime
    system_id: str = ""
    start: int = 0
    wal: tuple[tuple[str, str], ...] = ()
    readable: bool = True
    in_use: bool = False


@dataclass(frozen=True)
class Doomed:
    """An object that may go, and why."""

    key: str
    name: str
    bytes: int
    reason: str


@dataclass(frozen=True)
class WalPlan:
    """What is to become of one server's WAL in one repository.

    Attributes:
        keep_from: From this position on it is kept whole; None: only what backups name (or, without any
            backup, all that is younger than the window).
        keep: How many objects stay, and ``keep_bytes`` their size.
        expire: What goes, in order.
    """

    system_id: str
    keep_from: int | None
    keep: int
    keep_bytes: int
    expire: tuple[Doomed, ...]


def kept_whole_from(
    backups: Sequence[WalBackup], system_id: str, window: timedelta, now: datetime
) -> int | None:
    """From which position on a server's WAL is kept whole; None where no backup asks for that.

    Example: backups at 1, 3 and 9 days of age and a window of 7 days: from the start of the one of 9 days.
    """
    readable = [backup for backup in backups if backup.readable]
    horizon = min([now, *sorted(backup.taken_at for backup in readable)[-1:]]) - window
    for backup in backups:
        if not backup.readable:
            horizon = min(horizon, backup.taken_at)
    older = [backup for backup in readable if backup.taken_at <= horizon]
    anchor = max(older, key=_age, default=None)
    if anchor is None and any(not backup.readable for backup in backups):
        return 0
    own = [backup for backup in readable if backup.system_id == system_id]
    if any(backup.taken_at > horizon for backup in own):
        anchor = max((backup for backup in own if backup.taken_at <= horizon), key=_age, default=None)
    needed = [
        backup.start for backup in own if backup.in_use or anchor is None or _age(backup) >= _age(anchor)
    ]
    return min(needed, default=None)


def _age(backup: WalBackup) -> tuple[datetime, str]:
    return backup.taken_at, backup.backup_id


def plan(
    archive: Archive,
    backups: Sequence[WalBackup],
    *,
    segment_bytes: int,
    window: timedelta,
    longest_backup: timedelta,
    now: datetime,
    locked: timedelta = timedelta(0),
) -> WalPlan:
    """Decide what one server's WAL in one repository is still for; touches nothing.

    Args:
        backups: Every physical backup that stays in this repository, and every unreadable one, of whatever
            server.
        segment_bytes: Size of that server's segments.
        now: The present, the earlier of our clock and the repository's.
        locked: How long a streamed segment is under object lock here.
    """
    own = [backup for backup in backups if backup.system_id == archive.system_id]
    whole_from = kept_whole_from(backups, archive.system_id, window, now)
    named = {pair for backup in own for pair in backup.wal}
    expire: list[Doomed] = []
    keep = keep_bytes = 0
    for entry in _entries(archive):
        reason = _reason(entry, own, whole_from, named, archive, segment_bytes)
        age = now - entry.modified
        if isinstance(entry, ArchivedSegment) and age < locked:
            reason = ""
        if age < longest_backup or (not own and age < window and entry not in archive.stale):
            reason = ""
        if reason:
            expire.append(Doomed(entry.key, entry.name, entry.bytes, reason))
        else:
            keep, keep_bytes = keep + 1, keep_bytes + entry.bytes
    return WalPlan(archive.system_id, whole_from, keep, keep_bytes, tuple(expire))


def _entries(archive: Archive) -> list[ArchivedSegment | ArchivedPartial]:
    whole: list[ArchivedSegment | ArchivedPartial] = [
        one for _, found in sorted(archive.segments.items()) for one in found
    ]
    return [*whole, *(one for _, one in sorted(archive.partials.items())), *archive.stale]


def _reason(
    entry: ArchivedSegment | ArchivedPartial,
    own: Sequence[WalBackup],
    whole_from: int | None,
    named: set[tuple[str, str]],
    archive: Archive,
    segment_bytes: int,
) -> str:
    """Why an object may go; empty when it must stay."""
    if entry in archive.stale:
        return "a longer piece of the same segment is here"
    if whole_from is not None and segment_end(entry.name, segment_bytes) > whole_from:
        return ""
    if isinstance(entry, ArchivedSegment) and (entry.name, entry.sha256) in named:
        return ""
    if not own:
        return "no backup of that server is here"
    if whole_from is None:
        return "older than the window, and no backup names it"
    return "before the window, and no backup names it"
