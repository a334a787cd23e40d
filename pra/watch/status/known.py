"""The few facts of each backup that watching and listing need, without reading every manifest each time.

A manifest never changes, so that what was read of it is kept in the state directory. That makes nothing green
that is not:

* What is there is what the listing says now: a backup whose manifest is gone does not count.
* A kept fact stands for one object by key, size, time and tag as listed (`pra.storage.base.ObjectStat`): one
  that was written again, under whatever clock, has another tag and is read again.
* Only what could be believed is kept; another set of trusted keys, or another place, forgets everything.
* Bytes may rot where nobody wrote: the newest manifest, on which the verdict rests, is read in every pass,
  and each of the others once within a day.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pra.catalog import Catalog
from pra.errors import NotFoundError, PraError, StorageError
from pra.listing import BackupEntry
from pra.manifest import Manifest
from pra.procedures.context import Context
from pra.procedures.wal import wal_backups
from pra.side_by_side import side_by_side
from pra.storage.base import ObjectStat
from pra.timing import from_iso, to_iso
from pra.wal.retention import WalBackup
from pra.watch.metrics.cache import Cache
from pra.watch.status.record import at_once

AGAIN = timedelta(days=1)
_NEW = 2
"""Where only the newest are wanted, so many are read in one pass beside the newest itself."""
_CHUNK = 32
"""So many are looked at before it is kept what they say: a pass that is given up helps the next."""


@dataclass(frozen=True)
class Known:
    """One backup in one repository.

    Attributes:
        error: Why its manifest cannot be believed; then only the id speaks for ``taken_at``.
        kind, engine, bytes, parents: As in its manifest.
        seconds: From its start to its publication here.
        wal: What WAL it needs; None for a logical backup. segment_bytes: Of its server; 0 for a logical one.
    """

    backup_id: str
    taken_at: datetime
    error: PraError | None = None
    kind: str = ""
    engine: str = ""
    bytes: int = 0
    parents: tuple[str, ...] = ()
    seconds: float = 0.0
    wal: WalBackup | None = None
    segment_bytes: int = 0


def known_backups(
    context: Context, repository: str, *, newest: int | None = None, strict: bool = True
) -> tuple[list[Known], set[str]]:
    """The committed backups there, the newest id first; and the ids of all.

    Args:
        newest: So many are looked at, as far as they are known or few enough to be read now; None: all.
        strict: A newest manifest that cannot be read at all is the repository's trouble, and raised.

    Raises:
        StorageError: The repository cannot be listed.
    """
    catalog = context.catalog(repository)
    stats = catalog.manifests()
    name = f"backups-{context.target.name}.{repository}"
    cache = Cache.load(context.folder("status"), name, catalog.storage, context.keyring)
    reader = _Reader(catalog, stats, cache, context.clock())
    ids = sorted(stats, reverse=True)[:newest]
    if newest is not None:
        ids = [*ids[:1], *reader.remembered(ids[1:], _NEW)]
    for stat in stats.values():
        cache.get(stat)  # it is there: what is known of it stays
    found: dict[str, Known] = {}
    for begin in range(0, len(ids), _CHUNK):
        chunk = side_by_side(reader.known, ids[begin : begin + _CHUNK], at_once(context))
        found |= {known.backup_id: known for known in chunk if known is not None}
        cache.store()
    if found:
        last = max(found.values(), key=lambda known: (known.taken_at, known.backup_id)).backup_id
        if last not in reader.read:
            again = reader.fresh(last)
            found = found | {last: again} if again else {i: k for i, k in found.items() if i != last}
        if strict and last in found and isinstance(unread := found[last].error, StorageError):
            raise unread
    cache.store()
    return [found[backup_id] for backup_id in ids if backup_id in found], set(stats)


class _Reader:
    """From memory where it may be, otherwise from the repository."""

    def __init__(
        self, catalog: Catalog, stats: Mapping[str, ObjectStat], cache: Cache, now: datetime
    ) -> None:
        self._catalog, self._stats, self._cache, self._now = catalog, stats, cache, now
        self.read: set[str] = set()

    def known(self, backup_id: str) -> Known | None:
        """None: it has expired meanwhile."""
        return self._kept(backup_id) or self.fresh(backup_id)

    def remembered(self, ids: Sequence[str], most: int) -> list[str]:
        """Those that need no reading, and so many of those that do."""
        unread = [backup_id for backup_id in ids if self._kept(backup_id) is None]
        return [backup_id for backup_id in ids if backup_id not in unread[most:]]

    def _kept(self, backup_id: str) -> Known | None:
        return _from_kept(backup_id, self._cache.get(self._stats[backup_id]), self._now)

    def fresh(self, backup_id: str) -> Known | None:
        self.read.add(backup_id)
        stat = self._stats[backup_id]
        try:
            manifest = self._catalog.load(backup_id)
        except NotFoundError:
            return None
        except PraError as error:
            self._cache.forget(stat)
            return Known(backup_id, BackupEntry(backup_id, None).taken_at, error)
        found = known_of(manifest, stat.modified)
        if _from_kept(backup_id, self._cache.get(stat), self._now) != found:  # else nothing is written anew
            self._cache.put(stat, _as_kept(found, self._now))
        return found


def known_of(manifest: Manifest, published: datetime) -> Known:
    """What a manifest that was just read says."""
    wal = wal_backups([BackupEntry(manifest.backup_id, manifest)])
    return Known(
        manifest.backup_id,
        manifest.taken_at,
        kind=manifest.kind,
        engine=manifest.engine,
        bytes=manifest.bytes,
        parents=manifest.parents,
        seconds=(published - manifest.started_at).total_seconds(),
        wal=wal[0] if wal else None,
        segment_bytes=manifest.physical.wal_segment_bytes if manifest.physical else 0,
    )


def _as_kept(known: Known, now: datetime) -> dict[str, Any]:
    kept: dict[str, Any] = {
        "read_at": to_iso(now),
        "taken_at": to_iso(known.taken_at),
        "kind": known.kind,
        "engine": known.engine,
        "bytes": known.bytes,
        "parents": list(known.parents),
        "seconds": known.seconds,
    }
    if known.wal is not None:
        kept["wal"] = [known.wal.system_id, known.wal.start, [list(piece) for piece in known.wal.wal]]
        kept["segment_bytes"] = known.segment_bytes
    return kept


def _from_kept(backup_id: str, kept: Any, now: datetime) -> Known | None:
    """None for what is too old, of a clock that ran ahead, or of another form."""
    try:
        if not timedelta(0) <= now - from_iso(kept["read_at"]) < _lifetime(backup_id):
            return None
        taken_at, wal = from_iso(kept["taken_at"]), None
        if "wal" in kept:
            system_id, start, pieces = kept["wal"]
            wal = WalBackup(
                backup_id, taken_at, str(system_id), int(start), tuple((str(n), str(h)) for n, h in pieces)
            )
        return Known(
            backup_id,
            taken_at,
            kind=str(kept["kind"]),
            engine=str(kept["engine"]),
            bytes=int(kept["bytes"]),
            parents=tuple(str(parent) for parent in kept["parents"]),
            seconds=float(kept["seconds"]),
            wal=wal,
            segment_bytes=int(kept.get("segment_bytes", 0)),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _lifetime(backup_id: str) -> timedelta:
    """Half of `AGAIN` to the whole of it, by the id: not everything is read again in one pass."""
    return AGAIN / 2 * (1 + zlib.crc32(backup_id.encode()) / 2**32)
