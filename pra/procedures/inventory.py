"""What there is: the backups of a target, where they lie, when they were last proven. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pra.catalog import BackupEntry
from pra.errors import PraError
from pra.procedures.context import Context


@dataclass(frozen=True)
class BackupRow:
    """One backup across all repositories. What cannot be known is None.

    Attributes:
        engine: ``logical`` or ``physical``.
        parents: The chain an incremental backup stands upon, its full backup first.
        repositories: Where its manifest is, in the target's order.
        proven_at, verdict: Its latest verification, wherever that read it from.
        error: Why its manifest cannot be trusted, where that is so.
    """

    backup_id: str
    target: str
    kind: str | None
    taken_at: datetime | None
    bytes: int | None
    repositories: tuple[str, ...]
    proven_at: datetime | None
    verdict: str | None
    error: str | None
    engine: str | None = None
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inventory:
    """Newest first. ``problems`` says what could not be read: ``(repository or "evidence", message)``."""

    rows: tuple[BackupRow, ...]
    problems: tuple[tuple[str, str], ...]


def take_stock(context: Context) -> Inventory:
    """List every repository, and join what they hold.

    Raises:
        StorageError: Not one repository could be listed.
    """
    problems: list[tuple[str, str]] = []
    found: dict[str, dict[str, BackupEntry]] = {}
    first_error: PraError | None = None
    for repository in context.repositories:
        try:
            entries = context.catalog(repository).backups()
        except PraError as error:
            first_error = first_error or error
            problems.append((repository, error.message))
            continue
        for entry in entries:
            found.setdefault(entry.backup_id, {})[repository] = entry
    if first_error is not None and len(problems) == len(context.repositories):
        raise first_error
    proofs = _proofs(context, problems) if found else {}
    rows = (_row(context.target.name, found[backup_id], proofs) for backup_id in sorted(found, reverse=True))
    return Inventory(tuple(rows), tuple(problems))


def _proofs(context: Context, problems: list[tuple[str, str]]) -> dict[str, tuple[datetime, str]]:
    try:
        return {key: (proof.at, proof.verdict) for key, proof in context.evidence.proofs().items()}
    except PraError as error:
        problems.append(("evidence", error.message))
        return {}


def _row(target: str, copies: dict[str, BackupEntry], proofs: dict[str, tuple[datetime, str]]) -> BackupRow:
    readable = [entry.manifest for entry in copies.values() if entry.manifest is not None]
    manifest = readable[0] if readable else None
    entry = next(iter(copies.values()))
    errors = [f"{name}: {e.error.message}" for name, e in copies.items() if e.error is not None]
    proven_at, verdict = proofs.get(entry.backup_id, (None, None))
    return BackupRow(
        backup_id=entry.backup_id,
        target=target,
        kind=manifest.kind if manifest else None,
        taken_at=manifest.taken_at if manifest else None,
        bytes=manifest.bytes if manifest else None,
        repositories=tuple(copies),
        proven_at=proven_at,
        verdict=verdict,
        error="; ".join(errors) or None,
        engine=manifest.engine if manifest else None,
        parents=manifest.parents if manifest else (),
    )
