"""Incidents as samples tell them: from the first that says critical to the first that denies it.

Where the alerts have stored what they made of it, their incidents are used instead.
"""

from __future__ import annotations

from collections.abc import Iterable

from pra.watch.incident_model import Book
from pra.watch.metrics.facts import Incident
from pra.watch.status.finding import HOST

_PAGED = ("database", "disk", "scrub", "proof", "drill", "tables")
"""Critical findings that somebody is woken for: P1."""


def severity_of(name: str) -> str:
    """Of a critical finding, by the first part of its name."""
    return "P1" if name.split(".", 1)[0] in _PAGED else "P2"


def merged(incidents: Iterable[Incident]) -> list[Incident]:
    """In order of time; what several hosts saw at once is one incident."""
    found: dict[tuple[str, str], list[Incident]] = {}
    for each in sorted(incidents, key=lambda i: i.opened_at):
        before = found.setdefault((each.target, each.name), [])
        last = before[-1] if before else None
        if last is None or (last.closed_at is not None and last.closed_at < each.opened_at):
            before.append(each)
        elif last.closed_at is not None:
            ends = None if each.closed_at is None else max(last.closed_at, each.closed_at)
            before[-1] = Incident(each.severity, each.name, each.target, last.opened_at, ends)
    return sorted((i for every in found.values() for i in every), key=lambda i: (i.opened_at, i.name))


def from_book(book: Book) -> list[Incident]:
    """Those that the alerts remember: from when it began until all was well again."""
    found = [
        Incident(
            severity=each.priority.value.upper(),
            name=each.key.partition("/")[2] or each.key,
            target=HOST if each.key.startswith("@") else each.target,
            opened_at=each.since,
            closed_at=None if each.is_open else each.well_since or each.closed,
        )
        for each in book.incidents
    ]
    return sorted(found, key=lambda i: (i.opened_at, i.name))
