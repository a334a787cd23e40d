"""The chain of an incremental backup: the full one first, then every one upon it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pra.manifest import Manifest


def chain_of(manifests: Mapping[str, Manifest], backup_id: str) -> tuple[Manifest, ...]:
    """The backups that ``backup_id`` is restored from, its full backup first, itself last.

    Args:
        manifests: Those of one repository that could be read, by id.

    Raises:
        IntegrityError: A parent is not there, is of another server, or does not fit the one after it.
    """
    raise NotImplementedError


def physical(manifests: Iterable[Manifest]) -> dict[str, Manifest]:
    """The base backups among them, by id."""
    return {manifest.backup_id: manifest for manifest in manifests if manifest.physical is not None}
