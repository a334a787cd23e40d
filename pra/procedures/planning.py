"""Which backups and which WAL of one repository a recovery will read, before anything is fetched."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pra.engines.points import where_to_look
from pra.engines.recovery import LATEST, RecoveryPlan, RecoveryTarget, plan
from pra.errors import IntegrityError, NotFoundError, PraError, SignatureError, UsageError
from pra.listing import BackupEntry, unread
from pra.manifest import Manifest
from pra.procedures.context import Context
from pra.procedures.holes import Hole, judge_hole
from pra.procedures.restore_points import find_point
from pra.procedures.session import Choice
from pra.procedures.trust import complaint, doubtful_bases
from pra.procedures.wal import wal_backups
from pra.wal.archive import Archive, along, load_histories, read_archive
from pra.wal.arrival import arrived_until
from pra.wal.retention import kept_whole_from
from pra.wal.shipping import look_at_stream


@dataclass(frozen=True)
class Planned:
    """What a recovery will read.

    Attributes:
        archive: As a recovery along the plan's timeline may read it.
        arrived: Until when everything that the server had committed is known to be in this repository.
        listed_at: When this was so, by our clock.
        brought: Names of the WAL segments that backups there brought themselves.
        kept_from: From this position on the repository keeps WAL whole; None: nowhere.
        unverified: What is wrong with a signature in the chain, which an operator set aside; else None.
    """

    plan: RecoveryPlan
    archive: Archive
    arrived: datetime | None
    listed_at: datetime
    brought: frozenset[str] = frozenset()
    kept_from: int | None = 0
    unverified: SignatureError | None = None

    @property
    def chain(self) -> tuple[Manifest, ...]:
        """The full backup first, the chosen one last."""
        return self.plan.chain

    @property
    def target(self) -> RecoveryTarget:
        return self.plan.target

    @property
    def hole(self) -> Hole:
        """What it means that WAL is missing behind ``plan.until``."""
        return judge_hole(self.plan, self.archive, self.brought, self.kept_from)

    @property
    def rpo_seconds(self) -> float | None:
        """How much would be lost if the server, and whatever is not in this repository, had gone then."""
        if self.arrived is None:
            return None
        return max((self.listed_at - self.arrived).total_seconds(), 0.0)


def plan_recovery(
    context: Context,
    repository: str,
    target: RecoveryTarget = LATEST,
    *,
    backup_id: str | None = None,
    accept_unverified: bool = False,
) -> Planned:
    """Which backups and which WAL of one repository. Reads manifests and the archive's listing; for a restore
    point, which may lie before the newest backup, the WAL as well.

    Args:
        backup_id: Start from this backup; None: from the newest one that lies before the target.
        accept_unverified: An operator sets signatures aside. Backups whose signature holds come first all the
            same; see `Planned.unverified`.

    Raises:
        NotFoundError: There is no base backup. UsageError: None leads to the target; says which range exists.
        SignatureError: Only backups whose signature does not hold lead to the target.
        IntegrityError: WAL, a history or a parent is missing between: names it and the repository.
        DecryptError, ToolError: Nobody can look for a restore point here.
    """
    catalog = context.catalog(repository)
    entries = catalog.backups()
    signed = [entry.manifest for entry in entries if entry.manifest is not None]
    try:
        return _plan(context, repository, entries, signed, target, backup_id)
    except (IntegrityError, UsageError) as error:
        doubtful = doubtful_bases(catalog, entries)
        if not doubtful:
            raise
        try:
            every = [*signed, *(each.manifest for each in doubtful.values())]
            found = _plan(context, repository, entries, every, target, backup_id)
        except (IntegrityError, UsageError) as other:
            raise (other if accept_unverified else error) from None
        reason = complaint(doubtful, found.chain)
        if not accept_unverified:
            raise reason from None
        return replace(found, unverified=reason)


def _plan(
    context: Context,
    repository: str,
    entries: Sequence[BackupEntry],
    known: Sequence[Manifest],
    target: RecoveryTarget,
    backup_id: str | None,
) -> Planned:
    """As `plan_recovery`, from these manifests of the listing."""
    storage = context.storage(repository)
    manifests = {manifest.backup_id: manifest for manifest in known}
    bases = [m for m in manifests.values() if m.physical is not None]
    for entry in entries:
        if entry.backup_id == backup_id and entry.error is not None and backup_id not in manifests:
            raise entry.error
    if not bases:
        raise _no_base(repository, context.target.name, entries)
    chosen = manifests.get(backup_id or "") or max(bases, key=lambda m: (m.taken_at, m.backup_id))
    # Asked first: what landed while the archive is listed is then part of what is known.
    streaming, listed_at = look_at_stream(storage, context.target.name, context.clock), context.clock()
    archive = read_archive(storage, context.target.name, chosen.server.system_identifier)
    histories = load_histories(storage, archive)
    point = None
    if target.kind == "name":
        search = where_to_look(known, archive, histories, target, repository=repository, backup_id=backup_id)
        point = find_point(context, search, target.value, chosen.server.version_num)
    found = plan(
        list(manifests.values()),
        archive,
        histories,
        target,
        repository=repository,
        backup_id=backup_id,
        known_until=streaming.vouched,
        point=point,
    )
    brought = frozenset(s.name for m in bases if m.physical is not None for s in m.physical.wal)
    window = context.settings.retention.pitr_window
    kept_from = kept_whole_from(wal_backups(entries), found.system_id, window, listed_at)
    archive = along(archive, found.timeline, histories, found.segment_bytes)
    same = [m.taken_at for m in bases if m.server.system_identifier == found.system_id]
    arrived = arrived_until(streaming, newest_backup=max(same), landed=archive.furthest_landed)
    return Planned(found, archive, arrived, listed_at, brought, kept_from)


def _no_base(repository: str, target: str, entries: Sequence[BackupEntry]) -> PraError:
    """Why there is nothing to begin from: what there is cannot be read, or there is nothing."""
    for error in unread(entries):
        return error
    newest = max((e for e in entries if e.error is not None), key=lambda e: e.taken_at, default=None)
    if newest is not None and newest.error is not None:
        return newest.error
    return NotFoundError(
        f"{repository} holds no base backup of {target}",
        op="plan recovery",
        hint="Take one with: pra backup",
    )


def choice_of(planned: Planned, context: Context, repository: str) -> Choice:
    """The backup that a plan starts from, as `open_session` wants it."""
    manifest = planned.plan.manifest
    data = context.catalog(repository).manifest_bytes(manifest.backup_id)
    sha256 = hashlib.sha256(data).hexdigest()
    doubt = planned.unverified
    return Choice(repository, manifest.backup_id, manifest, sha256, doubt, unverified=doubt is not None)
