"""Which transactions the archived WAL holds: in a stretch of it, or the last one before a moment.

Reads as few segments as the question needs. Commit times are the server's clock at commit, nearly but not
strictly in WAL order; what is asked by time is answered to the segment by bisection and exactly within it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pra.disk import disk_errors
from pra.engines.cut import Ended, read_records
from pra.engines.flips import positions
from pra.engines.recovery import RecoveryPlan
from pra.errors import IntegrityError
from pra.postgres.tools import Tools
from pra.postgres.wal import segment_end, segment_name, segment_start
from pra.proc import Scope
from pra.storage.base import Storage
from pra.wal.archive import Archive
from pra.wal.reading import read_segment

LISTED = 16
"""Segments whose commits are listed at once: at most about 60,000 in one of 16 MiB."""


@dataclass
class Commits:
    """The commits on a plan's way.

    Args:
        folder: Exists, 0700 and empty; plain segments lie there while they are read.
    """

    storage: Storage
    archive: Archive
    plan: RecoveryPlan
    tools: Tools
    scope: Scope
    folder: Path
    identities: Sequence[str] = field(default=(), repr=False)
    jobs: int = 2

    def between(self, start: int, stop: int) -> list[Ended]:
        """Commits whose records begin at ``start`` or behind it, and before ``stop``.

        Raises:
            IntegrityError: A segment is missing or not what was archived.
        """
        return [each for each in self._read(self._names(start, stop)) if start <= each.lsn < stop]

    def _names(self, start: int, stop: int) -> list[str]:
        size = self.plan.segment_bytes
        return [
            name
            for name in self.plan.wal
            if segment_end(name, size) > start and segment_start(name, size) < stop
        ]

    def segments(self, start: int, stop: int) -> int:
        """How many segments hold the bytes from ``start`` up to ``stop``."""
        return len(self._names(start, stop))

    def spread(self, start: int, stop: int, count: int) -> list[Ended]:
        """About ``count`` commits, evenly spread from the first to the last in ``between(start, stop)``.

        Evenly by number where the stretch is short enough to be listed, otherwise by segment: a position in
        between would often be none, in the empty rest of a segment that was switched early.
        """
        names = self._names(start, stop)
        if len(names) <= LISTED:
            every = self.between(start, stop)
            return [every[place] for place in positions(0, len(every) - 1, count)] if every else []
        last = self.last(start, stop=stop)
        return [] if last is None else self._by_segment(names, start, last, count)

    def _by_segment(self, names: Sequence[str], start: int, last: Ended, count: int) -> list[Ended]:
        """The first commit of about ``count`` segments, and ``last``.

        Where none begins in such a segment, the one before it too: then two neighbours of the answer have
        none between them, or fewer segments by that factor, however the commits are spread.
        """
        size, found, reached = self.plan.segment_bytes, {last.lsn: last}, start - 1
        for place in positions(0, len(names) - 1, count):
            begin, end = max(start, segment_start(names[place], size)), segment_end(names[place], size)
            if begin > last.lsn:
                break
            if reached >= begin:
                continue  # none lies between the place before and this one
            first = self.first(begin) or last
            if first.lsn >= end and (before := self.last(reached + 1, stop=begin)):
                found[before.lsn] = before
            found[first.lsn] = first
            reached = first.lsn
        return sorted(found.values(), key=_position)

    def first(self, start: int) -> Ended | None:
        """The first commit from ``start`` on."""
        size = self.plan.segment_bytes
        for name in self.plan.wal:
            if segment_end(name, size) > start and (found := self.between(start, segment_end(name, size))):
                return found[0]
        return None

    def last(self, start: int, until: datetime | None = None, stop: int | None = None) -> Ended | None:
        """The last commit from ``start`` on, before ``stop``, of a time up to ``until``; None if none."""
        size, stop = self.plan.segment_bytes, self.plan.until if stop is None else stop
        names = self._names(start, stop)
        low, high = 0, len(names)
        while until is not None and low < high:
            middle = (low + high) // 2
            place = max(start, segment_start(names[middle], size))
            first = self.first(place)
            if first is None or first.at > until:
                high = middle
            else:
                low = middle + 1
        # names[low - 1] is the last segment that begins with a commit in time; search back from there.
        for name in reversed(names[:low] if until is not None else names):
            found = self.between(max(start, segment_start(name, size)), min(stop, segment_end(name, size)))
            in_time = [each for each in found if until is None or each.at <= until]
            if in_time:
                return in_time[-1]
        return None

    def _read(self, names: Sequence[str]) -> list[Ended]:
        if not names:
            return []
        following = self.plan.wal.index(names[-1]) + 1
        wanted = [*names, *self.plan.wal[following : following + 1]]  # a record may cross into the next
        with disk_errors("fetch WAL", self.folder):
            try:
                with ThreadPoolExecutor(self.jobs, thread_name_prefix="wal") as pool:
                    called = list(pool.map(self._fetch, wanted))
                records = read_records(self.tools, self.scope, self.folder, called)
                return [each for each in records if isinstance(each, Ended) and each.committed]
            finally:
                shutil.rmtree(self.folder)
                self.folder.mkdir(mode=0o700)

    def _fetch(self, name: str) -> str:
        """Under a name of the plan's own timeline, as `read_records` wants it."""
        entry = self.archive.find(name, self.plan.exact.get(name)) or self.archive.partials.get(name)
        if entry is None:
            raise IntegrityError(
                f"WAL segment {name} is not in {self.plan.repository}",
                op="read transactions",
                hint="Look for gaps with: pra wal check",
            )
        data = read_segment(self.storage, entry, self.identities)
        size = self.plan.segment_bytes
        called = segment_name(self.plan.timeline, segment_start(name, size), size)
        (self.folder / called).write_bytes(data.ljust(size, b"\0"))
        return called


def _position(ended: Ended) -> int:
    return ended.lsn
