"""How far a repository's WAL leads along a timeline, and what is missing behind that. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pra.errors import IntegrityError
from pra.postgres.wal import (
    history_name,
    segment_end,
    segment_name,
    segment_start,
    segment_timeline,
)
from pra.wal.archive import Archive, Histories, covered_until, names_along


@dataclass(frozen=True)
class Stretch:
    """A timeline's part of a path: from ``begin`` up to, not including, ``end`` (None: its end)."""

    timeline: int
    begin: int
    end: int | None


@dataclass(frozen=True)
class Reach:
    """Contiguous WAL from ``start`` on.

    Attributes:
        until: LSN at which it ends.
        names: Segments in order; ``partial`` is the last one's name where only its beginning is there.
        about: When the last of it landed, by the repository's clock.
        missing: The segment that is not there although there is WAL behind it, or empty.
    """

    start: int
    until: int
    names: tuple[str, ...]
    partial: str
    about: datetime | None
    missing: str


def path_to(timeline: int, histories: Histories, repository: str) -> tuple[Stretch, ...]:
    """The timelines that lead to ``timeline``, oldest first.

    Raises:
        IntegrityError: Its history file is not there.
    """
    if timeline != 1 and timeline not in histories:
        raise IntegrityError(
            f"{history_name(timeline)} is missing in {repository}",
            op="plan recovery",
            hint="Use another repository, or recover along another timeline.",
        )
    begin, found = 0, []
    for switch in histories.get(timeline, ()):
        found.append(Stretch(switch.timeline, begin, switch.lsn))
        begin = switch.lsn
    return (*found, Stretch(timeline, begin, None))


def lies_on(path: tuple[Stretch, ...], timeline: int, lsn: int) -> bool:
    """Whether a position of a timeline is passed on this path."""
    return any(
        step.timeline == timeline and step.begin <= lsn and (step.end is None or lsn <= step.end)
        for step in path
    )


def reach_of(archive: Archive, timeline: int, histories: Histories, start: int, segment_bytes: int) -> Reach:
    """Follow the WAL along ``timeline`` from ``start`` to its end, or to the first hole.

    Raises:
        IntegrityError: As `path_to`.
    """
    path = path_to(timeline, histories, archive.repository)
    until = covered_until(archive, timeline, start, segment_bytes, histories)
    if until <= start:
        name = segment_name(_at(path, start), start, segment_bytes)
        return Reach(start, start, (), "", None, name)
    names = names_along(archive, timeline, histories, start, until, segment_bytes)
    partial = "" if names[-1] in archive.segments else names[-1]
    landed = [moment for name in names if (moment := landed_at(archive, name))]
    missing = _next(path, until, segment_bytes) if _goes_on(archive, path, until, segment_bytes) else ""
    return Reach(start, until, names, partial, max(landed, default=None), missing)


def landed_at(archive: Archive, name: str) -> datetime | None:
    """When a segment came to be here: its oldest object, since a copy may have been made again later."""
    whole = archive.segments.get(name)
    if whole:
        return min(segment.modified for segment in whole)
    partial = archive.partials.get(name)
    return partial.modified if partial else None


def stored_bytes(archive: Archive, names: tuple[str, ...]) -> int:
    """Size in the repository of these segments."""
    partials: Mapping[str, int] = {name: partial.bytes for name, partial in archive.partials.items()}
    return sum(
        archive.segments[name][0].bytes if name in archive.segments else partials.get(name, 0)
        for name in names
    )


def _goes_on(archive: Archive, path: tuple[Stretch, ...], until: int, segment_bytes: int) -> bool:
    """Whether anything behind ``until`` is known to have existed on this path."""
    if path[-1].begin > until:
        return True  # the timeline was begun further on
    ends = {step.timeline: step.end for step in path}
    for name in (*archive.segments, *archive.partials):
        timeline, begin = segment_timeline(name), segment_start(name, segment_bytes)
        if timeline not in ends or segment_end(name, segment_bytes) <= until:
            continue
        end = ends[timeline]
        if begin >= until and (end is None or begin < end):
            return True
    return False


def _at(path: tuple[Stretch, ...], lsn: int) -> int:
    return next((step.timeline for step in path if step.end is None or lsn < step.end), path[-1].timeline)


def _next(path: tuple[Stretch, ...], until: int, segment_bytes: int) -> str:
    """The name of the segment that holds the byte at ``until``: the newest timeline that reaches it."""
    holds = [
        step
        for step in path
        if segment_start(segment_name(1, step.begin, segment_bytes), segment_bytes) <= until
    ]
    return segment_name(holds[-1].timeline, until, segment_bytes)
