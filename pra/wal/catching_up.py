"""WAL that one repository has and another lacks is copied: the same bytes under the same keys."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from pra.errors import ObjectExists, ObjectMissing, StorageError
from pra.postgres.wal import segment_end
from pra.storage.base import Storage
from pra.wal.archive import Archive, ArchivedHistory, ArchivedSegment, read_archive

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
