"""Recovery to a moment, decided before anything is read: which chain, which WAL, which timeline. Pure.

PostgreSQL itself would take a target that lies before the end of the base backup, or run to the end of the
WAL, and only then complain. What cannot be reached is refused here, with the range that can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pra.engines.chain import chain_of, facts, physical
from pra.engines.reach import Reach, landed_at, lies_on, path_to, reach_of, stored_bytes
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
from pra.errors import IntegrityError, UsageError
from pra.manifest import Manifest
from pra.postgres.wal import format_lsn, segment_end
from pra.wal.archive import Archive, Histories, missing_exact

__all__ = [
    "IMMEDIATE", "LATEST", "RecoveryPlan", "RecoveryTarget", "TargetKind", "is_before", "lsn_target",
    "parse_target", "plan", "say", "settings_of", "time_target",
]  # fmt: skip

CLOCKS_APART = timedelta(minutes=1)
"""The repository's clock dates WAL, the server's clock dates commits: within this, PostgreSQL decides."""
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
) -> RecoveryPlan:
    """Choose the newest backup that ends before the target, and the WAL from there on.

    Args:
        manifests: Every readable backup of the repository; those of another engine or server are passed over.
        archive: The WAL of that server in that repository.
        histories: Ancestors by timeline.
        backup_id: This backup and no other; ``latest`` is then the end of what it leads to, hole or not.
        timeline: Follow this one; by default the newest there is (of those that descend from ``backup_id``).
        known_until: Until when all WAL is known to have arrived (what the streamer says there).

    Raises:
        UsageError: Nothing leads to that target; the message says which range exists.
        IntegrityError: A segment, a parent or a history between backup and target is missing, or a timeline
            is forked; the message names it and the repository.
    """
    known = physical(manifests)
    question = _Question(known, archive, histories, target, repository, named=backup_id is not None)
    chosen_timeline = timeline or question.newest_timeline(backup_id)
    on_path = question.backups_along(chosen_timeline, backup_id)
    before = [manifest for manifest in on_path if is_before(manifest, target)]
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
    expected = _expected(archive, target, reach, base.stop, base.wal_segment_bytes)
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


def is_before(manifest: Manifest, target: RecoveryTarget) -> bool:
    """Whether recovery from this backup can stop at the target: it must be consistent by then.

    A backup is consistent from its stop LSN on; its snapshot was taken after that. What a snapshot sees was
    therefore decided before, and a transaction it does not see ended behind the stop LSN: that is how a
    transaction id, which does not order with positions, is placed.
    """
    moment, lsn = target.moment, target.lsn
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


@dataclass(frozen=True)
class _Question:
    """What was asked, and the answers that are refusals."""

    backups: Mapping[str, Manifest]
    archive: Archive
    histories: Histories
    target: RecoveryTarget
    repository: str
    named: bool

    @property
    def own(self) -> list[Manifest]:
        """This server's backups, oldest first."""
        mine = [
            manifest
            for manifest in self.backups.values()
            if manifest.server.system_identifier == self.archive.system_id
        ]
        return sorted(mine, key=lambda manifest: (facts(manifest).stop, manifest.taken_at))

    def newest_timeline(self, backup_id: str | None) -> int:
        """The newest; of those that descend from the backup, where one was named."""
        every = {*self.archive.timelines, *(facts(manifest).timeline for manifest in self.own)}
        if backup_id is None or backup_id not in self.backups:
            return max(every, default=1)
        base = facts(self.backups[backup_id])
        return max(t for t in every | {base.timeline} if t == base.timeline or self._descends(t, backup_id))

    def _descends(self, timeline: int, backup_id: str) -> bool:
        base = facts(self.backups[backup_id])
        path = path_to(timeline, self.histories, self.repository)
        return lies_on(path, base.timeline, base.stop)

    def backups_along(self, timeline: int, backup_id: str | None) -> list[Manifest]:
        """This server's backups that the timeline passes, oldest first; at least one."""
        path = path_to(timeline, self.histories, self.repository)
        found = [m for m in self.own if lies_on(path, facts(m).timeline, facts(m).stop)]
        if backup_id is not None:
            found = [m for m in found if m.backup_id == backup_id]
        if not found:
            what = f"backup {backup_id}" if backup_id else "base backup"
            raise UsageError(
                f"{self.repository} holds no {what} that leads to timeline {timeline}",
                op=_OP,
                hint="See what can be recovered with: pra windows",
            )
        return found

    def too_early(self, oldest: Manifest, timeline: int) -> UsageError:
        reach = reach_of(
            self.archive, timeline, self.histories, facts(oldest).start, facts(oldest).wal_segment_bytes
        )
        when = "had ended" if self.target.kind == "xid" else "lies"
        return UsageError(
            f"{self.target.text()} {when} before the end of the oldest backup that leads there",
            op=_OP,
            hint=f"{self.repository} can recover {_span(oldest, reach)}.",
        )

    def demand_own_wal(self, manifest: Manifest, reach: Reach) -> None:
        """What lies between a backup's start and stop must be there, and be what the backup says."""
        base = facts(manifest)
        lost = missing_exact(self.archive, [(segment.name, segment.sha256) for segment in base.wal])
        if lost or reach.until < base.stop:
            name = lost[0] if lost else reach.missing
            raise IntegrityError(
                f"WAL segment {name} is missing in {self.repository}: {manifest.backup_id} needs it",
                op=_OP,
                hint="Use another repository, or another backup.",
            )

    def demand_one_truth(self, reach: Reach, exact: Mapping[str, str]) -> None:
        """A fork on the way is nobody's to decide, unless the backup says which side is its own."""
        forked = set(self.archive.forked)
        for name in reach.names:
            if name in forked and name not in exact:
                raise IntegrityError(
                    f"timeline forked: {self.repository} holds WAL segment {name} with two contents",
                    op=_OP,
                    hint=f"Recover to before it: --to lsn:{format_lsn(self._before(name))} --exclusive",
                )

    def _before(self, name: str) -> int:
        own = facts(self.own[0]).wal_segment_bytes
        return segment_end(name, own) - own

    def demand_target(self, on_path: Sequence[Manifest], timeline: int, reach: Reach) -> None:
        """The contiguous WAL must lead to the target, as far as that can be known without reading it."""
        target, moment, lsn = self.target, self.target.moment, self.target.lsn
        too_far = lsn is not None and lsn >= reach.until
        if moment is not None and reach.about is not None:
            too_far = moment > reach.about + CLOCKS_APART
        if target.kind == "immediate" or (target.kind != "latest" and not too_far):
            return
        if target.kind == "latest" and self.named:
            return  # the latest state that this backup leads to: a newer one may begin behind the hole
        if reach.missing:
            raise IntegrityError(
                f"WAL segment {reach.missing} is missing in {self.repository}, "
                f"before {target.text() if too_far else 'the end of its WAL'}",
                op=_OP,
                hint=f"Use another repository, or recover to before it: --to lsn:{format_lsn(reach.until)}"
                " --exclusive",
            )
        if too_far:
            raise UsageError(
                f"{target.text()} lies behind the last WAL",
                op=_OP,
                hint=f"{self.repository} can recover {_span(on_path[0], reach)}.",
            )


def _span(oldest: Manifest, reach: Reach) -> str:
    about = f"about {say(reach.about)}" if reach.about else "the end of that backup"
    return (
        f"from {say(oldest.taken_at)} (LSN {format_lsn(facts(oldest).stop)}) "
        f"to {about} (LSN {format_lsn(reach.until)})"
    )


def _expected(archive: Archive, target: RecoveryTarget, reach: Reach, stop: int, segment_bytes: int) -> int:
    """How many of the segments recovery will read before it comes to its target."""
    moment = target.moment
    end = stop if target.kind == "immediate" else target.lsn
    for count, name in enumerate(reach.names, 1):
        landed = landed_at(archive, name)
        if end is not None and segment_end(name, segment_bytes) > end:
            return count
        if moment is not None and landed is not None and landed > moment:
            return count
    return len(reach.names)
