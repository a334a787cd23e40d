"""The chain of an incremental backup: the full one first, then every one upon it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from pra.errors import IntegrityError
from pra.manifest import Manifest, PhysicalFacts

_OP = "follow chain"


def chain_of(manifests: Mapping[str, Manifest], backup_id: str) -> tuple[Manifest, ...]:
    """The backups that ``backup_id`` is restored from, its full backup first, itself last.

    Args:
        manifests: Those of one repository that could be read, by id.

    Raises:
        IntegrityError: A parent is not there, is of another server, or does not fit the one after it.
    """
    last = manifests[backup_id]
    ids = (*last.parents, backup_id)
    for parent in last.parents:
        if parent not in manifests:
            raise IntegrityError(
                f"{backup_id} needs {parent}, which is not there or cannot be read",
                op=_OP,
                hint="Use another repository's copy, or a backup of before.",
            )
    chain = tuple(manifests[name] for name in ids)
    if chain[0].kind != "full":
        raise IntegrityError(f"the chain of {backup_id} begins with no full backup", op=_OP)
    for earlier, later in pairwise(chain):
        _fit(earlier, later, backup_id)
    return chain


def _fit(earlier: Manifest, later: Manifest, backup_id: str) -> None:
    expected = (*earlier.parents, earlier.backup_id)
    same_server = earlier.server.system_identifier == later.server.system_identifier
    in_order = facts(earlier).start <= facts(later).start
    if later.parents != expected or not same_server or not in_order:
        raise IntegrityError(
            f"{later.backup_id} was not made upon {earlier.backup_id}, as the chain of {backup_id} says",
            op=_OP,
            hint="Use another backup.",
        )


def physical(manifests: Iterable[Manifest]) -> dict[str, Manifest]:
    """The base backups among them, by id."""
    return {manifest.backup_id: manifest for manifest in manifests if manifest.physical is not None}


def facts(manifest: Manifest) -> PhysicalFacts:
    """What a base backup is.

    Raises:
        IntegrityError: It is none.
    """
    if manifest.physical is None:
        raise IntegrityError(f"{manifest.backup_id} is no base backup", op=_OP)
    return manifest.physical
