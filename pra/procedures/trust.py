"""Base backups whose signature does not hold: asked only where the others lead nowhere, never silently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pra.catalog import Catalog
from pra.errors import PraError, SignatureError
from pra.listing import BackupEntry
from pra.manifest import Manifest


@dataclass(frozen=True)
class Doubtful:
    """What such a backup says of itself, and the complaint about its signature."""

    manifest: Manifest
    error: SignatureError


def doubtful_bases(catalog: Catalog, entries: Sequence[BackupEntry]) -> dict[str, Doubtful]:
    """Those with nothing worse than their signature wrong, newest first."""
    found = {}
    for entry in entries:
        if not isinstance(entry.error, SignatureError):
            continue
        try:
            manifest = catalog.load(entry.backup_id, accept_unverified=True)
        except PraError:
            continue
        if manifest.physical is not None:
            found[entry.backup_id] = Doubtful(manifest, entry.error)
    return found


def complaint(doubtful: Mapping[str, Doubtful], chain: Sequence[Manifest]) -> SignatureError:
    """About all of the chain whose signature does not hold; where all do, about the newest of the others."""
    ids = [m.backup_id for m in chain if m.backup_id in doubtful] or [next(iter(doubtful))]
    error = doubtful[ids[-1]].error
    return SignatureError(f"{', '.join(ids)}: {error.message}", op=error.op, hint=error.hint)
