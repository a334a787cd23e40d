"""What happens to incidents: opened once, raised, passed on, taken, closed; every message decided here. Pure.

Each function takes a book and the present and returns the book as it should be, with the notices that are to
be sent still pending: storing it is what decides them (`pra.watch.incident_store`), sending comes after
(`pra.watch.outbox`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pra.watch.incident_model import Book, Fact, Incident, Kind, Notice, Posted, Priority
from pra.watch.judge import Judged, Matter
from pra.watch.routing import CHANNEL_RULE, Policy, channel_key

REMEMBERED = timedelta(days=400)
_MOST = 2000
_NOTICES_KEPT = timedelta(days=1)


@dataclass(frozen=True)
class Failure:
    """A procedure failed: an incident of its own, until it succeeds."""

    key: str
    target: str
    rule: str
    priority: Priority
    fact: Fact


def observe(book: Book, judged: Judged, policy: Policy, now: datetime) -> Book:
    """After a status pass: open, raise and close by what it found; then pass on what nobody has taken."""
    for matter in judged.matters:
        book = _bad(book, matter, policy, now)
    for key in sorted(judged.well):
        book = _well(book, key, judged.succeeded.get(key), policy, now)
    return forget(escalate(book, policy, now), now)


def fail(book: Book, failure: Failure, policy: Policy, now: datetime) -> Book:
    """After a failed backup, verification, drill or scrub. What is open already takes it in silently."""
    old = book.by_key(failure.key)
    if old is not None and old.is_open:
        changed = replace(old, failed_at=now, well_since=None)
        if failure.priority.worse_than(old.priority):
            changed = _raised(replace(changed, fact=failure.fact), failure.priority, policy, now)
        return book.put(changed)
    new = _new(failure.key, failure.target, failure.rule, failure.priority, failure.fact, (), now, now)
    return book.put(_announced(replace(new, failed_at=now), Kind.OPENED, policy, now))


def take(book: Book, incident_id: str, who: str, now: datetime) -> Book:
    """Somebody has it: nobody else is called, and everybody who knows of it is told. Again: no news."""
    incident = book.by_id(incident_id)
    if incident is None or not incident.is_open or incident.taken_at is not None:
        return book
    taken = replace(incident, taken_at=now, taken_by=who, escalate_at=None)
    return book.put(_told(taken, Kind.TAKEN, _audience(incident), now))


def escalate(book: Book, policy: Policy, now: datetime) -> Book:
    """Tell the next tier where nobody took it in time. What is well again waits for its end instead."""
    for incident in book.open():
        tiers = policy.tiers_for(incident)
        if incident.escalate_at is None or incident.well_since is not None or incident.told >= len(tiers):
            continue
        within = policy.route(incident.priority).ack_within
        # A moment further away than that was written by a clock that ran ahead.
        if incident.escalate_at <= now or incident.escalate_at > now + within:
            told = incident.told + 1
            after = now + within if told < len(tiers) else None
            passed_on = replace(incident, told=told, escalate_at=after)
            channels = (*policy.standing_for(incident), *tiers[told - 1])
            book = book.put(_told(passed_on, Kind.ESCALATED, channels, now))
    return book


def channel_failed(book: Book, channel: str, problem: str, policy: Policy, now: datetime) -> Book:
    """A channel does not take messages: the others say so, once."""
    key = channel_key(channel)
    old = book.by_key(key)
    if old is not None and old.is_open:
        return book.put(replace(old, well_since=None))
    fact = Fact(channel, problem, "Check its settings under [alerts], and whether its server answers.")
    if old is not None and old.closed is not None and now - old.closed <= policy.reopen:
        return book.put(_relapsed(replace(old, fact=fact), Priority.P2, policy, now))
    new = _new(key, "", CHANNEL_RULE, Priority.P2, fact, (channel,), now, now)
    return book.put(_announced(new, Kind.OPENED, policy, now))


def channel_works(book: Book, channel: str, now: datetime) -> Book:
    """It took a message."""
    incident = book.by_key(channel_key(channel))
    if incident is None or not incident.is_open:
        return book
    return book.put(_closed(replace(incident, well_since=now), now))


def forget(book: Book, now: datetime) -> Book:
    """What is long over loses its notices, and at last goes."""
    kept: list[Incident] = []
    for incident in book.incidents:
        age = now - incident.closed if incident.closed is not None else timedelta(0)
        if age > REMEMBERED:
            continue
        done = all(notice.posted is not Posted.PENDING for notice in incident.notices)
        if incident.notices and done and age > _NOTICES_KEPT:
            incident = replace(incident, notices=(), revision=incident.revision + 1)
        kept.append(incident)
    over = sorted((i.opened, i.id) for i in kept if not i.is_open)
    surplus = {incident_id for _, incident_id in over[: max(0, len(kept) - _MOST)]}
    whole = tuple(incident for incident in kept if incident.id not in surplus)
    return book if whole == book.incidents else Book(whole)


# -- one incident --------------------------------------------------------------------------------


def _bad(book: Book, matter: Matter, policy: Policy, now: datetime) -> Book:
    old = book.by_key(matter.key)
    fact = Fact(matter.members[0], matter.message, matter.hint)
    if old is None or (old.closed is not None and not timedelta(0) <= now - old.closed <= policy.reopen):
        since = min(matter.since, now)
        new = _new(matter.key, matter.target, matter.rule, matter.priority, fact, matter.members, since, now)
        return book.put(_announced(new, Kind.OPENED, policy, now))
    if not old.is_open:
        return book.put(_relapsed(_with_members(old, matter, fact), matter.priority, policy, now))
    again = replace(old, well_since=None)
    if matter.priority.worse_than(old.priority):
        return book.put(_raised(_with_members(again, matter, fact), matter.priority, policy, now))
    if set(matter.members) <= set(old.members):
        return book.put(again)
    if not old.members:  # a procedure's failure, which this pass sees for the first time
        return book.put(replace(again, members=matter.members))
    wider = _with_members(again, matter, fact)
    return book.put(_told(wider, Kind.WIDENED, _audience(old), now))


def _with_members(incident: Incident, matter: Matter, fact: Fact) -> Incident:
    members = tuple(dict.fromkeys((*incident.members, *matter.members)))
    return replace(incident, members=members, fact=fact)


def _well(book: Book, key: str, succeeded: datetime | None, policy: Policy, now: datetime) -> Book:
    incident = book.by_key(key)
    if incident is None or not incident.is_open:
        return book
    if incident.failed_at is not None:
        # The findings may never have seen the failure: a later success is what ends it.
        if succeeded is None or succeeded <= incident.failed_at:
            return book
        return book.put(_closed(replace(incident, well_since=now), now))
    if incident.well_since is None or incident.well_since > now:
        return book.put(replace(incident, well_since=now))
    if now - incident.well_since < policy.calm(incident):
        return book
    return book.put(_closed(incident, now))


def _new(
    key: str,
    target: str,
    rule: str,
    priority: Priority,
    fact: Fact,
    members: tuple[str, ...],
    since: datetime,
    now: datetime,
) -> Incident:
    slug = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")
    incident_id = f"{now.astimezone(UTC):%Y%m%dT%H%M%S}-{slug}"
    return Incident(incident_id, key, target, rule, priority, fact, members, since, now)


def _announced(incident: Incident, kind: Kind, policy: Policy, now: datetime) -> Incident:
    """To the standing channels and the first tier; nobody has it, and the time to take it begins."""
    tiers = policy.tiers_for(incident)
    within = policy.route(incident.priority).ack_within
    fresh = replace(
        incident,
        told=min(1, len(tiers)),
        escalate_at=now + within if len(tiers) > 1 else None,
        taken_at=None,
        taken_by="",
    )
    first = tiers[0] if tiers else ()
    return _told(fresh, kind, (*policy.standing_for(incident), *first), now)


def _raised(incident: Incident, priority: Priority, policy: Policy, now: datetime) -> Incident:
    """Whoever took it when it was less urgent has not taken this."""
    return _announced(replace(incident, priority=priority), Kind.RAISED, policy, now)


def _relapsed(incident: Incident, priority: Priority, policy: Policy, now: datetime) -> Incident:
    back = replace(incident, priority=priority, closed=None, well_since=None, relapses=incident.relapses + 1)
    return _announced(back, Kind.REOPENED, policy, now)


def _closed(incident: Incident, now: datetime) -> Incident:
    over = replace(incident, closed=now, escalate_at=None)
    return _told(over, Kind.CLOSED, _audience(incident), now)


def _audience(incident: Incident) -> tuple[str, ...]:
    """Every channel that was told of it."""
    return tuple(dict.fromkeys(notice.channel for notice in incident.notices))


def _told(incident: Incident, kind: Kind, channels: Iterable[str], now: datetime) -> Incident:
    number = max((notice.number for notice in incident.notices), default=0) + 1
    new = tuple(
        Notice(number, kind, channel, now, incident.priority, text=incident.taken_by)
        for channel in dict.fromkeys(channels)
    )
    return replace(incident, notices=(*incident.notices, *new))
