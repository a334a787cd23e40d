"""Everything one repository holds of one target, as a scrub sees it: signed manifests, listing, WAL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pra.errors import PraError, StorageError
from pra.layout import backups_prefix, manifest_key, object_key
from pra.manifest import Manifest
from pra.model import StoredObject
from pra.procedures.context import Context
from pra.storage.base import ObjectStat
from pra.wal.archive import (
    Archive,
    ArchivedHistory,
    ArchivedSegment,
    Histories,
    history_text,
    read_archive,
    survey_histories,
    systems,
)
from pra.wal.shipping import streamed_until


@dataclass(frozen=True)
class Item:
    """One stored object that can be read again.

    Attributes:
        modified: When it was published, by the repository's clock; it was read back then.
        stored: What a signed manifest says of it, and ``backup_id`` which one.
        segment: What its key says of it.
    """

    key: str
    bytes: int
    modified: datetime
    backup_id: str = ""
    stored: StoredObject | None = None
    segment: ArchivedSegment | None = None


@dataclass(frozen=True)
class Damage:
    """Bytes that are not what was published. ``message`` is one lowercase fact.

    Attributes:
        backup_id: The backup it belongs to; empty for WAL.
        segment: The WAL segment, by PostgreSQL's name; empty for a backup's object.
    """

    key: str
    message: str
    backup_id: str = ""
    segment: str = ""


@dataclass
class Holdings:
    """What there is. ``damage``: what is wrong already by the listing and the manifests.

    Attributes:
        archives: By system identifier.
        unread: What could not be looked at: ``(key, message)``.
        streamed: Until when the streamer says that everything is there.
    """

    repository: str
    manifests: dict[str, Manifest] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    archives: dict[str, tuple[Archive, Histories]] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)
    streamed: datetime | None = None


def take_stock(context: Context, repository: str) -> Holdings:
    """List, and read every manifest. An object that is missing or of another size is found here already.

    Raises:
        StorageError: The repository does not answer.
    """
    storage, target = context.storage(repository), context.target.name
    found = Holdings(repository)
    entries = context.catalog(repository).backups()
    listed = {stat.key: stat for stat in storage.list(backups_prefix(target))}
    for entry in entries:
        key = manifest_key(target, entry.backup_id)
        if entry.manifest is not None:
            found.manifests[entry.backup_id] = entry.manifest
            _objects(found, target, entry.manifest, listed)
        elif isinstance(entry.error, StorageError):
            found.unread.append((key, entry.error.message))
        else:
            message = entry.error.message if entry.error else "it cannot be read"
            found.damage.append(Damage(key, message, entry.backup_id))
    found.streamed = streamed_until(storage, target, context.clock)
    for system_id in systems(storage, target):
        archive = read_archive(storage, target, system_id)
        histories, _ = survey_histories(storage, archive)
        found.archives[system_id] = (archive, histories)
        found.items += [
            Item(one.key, one.bytes, one.modified, segment=one)
            for same in archive.segments.values()
            for one in same
        ]
        for history in (one for same in archive.histories.values() for one in same):
            _history(found, context, repository, history)
    return found


def _objects(found: Holdings, target: str, manifest: Manifest, listed: Mapping[str, ObjectStat]) -> None:
    for stored in manifest.objects:
        key = object_key(target, manifest.backup_id, stored.name)
        stat = listed.get(key)
        if stat is None:
            found.damage.append(Damage(key, f"{stored.name} is missing", manifest.backup_id))
        elif stat.bytes != stored.bytes:
            fact = f"{stored.name} has {stat.bytes} bytes, and its manifest says {stored.bytes}"
            found.damage.append(Damage(key, fact, manifest.backup_id))
        else:
            found.items.append(Item(key, stat.bytes, stat.modified, manifest.backup_id, stored))


def _history(found: Holdings, context: Context, repository: str, history: ArchivedHistory) -> None:
    """Small, and without them no timeline can be followed: read every time."""
    try:
        history_text(context.storage(repository), history)
    except StorageError as error:
        found.unread.append((history.key, error.message))
    except PraError as error:
        found.damage.append(Damage(history.key, error.message))
