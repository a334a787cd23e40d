"""Notices on their way: claimed by one sender, then marked as sent or to be tried again. Pure.

A notice is pending before it is sent and marked after; between the two a sender may die. Its claim then ends,
at once where it is known to be dead, and the next one asks the channel first whether it has the message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pra.watch import incidents
from pra.watch.incident_model import Book, Claim, Incident, Notice, Posted
from pra.watch.routing import Policy

CLAIMED = timedelta(minutes=5)
"""Longer than all channels' time limits together."""
GIVEN_UP = timedelta(days=3)
_RETRY, _RETRY_AT_MOST = timedelta(seconds=30), timedelta(minutes=30)


@dataclass(frozen=True)
class Outcome:
    """What became of one notice.

    Attributes:
        problem: Why it was not taken; empty: it was.
        wait: Not to be tried again before so many seconds.
        thread: Where it stands in Slack.
    """

    problem: str = ""
    wait: float = 0.0
    thread: tuple[str, ...] = ()


def claim(book: Book, holder: str, policy: Policy, gone: Callable[[str], bool], now: datetime) -> Book:
    """Take every notice that is due for one sender.

    Args:
        gone: Whether a holder is known to be dead.
    """
    for incident in book.incidents:
        notices = tuple(_claimed(incident, n, holder, policy, gone, now) for n in incident.notices)
        if notices != incident.notices:
            book = book.put(replace(incident, notices=notices))
    return book


def _claimed(
    incident: Incident,
    notice: Notice,
    holder: str,
    policy: Policy,
    gone: Callable[[str], bool],
    now: datetime,
) -> Notice:
    if notice.posted is not Posted.PENDING:
        return notice
    if notice.channel not in policy.channels or now - notice.at > GIVEN_UP:
        return replace(notice, posted=Posted.GIVEN_UP, claim=None)
    if not _is_due(notice, now) or _is_held(notice.claim, holder, gone, now):
        return notice
    # In order: nobody reads an end before its beginning.
    before = [n for n in incident.notices if n.channel == notice.channel and n.number < notice.number]
    blocked = any(
        n.posted is Posted.PENDING and (not _is_due(n, now) or _is_held(n.claim, holder, gone, now))
        for n in before
    )
    if blocked:
        return notice
    # Whoever had claimed it may have sent it, and died before saying so.
    other = notice.claim is not None and notice.claim.holder != holder
    return replace(notice, claim=Claim(holder, now + CLAIMED), tries=notice.tries + other)


def _is_due(notice: Notice, now: datetime) -> bool:
    # A moment too far away was written by a clock that ran ahead.
    return notice.after is None or not now < notice.after <= now + 2 * _RETRY_AT_MOST


def _is_held(claim: Claim | None, holder: str, gone: Callable[[str], bool], now: datetime) -> bool:
    if claim is None or claim.holder == holder or not now < claim.until <= now + CLAIMED:
        return False
    return not gone(claim.holder)


def claimed(book: Book, holder: str) -> Iterator[tuple[Incident, Notice]]:
    """What this sender has to send, in order: incident by incident, the oldest notice first."""
    for incident in sorted(book.incidents, key=lambda i: (i.priority, i.opened, i.id)):
        for notice in sorted(incident.notices, key=lambda n: n.number):
            held = notice.claim is not None and notice.claim.holder == holder
            if held and notice.posted is Posted.PENDING:
                yield incident, notice


def settle(
    book: Book, incident_id: str, notice: Notice, outcome: Outcome, policy: Policy, now: datetime
) -> Book:
    """Mark one notice. A channel that failed, or works again, is told by the others."""
    incident = book.by_id(incident_id)
    if incident is None:
        return book
    if outcome.problem:
        # The channel is left alone for now: what else was to go there waits for the same moment.
        pause = max(min(_RETRY * 2**notice.tries, _RETRY_AT_MOST), timedelta(seconds=outcome.wait))
        failed = replace(notice, tries=notice.tries + 1, after=now + pause, claim=None)
        book = book.put(_with(incident, failed))
        book = _released(book, notice)
        return incidents.channel_failed(book, notice.channel, outcome.problem, policy, now)
    sent = _with(incident, replace(notice, posted=Posted.SENT, claim=None))
    if outcome.thread and not incident.thread:
        sent = replace(sent, thread=outcome.thread)
    return incidents.channel_works(book.put(sent), notice.channel, now)


def _with(incident: Incident, notice: Notice) -> Incident:
    same = (notice.number, notice.channel)
    return replace(
        incident,
        notices=tuple(notice if (n.number, n.channel) == same else n for n in incident.notices),
    )


def _released(book: Book, failed: Notice) -> Book:
    """The holder's other claims on that channel."""
    holder = failed.claim.holder if failed.claim else ""
    for incident in book.incidents:
        notices = tuple(
            replace(n, claim=None)
            if n.channel == failed.channel and n.claim is not None and n.claim.holder == holder
            else n
            for n in incident.notices
        )
        if notices != incident.notices:
            book = book.put(replace(incident, notices=notices))
    return book
