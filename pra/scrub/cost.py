"""What damage costs: the backups that can no longer be restored from here, and the moments. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pra.manifest import Manifest
from pra.procedures.windows import Window, windows_of
from pra.scrub.holdings import Damage, Holdings


@dataclass(frozen=True)
class LostMoments:
    """A stretch that this repository alone cannot bring back any more; times are about.

    ``from_lsn`` and ``to_lsn`` are None for the one moment of a dump.
    """

    from_time: datetime
    to_time: datetime
    timeline: int | None = None
    from_lsn: int | None = None
    to_lsn: int | None = None


@dataclass(frozen=True)
class Cost:
    """``backups``: by id, oldest first, with every one that stands upon a damaged one."""

    backups: tuple[str, ...]
    moments: tuple[LostMoments, ...]


def cost(holdings: Holdings, damage: Sequence[Damage]) -> Cost:
    """Compare what the repository could restore with what it can."""
    lost = _lost_backups(holdings, damage)
    moments = [
        LostMoments(manifest.taken_at, manifest.taken_at)
        for manifest in holdings.manifests.values()
        if manifest.backup_id in lost and manifest.physical is None
    ]
    bad_keys = {each.key for each in damage}
    for system_id in sorted({*holdings.archives, *_systems(holdings)}):
        before = _windows(holdings, system_id, set(), set())
        after = _windows(holdings, system_id, lost, bad_keys)
        moments += missing_from(before, after)
    return Cost(tuple(sorted(lost)), tuple(sorted(moments, key=lambda each: each.from_time)))


def _lost_backups(holdings: Holdings, damage: Sequence[Damage]) -> set[str]:
    bad = {each.backup_id for each in damage if each.backup_id}
    segments = {
        (one.name, one.sha256)
        for archive, _ in holdings.archives.values()
        for same in archive.segments.values()
        for one in same
        if one.key in {each.key for each in damage}
    }
    for manifest in holdings.manifests.values():
        if manifest.physical and any((s.name, s.sha256) in segments for s in manifest.physical.wal):
            bad.add(manifest.backup_id)
    children = {m.backup_id for m in holdings.manifests.values() if bad & set(m.parents)}
    return bad | children


def _systems(holdings: Holdings) -> set[str]:
    return {m.server.system_identifier for m in holdings.manifests.values() if m.physical is not None}


def _windows(
    holdings: Holdings, system_id: str, lost: Collection[str], bad_keys: Collection[str]
) -> list[Window]:
    manifests: list[Manifest] = [
        manifest
        for manifest in holdings.manifests.values()
        if manifest.physical is not None
        and manifest.server.system_identifier == system_id
        and manifest.backup_id not in lost
    ]
    if system_id not in holdings.archives or not manifests:
        return []
    archive, histories = holdings.archives[system_id]
    kept = {
        name: left
        for name, same in archive.segments.items()
        if (left := tuple(one for one in same if one.key not in bad_keys))
    }
    bad_timelines = {
        timeline for timeline, same in archive.histories.items() if any(h.key in bad_keys for h in same)
    }
    sound = {timeline: switches for timeline, switches in histories.items() if timeline not in bad_timelines}
    found, _ = windows_of(manifests, replace(archive, segments=kept), sound, holdings.streamed)
    return found


def missing_from(before: Iterable[Window], after: Sequence[Window]) -> list[LostMoments]:
    """The stretches of ``before`` that no window of ``after`` covers, by timeline and LSN.

    Every edge is the edge of a window, so that its time is known as well as the window's.
    """
    found: list[LostMoments] = []
    for window in before:
        at, moment = window.from_lsn, window.from_time
        left = sorted(
            (w for w in after if w.timeline == window.timeline and w.to_lsn > at), key=lambda w: w.from_lsn
        )
        for other in left:
            if other.from_lsn >= window.to_lsn:
                break
            if other.from_lsn > at:
                found.append(LostMoments(moment, other.from_time, window.timeline, at, other.from_lsn))
            if other.to_lsn > at:
                at, moment = other.to_lsn, other.to_time
        if at < window.to_lsn:
            found.append(LostMoments(moment, window.to_time, window.timeline, at, window.to_lsn))
    return found
