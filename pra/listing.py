"""A listing of backups, and what retention makes of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pra.errors import PraError, StorageError, UsageError
from pra.manifest import Manifest
from pra.model import backup_moment
from pra.retention import BackupFacts


@dataclass(frozen=True)
class BackupEntry:
    """One committed backup: its manifest, or the error that made the manifest unreadable."""

    backup_id: str
    manifest: Manifest | None
    error: PraError | None = None

    @property
    def taken_at(self) -> datetime:
        """The snapshot; for an unreadable manifest the moment in the id, or the beginning of time."""
        if self.manifest is not None:
            return self.manifest.taken_at
        try:
            return backup_moment(self.backup_id)
        except (UsageError, ValueError):  # no id, or digits that are no date
            return datetime.min.replace(tzinfo=UTC)

    @property
    def system_id(self) -> str:
        """Of the server that a base backup came from; empty for a logical or an unreadable one."""
        if self.manifest is None or self.manifest.physical is None:
            return ""
        return self.manifest.server.system_identifier


def unread(entries: Sequence[BackupEntry]) -> list[PraError]:
    """Why manifests could not be read at all: their repository's trouble, and gone with it.

    Whoever decides by a listing must not take these for backups that are damaged.
    """
    return [entry.error for entry in entries if isinstance(entry.error, StorageError)]


def retention_facts(entries: Sequence[BackupEntry], proven: Collection[str] = ()) -> list[BackupFacts]:
    """What retention needs of a listing. What an unreadable backup may have as parents is guessed high:
    everything back to the last full backup before it.

    Args:
        entries: From ``Catalog.backups``.
        proven: Ids whose latest verification here was a PASS.
    """
    found = []
    newest_first = sorted(entries, key=lambda e: e.backup_id, reverse=True)
    for place, entry in enumerate(newest_first):
        if entry.manifest is not None:
            parents = entry.manifest.parents
        else:
            parents = () if "-full-" in entry.backup_id else _possible_parents(newest_first[place + 1 :])
        found.append(
            BackupFacts(
                entry.backup_id,
                entry.taken_at,
                parents,
                entry.backup_id in proven,
                entry.manifest is not None,
                entry.system_id,
            )
        )
    return found


def _possible_parents(older: Sequence[BackupEntry]) -> tuple[str, ...]:
    parents = []
    for entry in older:
        parents.append(entry.backup_id)
        if entry.manifest is not None and entry.manifest.kind == "full":
            break
    return tuple(parents)
