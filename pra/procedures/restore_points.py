"""Find a named restore point in a repository's WAL, before anything is restored."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pra import ephemeral
from pra.disk import disk_errors
from pra.engines.cut import restore_points
from pra.engines.points import Behind, Search
from pra.errors import IntegrityError
from pra.keys import load_identities
from pra.postgres.tools import Tools, find_tools
from pra.postgres.wal import segment_name, segment_start
from pra.proc import Scope
from pra.procedures.context import Context
from pra.storage.base import Storage
from pra.wal.archive import Archive, ArchivedPartial, ArchivedSegment
from pra.wal.reading import read_segment

AT_ONCE = 16
"""Segments that are read by one pg_waldump."""


def find_point(context: Context, search: Search, name: str, version_num: int) -> int:
    """Where the record of that restore point begins: the first one behind the newest backup that has one.

    Reads the WAL from there on backwards, backup by backup, until it is found.

    Args:
        version_num: The server's.

    Raises:
        UsageError: It is nowhere; says which range exists.
        DecryptError: Without an identity nobody can look. ToolError: Nor without PostgreSQL's programs.
        IntegrityError, StorageError: A segment is not what was archived, or cannot be read.
    """
    settings = context.settings
    tools = find_tools(version_num // 10000, settings.postgres.bindir, needs=("pg_waldump",))
    encrypted = any(entry.encrypted for entry in _entries(search.archive))
    identities = load_identities(settings.encryption, context.state_dir) if encrypted else []
    with (
        disk_errors("fetch WAL", context.state_dir),
        ephemeral.ephemeral(context.folder("work"), "verify-points-") as folder,
    ):
        storage, jobs = context.storage(search.archive.repository), max(2, context.target.jobs)
        look = _Look(search, storage, tools, context.scope, folder / "wal", jobs, identities)
        found = (look.first(behind, name) for behind in search.behind)
        lsn = next((lsn for lsn in found if lsn is not None), None)
    if lsn is None:
        raise search.refusal
    return lsn


def _entries(archive: Archive) -> Iterator[ArchivedSegment | ArchivedPartial]:
    for found in archive.segments.values():
        yield from found
    yield from archive.partials.values()


@dataclass(frozen=True)
class _Look:
    """``folder`` does not exist; plain segments lie there while they are read."""

    search: Search
    storage: Storage
    tools: Tools
    scope: Scope
    folder: Path
    jobs: int
    identities: Sequence[str] = field(repr=False)

    def first(self, behind: Behind, name: str) -> int | None:
        for start in range(0, len(behind.names), AT_ONCE):
            # A record may cross into the next one.
            for lsn, said in self._points(behind, behind.names[start : start + AT_ONCE + 1]):
                if said == name and behind.begin <= lsn < behind.end:
                    return lsn
        return None

    def _points(self, behind: Behind, names: Sequence[str]) -> list[tuple[int, str]]:
        self.folder.mkdir(mode=0o700)
        try:
            with ThreadPoolExecutor(self.jobs, thread_name_prefix="points") as pool:
                called = list(pool.map(lambda name: self._fetch(behind, name), names))
            return restore_points(self.tools, self.scope, self.folder, called)
        finally:
            shutil.rmtree(self.folder)

    def _fetch(self, behind: Behind, name: str) -> str:
        """Under a name of the one timeline, as `pra.engines.cut.read_records` wants it."""
        search, size = self.search, self.search.segment_bytes
        entry = search.archive.find(name, behind.exact.get(name)) or search.archive.partials.get(name)
        if entry is None:
            raise IntegrityError(f"WAL segment {name} is not in {self.storage.name}", op="find restore point")
        called = segment_name(search.timeline, segment_start(name, size), size)
        data = read_segment(self.storage, entry, self.identities)
        (self.folder / called).write_bytes(data.ljust(size, b"\0"))
        return called
