"""Recovery to a moment, decided before anything is read: which chain, which WAL, which timeline. Pure.

PostgreSQL itself would take a target that lies before the end of the base backup, or run to the end of the
WAL, and only then complain. What cannot be reached is refused here, with the range that can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Literal

from pra.manifest import Manifest
from pra.postgres.wal import Switch

if TYPE_CHECKING:
    from pra.wal.archive import Archive

TargetKind = Literal["latest", "time", "lsn", "xid", "name", "immediate"]


@dataclass(frozen=True)
class RecoveryTarget:
    """Where recovery ends.

    Attributes:
        kind: ``latest`` is the end of the WAL, ``immediate`` the end of the base backup.
        value: Canonical text: a moment as ``pra.timing.to_iso`` writes it, an LSN, a number, a name.
        inclusive: Whether what is at the target itself (the transaction, the record) is still applied.
        settled: For a time: all WAL up to it is known to be there, so when the WAL ends before a transaction
            of that time, its end is the target.
    """

    kind: TargetKind = "latest"
    value: str = ""
    inclusive: bool = True
    settled: bool = False

    @property
    def moment(self) -> datetime | None:
        """The moment of a time target, in UTC."""
        raise NotImplementedError

    @property
    def lsn(self) -> int | None:
        raise NotImplementedError

    def text(self, zone: tzinfo | None = None) -> str:
        """As a person reads it; a time in UTC and, where ``zone`` differs, in local time."""
        raise NotImplementedError

    def argument(self) -> str:
        """What to give to ``--to`` for the same target."""
        raise NotImplementedError


LATEST = RecoveryTarget()
IMMEDIATE = RecoveryTarget("immediate")


def lsn_target(lsn: int, *, inclusive: bool = True) -> RecoveryTarget:
    """Stop at a position: behind (inclusive) or before the first record that begins at or after it."""
    raise NotImplementedError


def parse_target(text: str, *, inclusive: bool = True, now: datetime, zone: tzinfo) -> RecoveryTarget:
    """Read what ``--to`` was given.

    ``latest``, ``immediate``, ``2026-11-22 10:00`` (local time unless it says otherwise), ``10:30`` (today),
    ``5 minutes ago``, ``lsn:0/16B3748`` or ``0/16B3748``, ``xid:1234``, ``name:before-release``.

    Args:
        now: The present; a moment after it is refused.
        zone: What a time without an offset is in.

    Raises:
        UsageError: It is none of these, ambiguous or absent in the zone, or in the future.
    """
    raise NotImplementedError


def settings_of(target: RecoveryTarget, timeline: int) -> dict[str, str]:
    """PostgreSQL's settings for a target: at most one of ``recovery_target*``, and the timeline's number."""
    raise NotImplementedError


@dataclass(frozen=True)
class RecoveryPlan:
    """What will be read and where it will end; ``--dry-run`` prints it.

    Attributes:
        chain: The full backup, then the incremental ones.
        timeline: That recovery follows, through its ancestors.
        target: The one asked for (``settled`` decided).
        start: LSN at which recovery begins. consistent: LSN from which a target can be reached.
        until: LSN at which contiguous WAL ends.
        wal: Names of the segments that recovery may ask for, in order; the last may be a partial one.
        partial: The name in ``wal`` of which only a beginning exists, or empty.
        histories: Timelines whose history file will be served.
        wal_expected: How many of ``wal`` the target is expected to need. wal_bytes: Their stored size.
        backup_bytes: Stored size of the chain.
    """

    target: RecoveryTarget
    repository: str
    chain: tuple[Manifest, ...]
    timeline: int
    segment_bytes: int
    start: int
    consistent: int
    until: int
    wal: tuple[str, ...]
    partial: str
    histories: tuple[int, ...]
    wal_expected: int
    wal_bytes: int
    backup_bytes: int

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
    histories: Mapping[int, tuple[Switch, ...]],
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
        archive: The WAL of the newest backup's server in that repository.
        histories: Ancestors by timeline.
        backup_id: This backup and no other.
        timeline: Follow this one; by default the newest that descends from the backup.
        known_until: Until when all WAL is known to have arrived (the streamer's lease).

    Raises:
        UsageError: Nothing leads to that target; the message says which range exists.
        IntegrityError: A segment, a parent or a history between backup and target is missing, or a timeline
            is forked; the message names it and the repository.
    """
    raise NotImplementedError
