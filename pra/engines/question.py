"""What a recovery rests on in a repository, or why it cannot: each refusal says what can be had. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pra.engines.chain import facts
from pra.engines.reach import Reach, lies_on, path_to, reach_of
from pra.engines.recovery_target import RecoveryTarget, say
from pra.errors import IntegrityError, UsageError
from pra.manifest import Manifest
from pra.postgres.wal import format_lsn, segment_end
from pra.wal.archive import Archive, Histories, missing_exact

CLOCKS_APART = timedelta(minutes=1)
"""The repository's clock dates WAL, the server's clock dates commits: within this, PostgreSQL decides."""
_OP = "plan recovery"


@dataclass(frozen=True)
class Question:
    """What was asked of one repository, and the answers that are refusals."""

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

    def not_there(self, on_path: Sequence[Manifest], timeline: int) -> UsageError:
        """The refusal where all WAL was looked through, and the target is not in it."""
        newest = facts(on_path[-1])
        reach = reach_of(self.archive, timeline, self.histories, newest.start, newest.wal_segment_bytes)
        behind = f" behind {on_path[-1].backup_id}" if self.named else ""
        return UsageError(
            f"{self.target.text()} is nowhere in the WAL of {self.repository}{behind}",
            op=_OP,
            hint=f"{self.repository} can recover {_span(on_path[0], reach)}.",
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
