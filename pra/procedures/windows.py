"""Which moments can be recovered, per repository. Reads manifests and listings only.

A window begins with the snapshot of a backup and ends where the contiguous WAL behind it does; the backups
that it passes begin no window of their own. WAL is dated by the repository's clock, so its end is "about".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pra.engines.chain import chain_of, facts, physical
from pra.engines.reach import Reach, lies_on, path_to, reach_of
from pra.errors import IntegrityError, PraError
from pra.manifest import Manifest
from pra.postgres.wal import segment_end
from pra.procedures.context import Context
from pra.wal.archive import Archive, Histories, missing_exact, read_archive, survey_histories, systems
from pra.wal.shipping import streamed_until

Problem = tuple[str, str]


@dataclass(frozen=True)
class Window:
    """A contiguous run of recoverable moments in one repository, along one timeline.

    Attributes:
        backups: Those it passes, oldest first; it begins with the first one's snapshot.
        from_time: By the server's clock. from_lsn: From here on a target can be reached.
        to_time: About; by the repository's clock, or by what the streamer says. to_lsn: Behind the last WAL.
        end: Why it ends there: ``streamed`` (it still grows), ``wal`` (no more WAL), ``backup`` (nothing
            behind the backup's own WAL), ``gap`` (``missing`` is the first segment that is not there) or
            ``left`` (a later timeline goes on from here).
    """

    repository: str
    system_id: str
    timeline: int
    backups: tuple[str, ...]
    from_time: datetime
    from_lsn: int
    to_time: datetime
    to_lsn: int
    end: str
    missing: str = ""


@dataclass(frozen=True)
class Windows:
    """All of them; ``problems`` are pairs of repository and message."""

    items: tuple[Window, ...]
    problems: tuple[Problem, ...]


def windows(context: Context) -> Windows:
    """Look at every repository; one that does not answer is a problem, not the end.

    Raises:
        StorageError: Not one repository could be read.
    """
    items: list[Window] = []
    problems: list[Problem] = []
    failures: list[PraError] = []
    for name in context.repositories:
        try:
            found, wrong = _of_repository(context, name)
        except PraError as error:
            failures.append(error)
            problems.append((name, error.message))
            continue
        items += found
        problems += [(name, message) for message in wrong]
    if failures and len(failures) == len(context.repositories):
        raise failures[0]
    return Windows(tuple(items), tuple(problems))


def _of_repository(context: Context, name: str) -> tuple[list[Window], list[str]]:
    storage, target = context.storage(name), context.target.name
    entries = context.catalog(name).backups()
    wrong = [f"{e.backup_id}: {e.error.message}" for e in entries if e.error is not None]
    known = list(physical(entry.manifest for entry in entries if entry.manifest is not None).values())
    found = []
    every = {*systems(storage, target), *(manifest.server.system_identifier for manifest in known)}
    streamed = streamed_until(storage, target, context.clock)
    for system_id in sorted(every):
        archive = read_archive(storage, target, system_id)
        histories, faults = survey_histories(storage, archive)
        wrong += [fault.message for fault in faults]
        own = [manifest for manifest in known if manifest.server.system_identifier == system_id]
        items, more = windows_of(own, archive, histories, streamed)
        found += items
        wrong += more
    return found, wrong


def windows_of(
    manifests: Sequence[Manifest], archive: Archive, histories: Histories, streamed: datetime | None
) -> tuple[list[Window], list[str]]:
    """The windows of one server in one repository, and what is wrong there. Pure.

    Args:
        streamed: Until when the streamer says that everything is there.
    """
    wrong: list[str] = []
    usable = list(_usable(manifests, archive, wrong))
    timelines = sorted({*archive.timelines, *(facts(manifest).timeline for manifest in usable)})
    found: list[Window] = []
    for timeline in timelines:
        try:
            path = path_to(timeline, histories, archive.repository)
        except IntegrityError as error:
            wrong.append(error.message)
            continue
        on_path = [m for m in usable if lies_on(path, facts(m).timeline, facts(m).stop)]
        on_path.sort(key=lambda manifest: facts(manifest).stop)
        while on_path:
            base = facts(on_path[0])
            reach = reach_of(archive, timeline, histories, base.start, base.wal_segment_bytes)
            inside = [m for m in on_path if facts(m).stop <= reach.until] or on_path[:1]
            # What ends before this timeline begins is its ancestor's window.
            if reach.until > path[-1].begin or base.timeline == timeline:
                left = any(switch.timeline == timeline for each in histories.values() for switch in each)
                found.append(_window(archive, timeline, inside, reach, streamed, left=left))
            on_path = on_path[len(inside) :]
    return found, wrong


def _usable(manifests: Sequence[Manifest], archive: Archive, wrong: list[str]) -> Iterator[Manifest]:
    """The backups that this repository alone can restore."""
    known = physical(manifests)
    for backup_id, manifest in sorted(known.items()):
        try:
            chain_of(known, backup_id)
        except IntegrityError as error:
            wrong.append(error.message)
            continue
        lost = missing_exact(archive, [(s.name, s.sha256) for s in facts(manifest).wal])
        if lost:
            wrong.append(f"WAL segment {lost[0]} is missing: {backup_id} needs it")
            continue
        yield manifest


def _window(
    archive: Archive,
    timeline: int,
    inside: Sequence[Manifest],
    reach: Reach,
    streamed: datetime | None,
    *,
    left: bool,
) -> Window:
    first, last = inside[0], inside[-1]
    base = facts(last)
    own_end = max(segment_end(segment.name, base.wal_segment_bytes) for segment in base.wal)
    to_time = reach.about or last.taken_at
    if reach.missing:
        end = "gap"
    elif left:
        end = "left"
    elif streamed is not None and streamed >= to_time:
        end, to_time = "streamed", streamed
    else:
        end = "wal"
    if reach.until <= own_end and end != "streamed":
        to_time = last.taken_at
        end = "backup" if end == "wal" else end
    return Window(
        repository=archive.repository,
        system_id=archive.system_id,
        timeline=timeline,
        backups=tuple(manifest.backup_id for manifest in inside),
        from_time=first.taken_at,
        from_lsn=facts(first).stop,
        to_time=max(to_time, last.taken_at),
        to_lsn=reach.until,
        end=end,
        missing=reach.missing,
    )
