"""Which WAL to look through for a restore point. Pure.

PostgreSQL takes the first point of that name behind the backup that it begins from. Which backup that must be
is only known once the point has been found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pra.engines.chain import facts, physical
from pra.engines.question import Question
from pra.engines.recovery_target import RecoveryTarget
from pra.errors import UsageError
from pra.manifest import Manifest
from pra.wal.archive import Archive, Histories, along, covered_until, names_along


@dataclass(frozen=True)
class Behind:
    """The WAL behind a backup, from its stop LSN on, up to where the next newer backup stops or the WAL ends.

    Attributes:
        names: Its segments, in order. exact: As `RecoveryPlan.exact`.
    """

    backup_id: str
    begin: int
    end: int
    names: tuple[str, ...]
    exact: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Search:
    """Where the point may be, the newest backup first, and the refusal if it is nowhere there.

    Attributes:
        archive: To be read along ``timeline``.
        timeline, segment_bytes: Of that WAL.
    """

    archive: Archive
    timeline: int
    segment_bytes: int
    behind: tuple[Behind, ...]
    refusal: UsageError


def where_to_look(
    manifests: Sequence[Manifest],
    archive: Archive,
    histories: Histories,
    target: RecoveryTarget,
    *,
    repository: str,
    backup_id: str | None = None,
) -> Search:
    """The WAL that recovery to the target could replay.

    Args:
        backup_id: Behind this backup only, up to the end.

    Raises:
        UsageError, IntegrityError: As `pra.engines.recovery.plan`.
    """
    question = Question(
        physical(manifests), archive, histories, target, repository, named=backup_id is not None
    )
    timeline = question.newest_timeline(backup_id)
    on_path = question.backups_along(timeline, backup_id)
    size = facts(on_path[0]).wal_segment_bytes
    found: list[Behind] = []
    until: int | None = None
    for manifest in reversed(on_path):
        base = facts(manifest)
        end = covered_until(archive, timeline, base.start, size, histories, limit=until)
        end = end if until is None else min(end, until)
        until = base.stop
        if end > base.stop:
            names = names_along(archive, timeline, histories, base.stop, end, size)
            exact = {segment.name: segment.sha256 for segment in base.wal}
            found.append(Behind(manifest.backup_id, base.stop, end, names, exact))
    refusal = question.not_there(on_path, timeline)
    return Search(along(archive, timeline, histories, size), timeline, size, tuple(found), refusal)
