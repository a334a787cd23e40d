"""Where to stop and compare: the WAL around a backup's snapshot, read in a window that grows as needed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pra.disk import disk_errors
from pra.engines.cut import (
    Cut,
    NoCut,
    Record,
    Snapshot,
    find_cut,
    parse_snapshot,
    read_records,
    restore_points,
)
from pra.engines.cut_target import fit
from pra.engines.recovery import RecoveryPlan
from pra.errors import IntegrityError
from pra.manifest import PhysicalFacts
from pra.postgres.tools import Tools
from pra.postgres.wal import parse_lsn, segment_name
from pra.proc import Scope
from pra.storage.base import Storage
from pra.wal.archive import Archive
from pra.wal.reading import read_segment

_OP = "find cut"


@dataclass
class CutFinder:
    """Looks for the cut of a plan's newest backup.

    Args:
        folder: Does not exist; plain segments lie there while they are read.
    """

    storage: Storage
    archive: Archive
    plan: RecoveryPlan
    tools: Tools
    scope: Scope
    folder: Path
    identities: Sequence[str] = field(default=(), repr=False)
    jobs: int = 2

    def find(self) -> Cut | NoCut:
        """The cut, if there is one before the target.

        Raises:
            IntegrityError: A segment around the snapshot is not what was archived, or cannot be read.
            StorageError: The repository failed.
        """
        with disk_errors("fetch WAL", self.folder.parent):
            self.folder.mkdir(mode=0o700)
            try:
                return self._search(parse_snapshot(self.plan.manifest.snapshot))
            finally:
                shutil.rmtree(self.folder, ignore_errors=True)

    def _search(self, snapshot: Snapshot) -> Cut | NoCut:
        facts, last = self._facts, len(self.plan.wal) - 1
        near = min(self._place(_near(facts)), last)
        # A stop at a name or a transaction is only known to lie behind the cut when all WAL between is read.
        first = self._place(facts.stop) if self.plan.target.kind in ("name", "xid") else near
        step, end = 1, min(near + 1, last)
        while True:
            records = self._records(first, end)
            found = find_cut(records, snapshot, consistent_at=facts.stop, from_start=first == 0)
            if isinstance(found, Cut) or not found.unfinished or (first == 0 and end == last):
                return self._fit(found, records, first, end)
            first, end, step = max(0, first - step), min(last, end + step), step * 2

    @property
    def _facts(self) -> PhysicalFacts:
        facts = self.plan.manifest.physical
        assert facts is not None
        return facts

    def _place(self, lsn: int) -> int:
        """The index in the plan's WAL of the segment that holds a position."""
        size = self.plan.segment_bytes
        return max(0, lsn // size - self.plan.start // size)

    def _names(self, first: int, end: int) -> list[str]:
        """As one timeline's: pg_waldump follows no switch, and a segment begins with its ancestor's bytes."""
        size = self.plan.segment_bytes
        base = self.plan.start // size
        return [segment_name(self._facts.timeline, (base + i) * size, size) for i in range(first, end + 1)]

    def _records(self, first: int, end: int) -> list[Record]:
        names = self._names(first, end)
        with ThreadPoolExecutor(self.jobs, thread_name_prefix="cut") as pool:
            list(pool.map(self._fetch, self.plan.wal[first : end + 1], names))
        return read_records(self.tools, self.scope, self.folder, names)

    def _fetch(self, name: str, called: str) -> None:
        path = self.folder / called
        if path.exists():
            return
        entry = self.archive.find(name, self.plan.exact.get(name)) or self.archive.partials.get(name)
        if entry is None:
            raise IntegrityError(f"WAL segment {name} is not in {self.plan.repository}", op=_OP)
        # A partial ends before its segment does; zeros are where pg_waldump expects WAL to end.
        path.write_bytes(
            read_segment(self.storage, entry, self.identities).ljust(self.plan.segment_bytes, b"\0")
        )

    def _fit(self, found: Cut | NoCut, records: Sequence[Record], first: int, end: int) -> Cut | NoCut:
        if isinstance(found, NoCut):
            return found
        target, points = self.plan.target, []
        if target.kind == "name":
            points = restore_points(self.tools, self.scope, self.folder, self._names(first, end))
        return fit(found, target, records, points, consistent_at=self._facts.stop)


def _near(facts: PhysicalFacts) -> int:
    return max(facts.stop, parse_lsn(facts.snapshot_lsn) if facts.snapshot_lsn else 0)
