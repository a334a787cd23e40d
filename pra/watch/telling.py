"""Incidents carried through: what happened goes into the store, and what is decided there goes to people.

After every status pass, after a procedure failed, and after ``pra ack``. Every step ends in time; a store or
a channel that fails is said, and keeps nothing else from being done.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from pra.redact import redact
from pra.settings import Settings
from pra.timing import Clock
from pra.watch import incidents, outbox, senders
from pra.watch.incident_model import Book, Incident, Notice
from pra.watch.incident_store import Change, IncidentStore
from pra.watch.incident_words import letter
from pra.watch.incidents import Failure
from pra.watch.judge import Judged, Past, judge
from pra.watch.routing import Policy
from pra.watch.samples import LocalSamples, Sample, read
from pra.watch.senders.letter import Mark
from pra.watch.status.finding import HOST, StatusPass
from pra.watch.status.record import head_here

_DAY = timedelta(days=1)
_ROUNDS = 3
"""Sending may itself open an incident, of a channel, that is to be told in the same breath."""


def after_pass(settings: Settings, done: StatusPass, samples: LocalSamples, *, clock: Clock) -> list[str]:
    """Judge a pass, remember what it means, and tell.

    Returns:
        What did not work, one line each.

    Raises:
        StorageError, SpaceError: The incidents cannot be written anywhere.
    """
    now = clock()
    post = _Post(settings, clock)
    known = post.store.read()
    judged = _clean(judge(done, now, _past(settings, samples, known, now)), settings)
    return post.change(lambda book: _with_heads(incidents.observe(book, judged, post.policy, now), settings))


def after_failure(settings: Settings, failure: Failure, *, clock: Clock) -> list[str]:
    """A procedure failed. As `after_pass`."""
    now = clock()
    post = _Post(settings, clock)
    return post.change(lambda book: _with_heads(incidents.fail(book, failure, post.policy, now), settings))


def after_ack(settings: Settings, incident_ids: Sequence[str], who: str, *, clock: Clock) -> list[str]:
    """Somebody takes incidents. As `after_pass`."""
    now = clock()

    def taken(book: Book) -> Book:
        for incident_id in incident_ids:
            book = incidents.take(book, incident_id, who, now)
        return book

    return _Post(settings, clock).change(taken)


class _Post:
    """One sender: its store, its policy, and the name under which it claims notices."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings, self.clock = settings, clock
        self.store = IncidentStore.of(settings)
        self.policy = Policy.of(settings.alerts)
        self.holder = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"

    def change(self, change: Change) -> list[str]:
        """Store a change together with the claim on what it decided, then send until nothing is left."""
        problems: list[str] = []
        for number in range(_ROUNDS):
            book = self.store.update(partial(self._claimed, change if number == 0 else _same))
            mine = list(outbox.claimed(book, self.holder))
            if not mine:
                break
            problems += self._send(mine)
        return problems

    def _claimed(self, change: Change, book: Book) -> Book:
        return outbox.claim(change(book), self.holder, self.policy, gone, self.clock())

    def _send(self, mine: Sequence[tuple[Incident, Notice]]) -> list[str]:
        problems: list[str] = []
        threads: dict[str, tuple[str, ...]] = {}
        silent: set[str] = set()
        for incident, notice in mine:
            if notice.channel in silent:
                continue
            thread = incident.thread or threads.get(incident.id, ())
            name = f"{incident.id}/{notice.number}/{notice.channel}"
            mark = Mark(name, incident.id, thread, tried=notice.tries > 0)
            outcome = senders.deliver(
                letter(incident, notice, self.settings), notice.channel, self.settings.alerts, mark
            )
            if outcome.problem:
                silent.add(notice.channel)
                problems.append(f"{notice.channel} did not take the alert: {outcome.problem}")
            elif outcome.thread:
                threads[incident.id] = outcome.thread
            self.store.update(partial(_settled, incident.id, notice, outcome, self.policy, self.clock()))
        return problems


def _same(book: Book) -> Book:
    return book


def _settled(
    incident_id: str, notice: Notice, outcome: outbox.Outcome, policy: Policy, now: datetime, book: Book
) -> Book:
    return outbox.settle(book, incident_id, notice, outcome, policy, now)


def gone(holder: str) -> bool:
    """Whether a sender is known to be dead: a process of this host that is no more."""
    host, _, rest = holder.partition("/")
    pid = rest.partition("/")[0]
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return int(pid) == os.getpid()  # our own number, in an earlier life


# -- what rules and messages know beside the pass -----------------------------------------------


def _past(settings: Settings, samples: LocalSamples, book: Book, now: datetime) -> Past:
    recent: dict[str, list[Sample]] | None = None

    def history(target: str) -> list[Sample]:
        nonlocal recent
        if recent is None:
            recent = {}
            for sample in read(now - _DAY, now + timedelta(seconds=1), local=samples):
                recent.setdefault(sample.target, []).append(sample)
        return recent.get(target, [])

    def spans(target: str) -> list[tuple[datetime, datetime]]:
        return [
            (incident.since - timedelta(seconds=1), incident.well_since or incident.closed or now)
            for incident in book.incidents
            if incident.target == target and incident.rule in ("database", "api")
        ]

    return Past(settings.status.backup_every, settings.status.api_slow, history, spans)


def _clean(judged: Judged, settings: Settings) -> Judged:
    """What is stored is redacted already."""
    hide = settings.alerts.secrets
    matters = (replace(m, message=redact(m.message, hide), hint=redact(m.hint, hide)) for m in judged.matters)
    return replace(judged, matters=tuple(matters))


def _with_heads(book: Book, settings: Settings) -> Book:
    """Open incidents name the newest evidence of their target, as this host last read it."""
    for incident in book.open():
        if incident.target != HOST and not incident.fact.head:
            head = evidence_head(settings, incident.target)
            if head:
                book = book.put(replace(incident, fact=replace(incident.fact, head=head)))
    return book


def evidence_head(settings: Settings, target: str) -> str:
    """``12:0123456789abcdef``, as this host last read it: the repository may be away. Empty: it never did."""
    repositories = settings.targets[target].repositories if target in settings.targets else []
    heads = [head_here(settings.state_dir, target, repository) for repository in repositories]
    number, sha256 = max(heads, default=(0, ""))
    return f"{number}:{sha256[:16]}" if sha256 else ""
