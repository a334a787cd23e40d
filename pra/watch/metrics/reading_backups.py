"""Backups as listed: the id says when, the listing since when it is there; manifests only of the newest."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from datetime import datetime
from typing import Any

from pra import manifest as manifests
from pra.errors import NotFoundError, ObjectMissing, PraError, StorageError, UsageError
from pra.keys import Keyring
from pra.layout import MANIFEST, backups_prefix, split_backup_key
from pra.model import backup_moment
from pra.storage.base import ObjectStat
from pra.watch.metrics.facts import Backup
from pra.watch.metrics.reading_evidence import Shelf

MANIFESTS = 60
"""So many manifests at most are read at one time; what was read before is remembered."""
_DAY = 86400.0


def read_backups(
    shelf: Shelf, target: str, keyring: Keyring, since: datetime, pool: Executor, problems: list[str]
) -> tuple[Backup, ...] | None:
    """Every backup that is there, in order of time; None when the repository does not answer.

    Args:
        since: Durations of older ones are not asked for.
    """
    name = shelf.storage.name
    try:
        stats = _manifests(shelf, target)
    except StorageError as error:
        problems.append(f"{name} was not reached: {error.message}")
        return None
    moments: dict[str, datetime] = {}
    for backup_id in stats:
        try:
            moments[backup_id] = backup_moment(backup_id)
        except (UsageError, ValueError):
            problems.append(f"{name} holds a backup under a name that is none: {backup_id[:60]!r}")
    newest = sorted((i for i, at in moments.items() if at >= since), reverse=True)
    timed = _timed(
        shelf, {backup_id: stats[backup_id] for backup_id in newest}, target, keyring, pool, problems
    )
    return tuple(
        Backup(backup_id, at, stats[backup_id].modified, *timed.get(backup_id, (None, None)))
        for backup_id, at in sorted(moments.items(), key=lambda item: (item[1], item[0]))
    )


def _manifests(shelf: Shelf, target: str) -> dict[str, ObjectStat]:
    found = {}
    for stat in shelf.storage.list(backups_prefix(target)):
        place = split_backup_key(target, stat.key)
        if place and place[1] == MANIFEST:
            found[place[0]] = stat
    return found


Timed = tuple[float | None, int | None]


def _timed(
    shelf: Shelf,
    stats: dict[str, ObjectStat],
    target: str,
    keyring: Keyring,
    pool: Executor,
    problems: list[str],
) -> dict[str, Timed]:
    """Seconds to publish, and bytes: of all that are remembered, and of the newest that are not."""
    found: dict[str, Timed] = {}
    unread: list[str] = []
    for backup_id, stat in stats.items():
        known = shelf.cache.get(stat)
        try:
            found[backup_id] = (known["seconds"], known["bytes"]) if known else found[backup_id]
        except (KeyError, TypeError):
            unread.append(backup_id)

    def load(backup_id: str) -> dict[str, Any] | str:
        return _load(shelf, stats[backup_id], target, backup_id, keyring)

    chosen: Sequence[str] = unread[:MANIFESTS]
    for backup_id, read in zip(chosen, pool.map(load, chosen), strict=True):
        if isinstance(read, str):
            if read:
                problems.append(f"backup {backup_id} in {shelf.storage.name}: {read}")
            continue
        shelf.cache.put(stats[backup_id], read)
        found[backup_id] = (read["seconds"], read["bytes"])
    return found


def _load(
    shelf: Shelf, stat: ObjectStat, target: str, backup_id: str, keyring: Keyring
) -> dict[str, Any] | str:
    """What is kept of a manifest, or what is wrong with it; empty when it has expired meanwhile."""
    try:
        data = shelf.storage.read(stat.key)
        manifest = manifests.read(data, keyring, target=target, backup_id=backup_id)
    except (NotFoundError, ObjectMissing):
        return ""
    except PraError as error:
        return error.message
    seconds = (stat.modified - manifest.started_at).total_seconds()
    # One that was copied here later says nothing about how long it took.
    return {"seconds": seconds if 0 <= seconds < _DAY else None, "bytes": manifest.bytes}
