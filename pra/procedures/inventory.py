"""What there is: the backups of a target, where they lie, when they were last proven. Changes nothing.

What is there is what the repositories list now; what their manifests and evidence say never changes, and is
remembered in the state directory (`pra.watch.status.known`, `pra.watch.status.record`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pra.errors import PraError, StorageError
from pra.limited import TimedOut, within
from pra.model import Verdict
from pra.proc import Scope
from pra.procedures.context import Context
from pra.settings import Settings, Target
from pra.side_by_side import side_by_side
from pra.storage import open_storage
from pra.timing import Clock, from_iso, utc_now
from pra.watch.status.asking import Source
from pra.watch.status.known import Known, known_backups
from pra.watch.status.record import said

_SECONDS = 30.0
"""So long one repository may take for one of many targets."""
_TRIES = 3

Problem = tuple[str, str]


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

    target: str
    rows: tuple[BackupRow, ...]
    problems: tuple[Problem, ...]


def take_stock(context: Context, gate: Gate | None = None) -> Inventory:
    """List every repository, and join what they hold.

    Args:
        gate: Where many targets are listed: a repository that is silent is not waited for by each of them.

    Raises:
        StorageError: Not one repository could be listed.
    """
    problems: list[Problem] = []
    found: dict[str, dict[str, Known]] = {}
    proofs: dict[str, tuple[int, datetime, str]] = {}
    failures: list[PraError] = []
    for repository in context.repositories:
        read = _reading(context, repository)
        try:
            known, proven = read() if gate is None else gate.ask(repository, read)
        except PraError as error:
            failures.append(error)
            problems.append((repository, error.message))
            continue
        for each in known:
            found.setdefault(each.backup_id, {})[repository] = each
        if isinstance(proven, PraError):
            problems.append(("evidence", proven.message))
            continue
        for backup_id, proof in proven.items():
            proofs[backup_id] = max(proofs.get(backup_id, proof), proof)
    if len(failures) == len(context.repositories):
        raise failures[0]
    rows = (_row(context.target.name, found[backup_id], proofs) for backup_id in sorted(found, reverse=True))
    return Inventory(context.target.name, tuple(rows), tuple(problems))


Proofs = Mapping[str, tuple[int, datetime, str]]
"""By backup: number of the record, moment, verdict."""


def _reading(context: Context, repository: str) -> Callable[[], tuple[list[Known], Proofs | PraError]]:
    def read() -> tuple[list[Known], Proofs | PraError]:
        known, _ = known_backups(context, repository, strict=False)
        try:
            return known, _proofs(context, repository)
        except PraError as error:
            return known, error

    return read


def _proofs(context: Context, repository: str) -> Proofs:
    """The latest verification of each backup, as the evidence here has it, wherever that read it from."""
    found: dict[str, tuple[int, datetime, str]] = {}
    for each in said(context, repository):
        if each.kind == "verification" and each.backup_id and each.verdict in set(Verdict):
            found.setdefault(each.backup_id, (each.sequence, from_iso(each.at), each.verdict))
    return found


def _row(target: str, copies: Mapping[str, Known], proofs: Proofs) -> BackupRow:
    readable = [known for known in copies.values() if known.error is None]
    first = readable[0] if readable else None
    backup_id = next(iter(copies.values())).backup_id
    errors = [f"{name}: {known.error.message}" for name, known in copies.items() if known.error is not None]
    _, proven_at, verdict = proofs.get(backup_id, (0, None, None))
    return BackupRow(
        backup_id=backup_id,
        target=target,
        kind=first.kind if first else None,
        taken_at=first.taken_at if first else None,
        bytes=first.bytes if first else None,
        repositories=tuple(copies),
        proven_at=proven_at,
        verdict=verdict,
        error="; ".join(errors) or None,
        engine=first.engine if first else None,
        parents=first.parents if first else (),
    )


# -- many targets --------------------------------------------------------------------------------


class Gate:
    """Lets calls through to repositories that answer, each for so long."""

    def __init__(self, repositories: Iterable[str], seconds: float = _SECONDS) -> None:
        self._sources = {name: Source(f"repository {name}", tries=_TRIES) for name in repositories}
        self._seconds = seconds

    def ask[Result](self, repository: str, call: Callable[[], Result]) -> Result:
        """Raises StorageError where it does not answer, or did not answer the others."""
        source = self._sources[repository]
        if source.silent:
            raise StorageError(f"not asked: {source.name} does not answer", op="list backups")
        try:
            found = within(self._seconds, call)
        except TimedOut as error:
            source.heard(answer=False)
            raise StorageError(str(error), op="list backups") from None
        except StorageError as error:
            source.heard(answer=not error.transient)
            raise
        source.heard(answer=True)
        return found


def take_all(
    settings: Settings, targets: Sequence[Target], scope: Scope, *, clock: Clock = utc_now
) -> list[Inventory]:
    """The backups of many targets, some at once, in the order given. What cannot be read is a problem of it.

    Raises:
        StorageError: Nothing at all could be listed.
    """
    wanted = {name for target in targets for name in target.repositories}
    opened = {name: open_storage(settings.repositories[name]) for name in sorted(wanted)}
    gate = Gate(wanted)
    failures: list[PraError] = []

    def take(target: Target) -> Inventory:
        storages = {name: opened[name] for name in target.repositories}
        try:
            return take_stock(Context(settings, target, scope, clock=clock, repositories=storages), gate)
        except PraError as error:
            failures.append(error)
            return Inventory(target.name, (), ((", ".join(target.repositories), error.message),))

    found = side_by_side(take, targets, settings.status.concurrency)
    if failures and len(failures) == len(targets):
        raise failures[0]
    return found
