"""Two books of the same incidents as one: of a host that was cut off, and of the rest. Pure.

Merging again changes nothing, so that a merge whose answer was lost may be repeated.
"""

from __future__ import annotations

from dataclasses import replace

from pra.watch.incident_model import Book, Incident, Notice, Posted


def merge(theirs: Book, ours: Book) -> Book:
    """``theirs`` as stored, ``ours`` as written here meanwhile."""
    found = {incident.id: incident for incident in theirs.incidents}
    absorbed = {incident_id for incident in theirs.incidents for incident_id in incident.absorbed}
    for incident in ours.incidents:
        if incident.id in absorbed:
            continue
        other = found.get(incident.id)
        found[incident.id] = incident if other is None else _joined(other, incident)
    by_key: dict[str, Incident] = {}
    for incident in sorted(found.values(), key=lambda i: (i.opened, i.id)):
        if not incident.is_open:
            continue
        older = by_key.get(incident.key)
        if older is None:
            by_key[incident.key] = incident
        else:  # both hosts opened one
            by_key[incident.key] = found[older.id] = _absorbed(older, incident)
            del found[incident.id]
    return Book(tuple(found.values()))


def _joined(one: Incident, other: Incident) -> Incident:
    """The one with more changes says what is; of every notice the furthest copy counts."""
    older, newer = sorted((one, other), key=lambda i: (i.revision, not i.is_open, i.taken_at is not None))
    notices = {(n.number, n.channel): n for n in older.notices}
    for notice in newer.notices:
        key = (notice.number, notice.channel)
        notices[key] = _further(notices.get(key, notice), notice)
    joined = replace(
        newer,
        notices=tuple(sorted(notices.values(), key=lambda n: (n.number, n.channel))),
        thread=newer.thread or older.thread,
        members=tuple(dict.fromkeys((*older.members, *newer.members))),
    )
    if joined.is_open and older.taken_at and not joined.taken_at and older.priority == joined.priority:
        joined = replace(joined, taken_at=older.taken_at, taken_by=older.taken_by, escalate_at=None)
    return joined


def _further(one: Notice, other: Notice) -> Notice:
    return max(one, other, key=lambda n: (n.posted.rank, n.tries))


def _absorbed(older: Incident, newer: Incident) -> Incident:
    """One incident of both. What the second one had not sent yet has been said by the first."""
    last = max((notice.number for notice in older.notices), default=0)
    sent = tuple(
        replace(notice, number=notice.number + last)
        for notice in newer.notices
        if notice.posted is not Posted.PENDING
    )
    taken = older if older.taken_at is not None else newer
    return replace(
        older,
        priority=min(older.priority, newer.priority),
        members=tuple(dict.fromkeys((*older.members, *newer.members))),
        since=min(older.since, newer.since),
        failed_at=max((at for at in (older.failed_at, newer.failed_at) if at is not None), default=None),
        told=max(older.told, newer.told),
        taken_at=taken.taken_at,
        taken_by=taken.taken_by,
        escalate_at=None if taken.taken_at is not None else older.escalate_at,
        well_since=None if older.well_since is None else newer.well_since,
        thread=older.thread or newer.thread,
        notices=(*older.notices, *sent),
        absorbed=(*older.absorbed, newer.id, *newer.absorbed),
        revision=max(older.revision, newer.revision) + 1,
    )
