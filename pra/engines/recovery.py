"""Recovery to a moment, decided before anything is read: which chain, which WAL, which timeline. Pure.

PostgreSQL itself would take a target that lies before the end of the base backup, or run to the end of the
WAL, and only then complain. What cannot be reached is refused here, with the range that can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pra.engines.chain import chain_of, facts, physical
from pra.engines.question import Question
from pra.engines.reach import Reach, landed_at, reach_of, stored_bytes
from pra.engines.recovery_target import (
    IMMEDIATE,
    LATEST,
    RecoveryTarget,
    TargetKind,
    lsn_target,
    parse_target,
    say,
    settings_of,
    settle,
    time_target,
)
from pra.errors import IntegrityError
from pra.manifest import Manifest
from pra.postgres.wal import segment_end
from pra.wal.archive import Archive, Histories

__all__ = [
    "IMMEDIATE", "LATEST", "RecoveryPlan", "RecoveryTarget", "TargetKind", "is_before", "lsn_target",
    "parse_target", "plan", "say", "settings_of", "time_target",
]  # fmt: skip

_OP = "plan recovery"


@dataclass(frozen=True)
class RecoveryPlan:
    """What will be read and where it will end; ``--dry-run`` prints it.

    Attributes:
        target: The one asked for (``settled`` decided).
        chain: The full backup, then the incremental ones.
        timeline: That recovery follows, through its ancestors.
        start: LSN at which recovery begins.
        consistent: LSN from which on a target can be reached.
        until: LSN at which contiguous WAL ends. about: When that end landed, by the repository's clock.
        wal: Names of the segments that recovery may ask for, in order.
        partial: The last of ``wal``, where only its beginning is there; else empty.
        exact: By name, the SHA-256 of those that the backup itself names.
        wal_expected: How many of ``wal`` the target is expected to need. wal_bytes: Their stored size.
        backup_bytes: Stored size of the chain.
        missing: The segment that is missing behind ``until`` although WAL goes on after it; else empty.
    """

    target: RecoveryTarget
    repository: str
    chain: tuple[Manifest, ...]
    timeline: int
    segment_bytes: int
    start: int
    consistent: int
    until: int
    about: datetime | None
    wal: tuple[str, ...]
    partial: str
    wal_expected: int
    wal_bytes: int
    backup_bytes: int
    exact: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""

    @property
    def manifest(self) -> Manifest:
        """The backup that the others lead up to."""
        return self.chain[-1]

    @property
    def system_id(self) -> str:
        return self.manifest.server.system_identifier


def plan(
    manifests: Sequence[Manifest],
    archive: Archive,
    histories: Histories,
    target: RecoveryTarget,
    *,
    repository: str,
    backup_id: str | None = None,
    timeline: int | None = None,
    known_until: datetime | None = None,
    point: int | None = None,
) -> RecoveryPlan:
    """Choose the newest backup that ends before the target, and the WAL from there on.

    Args:
        manifests: Every readable backup of the repository; those of another engine or server are passed over.
        archive: The WAL of that server in that repository.
        histories: Ancestors by timeline.
        backup_id: This backup and no other; ``latest`` is then the end of what it leads to, hole or not.
        timeline: Follow this one; by default the newest there is (of those that descend from ``backup_id``).
        known_until: Until when all WAL is known to have arrived (what the streamer says there).
        point: Where the target's restore point is: only WAL tells. Without it the newest backup is taken.

    Raises:
        UsageError: Nothing leads to that target; the message says which range exists.
        IntegrityError: A segment, a parent or a history between backup and target is missing, or a timeline
            is forked; the message names it and the repository.
    """
    known = physical(manifests)
    question = Question(known, archive, histories, target, repository, named=backup_id is not None)
    chosen_timeline = timeline or question.newest_timeline(backup_id)
    on_path = question.backups_along(chosen_timeline, backup_id)
    before = [manifest for manifest in on_path if is_before(manifest, target, point)]
    if not before:
        raise question.too_early(on_path[0], chosen_timeline)
    chain = chain_of(known, before[-1].backup_id)
    base = facts(chain[-1])
    exact = {segment.name: segment.sha256 for segment in base.wal}
    reach = reach_of(archive, chosen_timeline, histories, base.start, base.wal_segment_bytes)
    question.demand_own_wal(chain[-1], reach)
    question.demand_one_truth(reach, exact)
    question.demand_target(on_path, chosen_timeline, reach)
    if target.moment and known_until and target.moment <= known_until and not reach.missing:
        target = settle(target)
    end = base.stop if target.kind == "immediate" else point if target.kind == "name" else target.lsn
    expected = _expected(archive, target.moment, end, reach, base.wal_segment_bytes)
    return RecoveryPlan(
        target=target,
        repository=repository,
        chain=chain,
        timeline=chosen_timeline,
        segment_bytes=base.wal_segment_bytes,
        start=base.start,
        consistent=base.stop,
        until=reach.until,
        about=reach.about,
        wal=reach.names,
        partial=reach.partial,
        wal_expected=expected,
        wal_bytes=stored_bytes(archive, reach.names[:expected]),
        backup_bytes=sum(manifest.bytes for manifest in chain),
        exact=exact,
        missing=reach.missing,
    )


def is_before(manifest: Manifest, target: RecoveryTarget, point: int | None = None) -> bool:
    """Whether recovery from this backup can stop at the target: it must be consistent by then.

    A backup is consistent from its stop LSN on; its snapshot was taken after that. What a snapshot sees was
    therefore decided before, and a transaction it does not see ended behind the stop LSN: that is how a
    transaction id, which does not order with positions, is placed.
    """
    moment, lsn = target.moment, point if target.kind == "name" else target.lsn
    if moment is not None:
        return manifest.taken_at <= moment
    if lsn is not None:
        return facts(manifest).stop <= lsn
    if target.kind == "xid":
        return not _sees(manifest.snapshot, int(target.value))
    return True


def _sees(snapshot: str, xid: int) -> bool:
    """Whether ``pg_current_snapshot()`` counts the transaction among those that had ended.

    A 32-bit number, as logs and ``pg_waldump`` print it, is taken in the epoch nearest to the snapshot.
    """
    try:
        _, high, running = snapshot.split(":")
        xmax, active = int(high), {int(word) for word in running.split(",") if word}
    except ValueError:
        raise IntegrityError("the backup's snapshot cannot be read", op=_OP) from None
    if xid < 1 << 32:
        epoch = xmax >> 32
        near = [((epoch + step) << 32) + xid for step in (-1, 0, 1) if epoch + step >= 0]
        xid = min(near, key=lambda candidate: abs(candidate - xmax))
    return xid < xmax and xid not in active


def _expected(
    archive: Archive, moment: datetime | None, end: int | None, reach: Reach, segment_bytes: int
) -> int:
    """How many of the segments recovery will read before it comes to a moment, or to a position."""
    for count, name in enumerate(reach.names, 1):
        landed = landed_at(archive, name)
        if end is not None and segment_end(name, segment_bytes) > end:
            return count
        if moment is not None and landed is not None and landed > moment:
            return count
    return len(reach.names)
