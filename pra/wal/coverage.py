"""How far the WAL of an archive leads, and where it has holes. Pure: listing and histories in, names out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pra.errors import IntegrityError
from pra.postgres.wal import Switch, history_name, segment_name, segment_start, segment_timeline

if TYPE_CHECKING:
    from pra.wal.archive import Archive

Histories = Mapping[int, tuple[Switch, ...]]
"""By timeline, the ancestors its history file names, oldest first. Timeline 1 has none."""


@dataclass(frozen=True)
class Gap:
    """Segments that should be there and are not: ``first`` to ``last``, both included, of one timeline."""

    timeline: int
    first: str
    last: str
    segments: int


@dataclass(frozen=True)
class Reign:
    """A stretch of WAL and the timeline that wrote it; ``stop`` is None for the one still being written."""

    timeline: int
    start: int
    stop: int | None


def reigns(timeline: int, histories: Histories | None) -> tuple[Reign, ...]:
    """How recovery gets from the first byte to ``timeline``, oldest first.

    Raises:
        IntegrityError: ``histories`` has nothing about ``timeline`` (except 1, which needs none).
    """
    if timeline == 1 or histories is None:
        return (Reign(timeline, 0, None),)
    if timeline not in histories:
        raise IntegrityError(
            f"{history_name(timeline)} is not in the archive",
            op="follow timeline",
            hint="Without it nobody can tell where this timeline began: use another repository, "
            "or take a full backup.",
        )
    found, start = [], 0
    for switch in histories[timeline]:
        found.append(Reign(switch.timeline, start, switch.lsn))
        start = switch.lsn
    return (*found, Reign(timeline, start, None))


def names_along(
    archive: Archive, timeline: int, histories: Histories, start: int, stop: int, segment_bytes: int
) -> tuple[str, ...]:
    """The segments that recovery to ``timeline`` reads from ``start`` up to, not including, ``stop``.

    In the segment where a timeline begins, PostgreSQL takes the newest timeline's file: it begins with a copy
    of the ancestor's bytes (``XLogFileReadAnyTLI`` in ``access/transam/xlogrecovery.c``). Right after a
    promotion it is not in the archive, and never comes if the new server is lost first: then the ancestor's
    leads up to the switch, and must be read through `along`. Of two, the one that leads further.

    Raises:
        IntegrityError: ``histories`` has nothing about ``timeline`` (except 1, which needs none).
    """
    path = reigns(timeline, histories)
    first, last = start // segment_bytes, max(start, stop - 1) // segment_bytes
    names = []
    for begin in range(first * segment_bytes, (last + 1) * segment_bytes, segment_bytes):
        _, reign = _furthest(archive, path, begin, segment_bytes)
        names.append(segment_name(reign.timeline, begin, segment_bytes))
    return tuple(names)


def covered_until(
    archive: Archive,
    timeline: int,
    start: int,
    segment_bytes: int,
    histories: Histories | None = None,
    *,
    limit: int | None = None,
) -> int:
    """How far recovery along ``timeline`` gets from ``start`` before the first missing byte.

    Ancestors are followed where ``histories`` names them; an unfinished segment counts up to its ``lsn``.
    ``start`` itself when not even its segment is there.

    Args:
        limit: Look no further than the segment of this position.
    """
    path = reigns(timeline, histories)
    position = start
    while limit is None or position < limit:
        end = (position // segment_bytes + 1) * segment_bytes
        reached, _ = _furthest(archive, path, position, segment_bytes)
        if reached < end:
            return max(position, reached)
        position = end
    return position


def _furthest(
    archive: Archive, path: Sequence[Reign], position: int, segment_bytes: int
) -> tuple[int, Reign]:
    """How far the segment of ``position`` leads on this path, and whose file that is; 0: there is none.

    Of equals, the newest timeline's.
    """
    begin = position // segment_bytes * segment_bytes
    there = [r for r in path if r.start < begin + segment_bytes and (r.stop is None or r.stop > begin)]
    found = [(_reach(archive, reign, position, segment_bytes), reign) for reign in reversed(there)]
    return max(found, key=lambda each: each[0])


def _reach(archive: Archive, reign: Reign, position: int, segment_bytes: int) -> int:
    """How far into the segment of ``position`` this timeline's file leads; 0 where there is none."""
    name = segment_name(reign.timeline, position, segment_bytes)
    partial = archive.partials.get(name)
    end = (position // segment_bytes + 1) * segment_bytes
    reached = end if name in archive.segments else partial.lsn if partial else 0
    # Behind the point where its child left it, a timeline leads elsewhere.
    return reached if reign.stop is None else min(reached, reign.stop)


def along(archive: Archive, timeline: int, histories: Histories, segment_bytes: int) -> Archive:
    """The archive as a recovery along ``timeline`` may read it: nothing of an ancestor behind its end.

    A primary that was cut off may have written on there, and shipped it. Where the child's own file is not
    here, PostgreSQL would replay that: it stays on a timeline as long as that one's file has records.

    Raises:
        IntegrityError: ``histories`` has nothing about ``timeline`` (except 1, which needs none).
    """
    segments, partials = dict(archive.segments), dict(archive.partials)
    for reign in reigns(timeline, histories):
        if reign.stop is None or reign.stop % segment_bytes == 0:
            continue
        name = segment_name(reign.timeline, reign.stop, segment_bytes)
        if name in segments:
            segments[name] = tuple(replace(one, until=reign.stop) for one in segments[name])
        if name in partials:
            partials[name] = replace(partials[name], lsn=min(partials[name].lsn, reign.stop))
    return replace(archive, segments=segments, partials=partials)


def gaps(archive: Archive, histories: Histories, segment_bytes: int, *, since: int = 0) -> tuple[Gap, ...]:
    """Holes in each timeline between its first and its last byte here, from position ``since`` on.

    A timeline reaches from its first segment here, or from where its history says it left its parent, to its
    last; and a parent must reach the point where its child left it.

    Args:
        since: Before this position only the segments of backups are kept, so that holes are in order.
    """
    found: list[Gap] = []
    for timeline in archive.timelines:
        there = _numbers(archive, timeline, segment_bytes)
        if not there:
            continue
        first, last = _span(archive, histories, timeline, segment_bytes, there)
        wanted = range(max(first, since // segment_bytes), last + 1)
        found += _runs(timeline, [n for n in wanted if n not in there], segment_bytes)
    return tuple(found)


def _numbers(archive: Archive, timeline: int, segment_bytes: int) -> set[int]:
    """The segments of one timeline that are there; an unfinished one only as the last."""
    whole = _own(archive.segments, timeline, segment_bytes)
    begun = _own(archive.partials, timeline, segment_bytes)
    last = max(whole | begun, default=0)
    return whole | {number for number in begun if number == last}


def _own(names: Iterable[str], timeline: int, segment_bytes: int) -> set[int]:
    return {
        segment_start(name, segment_bytes) // segment_bytes
        for name in names
        if segment_timeline(name) == timeline
    }


def _span(
    archive: Archive, histories: Histories, timeline: int, segment_bytes: int, there: set[int]
) -> tuple[int, int]:
    first, last = min(there), max(there)
    if histories.get(timeline):
        began = histories[timeline][-1]
        parents = _numbers(archive, began.timeline, segment_bytes)
        if parents and min(parents) <= began.lsn // segment_bytes:
            first = min(first, began.lsn // segment_bytes)
    for child, switches in histories.items():
        # The segment of the switch itself is in the child's own first file.
        if switches and switches[-1].timeline == timeline and _numbers(archive, child, segment_bytes):
            last = max(last, switches[-1].lsn // segment_bytes - 1)
    return first, last


def _runs(timeline: int, numbers: Sequence[int], segment_bytes: int) -> list[Gap]:
    """Consecutive numbers as one gap each."""
    found: list[Gap] = []
    begin = 0
    for place, number in enumerate(numbers):
        if place + 1 == len(numbers) or numbers[place + 1] != number + 1:
            names = [
                segment_name(timeline, n * segment_bytes, segment_bytes) for n in (numbers[begin], number)
            ]
            found.append(Gap(timeline, names[0], names[1], place + 1 - begin))
            begin = place + 1
    return found
