"""Incidents as samples tell them: from the first that says critical to the first that denies it.

The seam to what the alerts remember: whoever has stored incidents uses those instead.
"""

from __future__ import annotations

from collections.abc import Iterable

from pra.watch.metrics.facts import Incident

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
