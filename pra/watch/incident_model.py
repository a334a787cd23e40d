"""Incidents as they are stored: what is broken, who was told what, who has taken it. Pure data.

One object of the status repository holds them all (`Book`). Names, counts and times only.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache, cached_property
from typing import Any, Union, get_args, get_origin, get_type_hints

from pra.timing import from_iso, to_iso

SCHEMA = "pra/incidents/1"


class Priority(StrEnum):
    """``p1``: page somebody. ``p2``: within the hour. ``p3``: the next day."""

    P1 = "p1"
    P2 = "p2"
    P3 = "p3"

    def worse_than(self, other: Priority) -> bool:
        return self < other


class Kind(StrEnum):
    """What a notice says."""

    OPENED = "opened"
    RAISED = "raised"
    WIDENED = "widened"
    ESCALATED = "escalated"
    TAKEN = "taken"
    REOPENED = "reopened"
    CLOSED = "closed"


class Posted(StrEnum):
    PENDING = "pending"
    SENT = "sent"
    GIVEN_UP = "given_up"

    @property
    def rank(self) -> int:
        """Of two copies of one notice the further one is right."""
        return list(Posted).index(self)


@dataclass(frozen=True)
class Claim:
    """Who is sending a notice, until when nobody else may."""

    holder: str
    until: datetime


@dataclass(frozen=True)
class Notice:
    """One message to one channel: recorded before it is sent, and marked afterwards.

    Attributes:
        number: Position among the notices of its incident; one number to every channel.
        channel: ``slack``, ``webhook``, ``tier1`` …
        at: When it was decided; it says what was so then.
        tries: How often it may have arrived already. after: Not before this.
    """

    number: int
    kind: Kind
    channel: str
    at: datetime
    priority: Priority
    posted: Posted = Posted.PENDING
    tries: int = 0
    after: datetime | None = None
    claim: Claim | None = None
    text: str = ""


@dataclass(frozen=True)
class Fact:
    """What is broken, for people. Redacted; the words of findings and errors stay English.

    Attributes:
        title: The finding or the procedure: ``database``, ``verify``.
        step: What was being tried, where that is known.
        head: The newest evidence of the target, as ``12:0123456789abcdef``.
    """

    title: str
    message: str
    hint: str = ""
    step: str = ""
    link: str = ""
    head: str = ""


@dataclass(frozen=True)
class Incident:
    """One matter from its first message to its last.

    Attributes:
        id: What ``pra ack`` takes: moment and key.
        key: What it is about: ``akig/database``; of a host ``@name/disk``.
        rule: The rule that says what it means.
        members: Findings that were bad in it so far.
        since: Since when it has been so, which may be before ``opened``.
        failed_at: A procedure failed then: only a later success ends it.
        told: How many tiers of contacts know. escalate_at: When the next one is told.
        well_since: Since when all has been well again; None while it is not.
        relapses: How often it came back; each doubles the time it must be well.
        thread: Where it stands in Slack: channel id and timestamp of its first message.
        absorbed: Ids of incidents that turned out to be this one: another host had opened them.
        revision: Grows with every change.
    """

    id: str
    key: str
    target: str
    rule: str
    priority: Priority
    fact: Fact
    members: tuple[str, ...]
    since: datetime
    opened: datetime
    failed_at: datetime | None = None
    told: int = 0
    escalate_at: datetime | None = None
    taken_at: datetime | None = None
    taken_by: str = ""
    well_since: datetime | None = None
    closed: datetime | None = None
    relapses: int = 0
    thread: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()
    absorbed: tuple[str, ...] = ()
    revision: int = 0

    @property
    def is_open(self) -> bool:
        return self.closed is None

    @property
    def seconds(self) -> float | None:
        """From its beginning until it was well; None while it is open."""
        if self.closed is None:
            return None
        return max(0.0, ((self.well_since or self.closed) - self.since).total_seconds())

    def as_json(self) -> dict[str, Any]:
        """For ``--json``: without the notices."""
        document = {key: value for key, value in _write(self).items() if key not in ("notices", "thread")}
        return document | {"open": self.is_open, "seconds": self.seconds}


@dataclass(frozen=True)
class Book:
    """Every incident: the open ones, and what is still remembered of those that are over."""

    incidents: tuple[Incident, ...] = ()

    def open(self) -> tuple[Incident, ...]:
        """The most urgent first."""
        found = [incident for incident in self.incidents if incident.is_open]
        return tuple(sorted(found, key=lambda incident: (incident.priority, incident.opened, incident.id)))

    def by_key(self, key: str) -> Incident | None:
        """The newest incident of a key, open or not."""
        return self._by_key.get(key)

    @cached_property
    def _by_key(self) -> Mapping[str, Incident]:
        """A fleet asks for thousands of keys in every pass."""
        in_turn = sorted(self.incidents, key=lambda i: (i.is_open, i.opened, i.id))
        return {incident.key: incident for incident in in_turn}

    def by_id(self, incident_id: str) -> Incident | None:
        return next((incident for incident in self.incidents if incident.id == incident_id), None)

    def put(self, incident: Incident) -> Book:
        """With this one in the place of its older self; unchanged when it is the same."""
        old = self.by_id(incident.id)
        if old == incident:
            return self
        if old is None:
            return Book((*self.incidents, incident))
        new = dataclasses.replace(incident, revision=old.revision + 1)
        return Book(tuple(new if each.id == new.id else each for each in self.incidents))


# -- as bytes ------------------------------------------------------------------------------------


def to_bytes(book: Book) -> bytes:
    document = {"schema": SCHEMA, "incidents": [_write(incident) for incident in book.incidents]}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def from_bytes(data: bytes) -> Book:
    """What `to_bytes` wrote.

    Raises:
        LookupError: It is of another schema: a newer version's, which must not be overwritten.
        ValueError: It is no book at all.
    """
    try:
        document = json.loads(data)
        schema = document["schema"]
    except (ValueError, KeyError, TypeError):
        raise ValueError("not a book of incidents") from None
    if schema != SCHEMA:
        raise LookupError(f"incidents of another schema: {str(schema)[:40]}")
    try:
        return Book(tuple(_read(Incident, item) for item in document["incidents"]))
    except (ValueError, KeyError, TypeError):
        raise ValueError("not a book of incidents") from None


def _write(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _write(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return to_iso(value)
    if isinstance(value, tuple):
        return [_write(item) for item in value]
    return value.value if isinstance(value, StrEnum) else value


def _read(kind: Any, value: Any) -> Any:
    """Rebuild a dataclass from its own fields' types; an unknown field is passed over."""
    if get_origin(kind) in (Union, types.UnionType):
        inner = next(part for part in get_args(kind) if part is not type(None))
        return None if value is None else _read(inner, value)
    if get_origin(kind) is tuple:
        return tuple(_read(get_args(kind)[0], item) for item in value)
    if kind is datetime:
        return from_iso(value)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        fields = {f.name: value[f.name] for f in dataclasses.fields(kind) if f.name in value}
        return kind(**{name: _read(hints[name], item) for name, item in fields.items()})
    return kind(value)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
