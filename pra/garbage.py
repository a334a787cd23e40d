"""Garbage: what a run that died left behind. Removed late, carefully, and never what might be a backup.

An orphan is an object whose backup has no manifest. It goes only when everything of that backup has been
still for longer than the longest backup could run, no live lease covers it, and there is still no manifest
at the moment of deletion. Ages are measured on the earlier of two clocks, ours and the repository's: a host
whose clock is a year ahead sees nothing old. Records and WAL are never looked at, but for unfinished uploads
of them: what WAL nothing needs any more, retention knows (``pra.wal.retention``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pra.errors import StorageError
from pra.layout import (
    MANIFEST,
    backups_prefix,
    evidence_prefix,
    leases_prefix,
    manifest_key,
    split_backup_key,
    wal_prefix,
)
from pra.leases import Lease, LeaseInfo, hold, live, survey
from pra.storage.base import ObjectStat, Storage, Upload
from pra.timing import Clock, utc_now


@dataclass(frozen=True)
class Orphan:
    """What is left of one backup that was never committed, or was deleted half-way.

    Attributes:
        keys: Its objects.
        modified: When the youngest of them was written, by the repository's clock.
    """

    backup_id: str
    keys: tuple[str, ...]
    bytes: int
    modified: datetime


@dataclass(frozen=True)
class GcReport:
    """What was removed, or would be.

    Attributes:
        removed: Keys of objects (and of leases long dead).
        aborted: Keys of unfinished uploads.
        kept: Orphans left alone: ``(backup id, reason)``.
        failed: What could not be removed: ``(key, error)``, an object lock for instance.
        bytes: Size of what was removed.
    """

    dry_run: bool
    removed: tuple[str, ...] = ()
    aborted: tuple[str, ...] = ()
    kept: tuple[tuple[str, str], ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    bytes: int = 0


def find_orphans(storage: Storage, target: str, now: datetime, min_age: timedelta) -> list[Orphan]:
    """Orphans whose youngest object is at least ``min_age`` old."""
    return [orphan for orphan in _all_orphans(storage, target) if now - orphan.modified >= min_age]


def collect(
    storage: Storage,
    target: str,
    now: datetime,
    min_age: timedelta,
    *,
    dry_run: bool = False,
    clock: Clock = utc_now,
) -> GcReport:
    """Remove orphans, unfinished uploads and dead leases.

    A dry run takes the lease too: it is how the repository's clock is read, and so the same plan is made.

    Args:
        now: The present as the caller sees it.
        min_age: Longer than any backup could run.

    Raises:
        BusyError: Another gc is at work here.
        StorageError: The repository cannot be listed or written. What merely cannot be deleted is reported.
    """
    with hold(storage, target, "gc", clock, exclusive=True) as lease:
        stat = storage.stat(lease.key)
        present = min(now, stat.modified) if stat is not None else now
        report = GcReport(dry_run)
        for orphan in _all_orphans(storage, target):
            reason = _reason_to_keep(storage, target, orphan, present, min_age, clock)
            if reason:
                report = replace(report, kept=(*report.kept, (orphan.backup_id, reason)))
            else:
                report = _remove(storage, orphan.keys, report, lease, size=orphan.bytes)
        report = _abort_uploads(storage, target, present - min_age, report, clock)
        dead = _dead_leases(storage, target, present, min_age, clock)
        return _remove(storage, dead, report, lease)


def _all_orphans(storage: Storage, target: str) -> list[Orphan]:
    found: dict[str, list[ObjectStat]] = {}
    committed: set[str] = set()
    for stat in storage.list(backups_prefix(target)):
        place = split_backup_key(target, stat.key)
        if place is None:
            continue
        found.setdefault(place[0], []).append(stat)
        if place[1] == MANIFEST:
            committed.add(place[0])
    return [
        Orphan(
            backup_id,
            tuple(stat.key for stat in stats),
            sum(stat.bytes for stat in stats),
            max(stat.modified for stat in stats),
        )
        for backup_id, stats in found.items()
        if backup_id not in committed
    ]


def _reason_to_keep(
    storage: Storage, target: str, orphan: Orphan, present: datetime, min_age: timedelta, clock: Clock
) -> str:
    if present - orphan.modified < min_age:
        return "younger than the longest backup"
    # Looked at again for each one, just before it goes: a run may have begun since the listing.
    lease = _covering(live(storage, target, min(present, clock())), orphan.backup_id)
    if lease is not None:
        return f"covered by {lease.key}"
    if storage.stat(manifest_key(target, orphan.backup_id)) is not None:
        return "committed meanwhile"
    return ""


def _covering(alive: Sequence[LeaseInfo], backup_id: str) -> LeaseInfo | None:
    return next((lease for lease in alive if lease.protects(backup_id)), None)


def _remove(
    storage: Storage, keys: Sequence[str], report: GcReport, lease: Lease, *, size: int = 0
) -> GcReport:
    lease.check()
    if report.dry_run:
        return replace(report, removed=(*report.removed, *keys), bytes=report.bytes + size)
    for key in keys:
        try:
            storage.delete(key)
        except StorageError as error:
            return replace(report, failed=(*report.failed, (key, error.message)))
        report = replace(report, removed=(*report.removed, key))
    return replace(report, bytes=report.bytes + size)


def _abort_uploads(
    storage: Storage, target: str, before: datetime, report: GcReport, clock: Clock
) -> GcReport:
    alive = live(storage, target, clock())
    uploads: list[Upload] = []
    # Of evidence and WAL only what never came to be there: a write that was cut off.
    for prefix in (
        backups_prefix(target),
        leases_prefix(target),
        evidence_prefix(target),
        wal_prefix(target),
    ):
        uploads += storage.unfinished(prefix)
    for upload in uploads:
        place = split_backup_key(target, upload.key)
        covered = place is not None and _covering(alive, place[0]) is not None
        if upload.started > before or covered:
            continue
        try:
            if not report.dry_run:
                storage.abort(upload)
        except StorageError as error:
            report = replace(report, failed=(*report.failed, (upload.key, error.message)))
        else:
            report = replace(report, aborted=(*report.aborted, upload.key))
    return report


def _dead_leases(
    storage: Storage, target: str, present: datetime, min_age: timedelta, clock: Clock
) -> list[str]:
    """Leases of holders that died, past the age at which they could interest anybody."""
    found = []
    for info, alive in survey(storage, target, min(present, clock())):
        if not alive and info.expires_at is not None and present - info.expires_at >= min_age:
            found.append(info.key)
    return found
