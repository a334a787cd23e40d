"""WAL that one repository has and another lacks is copied: the same bytes under the same keys."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from pra.errors import ObjectExists, ObjectMissing, StorageError
from pra.postgres.wal import segment_end, segment_start, segment_timeline
from pra.storage.base import Storage
from pra.wal.archive import Archive, ArchivedHistory, ArchivedSegment, read_archive
from pra.wal.coverage import Histories, covered_until, reigns

_LARGEST = 2 << 30


def lacking(
    here: Archive, there: Archive, since: int, segment_bytes: int
) -> list[ArchivedHistory | ArchivedSegment]:
    """What ``there`` has and ``here`` lacks, histories first, then segments in order. Pure.

    Args:
        since: Older WAL is not wanted: retention here has let it go, or never had a use for it.
    """
    histories: list[ArchivedHistory | ArchivedSegment] = [
        one
        for _, found in sorted(there.histories.items())
        for one in found
        if all(one.sha256 != own.sha256 for own in here.histories.get(one.timeline, ()))
    ]
    segments = [
        one
        for name, found in sorted(there.segments.items())
        if segment_end(name, segment_bytes) > since
        for one in found
        if here.find(name, one.sha256) is None
    ]
    return histories + segments


def lacking_from(
    archive: Archive, timeline: int, histories: Histories, since: int | None, segment_bytes: int
) -> list[int]:
    """Where a repository begins to lack WAL on the way to ``timeline``: at every hole, and at the end. Pure.

    Args:
        since: Older WAL is not wanted; None: it begins where the WAL here does.

    Example: of segments 1 to 9 it has 3, 4 and 7, whole: from 5 and from 8 on, as positions.
    """
    path = reigns(timeline, histories)
    there = sorted(
        {
            segment_start(name, segment_bytes)
            for name in (*archive.segments, *archive.partials)
            for step in path
            if step.timeline == segment_timeline(name)
            and (step.stop is None or segment_start(name, segment_bytes) < step.stop)
            and segment_end(name, segment_bytes) > max(since or 0, step.start)
        }
    )
    found: list[int] = []
    if since is not None and there and there[0] > since:
        found.append(since)
    while there:
        until = covered_until(archive, timeline, there[0], segment_bytes, histories)
        if until <= there[0]:
            until = there[0]
            there = there[1:]
        found.append(until)
        there = [
            start for start in there if start >= until and start != until // segment_bytes * segment_bytes
        ]
    return found


def copy_missing(
    source: Storage,
    destination: Storage,
    target: str,
    system_id: str,
    since: int,
    segment_bytes: int,
    *,
    retain_until: Callable[[], datetime | None],
    between: Callable[[], None] = lambda: None,
) -> int:
    """Bring what is lacking; returns how many objects came. Written once: what is there stays.

    Args:
        between: Called after each object; it may raise to stop.

    Raises:
        StorageError: Either repository failed, or the copy reads back differently.
    """
    here = read_archive(destination, target, system_id)
    there = read_archive(source, target, system_id)
    count = 0
    for entry in lacking(here, there, since, segment_bytes):
        try:
            data = source.read(entry.key, limit=_LARGEST)
        except ObjectMissing:
            continue  # expired there meanwhile
        try:
            destination.create(entry.key, data, retain_until=retain_until())
        except ObjectExists:
            continue
        if destination.read(entry.key, limit=_LARGEST) != data:
            with suppress(StorageError):
                destination.delete(entry.key)  # or the next try would take it for copied
            raise StorageError(
                f"{entry.key} in {destination.name} reads back differently",
                op="copy WAL",
                hint="Check that repository's disk.",
            )
        count += 1
        between()
    return count
