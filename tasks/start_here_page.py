"""The page to start from: is everything well, what to press for what, where to look. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pra.messages import mark
from pra.report.words import Words
from pra.watch.status.finding import HOST, Level, StatusPass

MOST = 20
"""Databases that are listed, the worst first: the page is kept at every change."""
_NAMED = 8

_LEVELS = {
    Level.CRITICAL: mark("CRITICAL"),
    Level.WARNING: mark("WARNING"),
    Level.UNKNOWN: mark("UNKNOWN"),
    Level.OK: mark("OK"),
}
_GROUPS: Sequence[tuple[str, Mapping[str, str]]] = (
    (
        mark("At any time"),
        {"backup": mark("Take a backup"), "restore-verify": mark("Prove a backup"), "scrub": mark("Reread")},
    ),
    (
        mark("Keeps the machine busy"),
        {"dr-drill": mark("Rehearse a disaster"), "load-test": mark("Load test")},
    ),
    (
        mark("The real day"),
        {"restore": mark("Restore beside"), "failover": mark("Replace a lost server")},
    ),
)
_MEANINGS = (
    mark("**Take a backup** reads the database and writes to its repositories."),
    mark("**Prove a backup** restores it into a throwaway server and runs every check."),
    mark("**Reread** compares stored objects with what was signed."),
    mark(
        "**Rehearse a disaster** works on a server made from a backup; production is never touched. "
        "It waits for somebody to approve the recovery: open the run and press Resume."
    ),
    mark("**Load test** reads the database, and compares it with a restored one under the same load."),
    mark(
        "**Restore beside** asks for a moment once it runs (open the run and press Resume), and restores "
        "into a new folder; nothing that exists is written over. "
        "Start the worker of the pool emergency first."
    ),
    mark(
        "**Replace a lost server** does nothing before an approver has signed its plan. "
        "Start the worker of the pool emergency first."
    ),
)


@dataclass(frozen=True)
class Shown:
    """An artifact: what its description says, and when it was written."""

    artifact_id: str
    description: str
    at: datetime

    @property
    def verdict(self) -> str:
        """The worst that it names; without a verdict, its first word."""
        found = set(re.findall(r"\b(PASS|PARTIAL|FAIL)\b(?=:)", self.description))
        worst = next((each for each in ("FAIL", "PARTIAL", "PASS") if each in found), None)
        return worst or (self.description.split() or ["?"])[0].rstrip(":;,")


@dataclass(frozen=True)
class Line:
    """One database. ``level`` None: no status pass has looked yet. ``press``: ids of deployments by flow."""

    target: str
    level: Level | None = None
    bad: tuple[str, ...] = ()
    proof: Shown | None = None
    drill: Shown | None = None
    press: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """``more``: databases that are not listed. ``runbook``: its address."""

    lines: tuple[Line, ...]
    more: int = 0
    host: Line = Line(HOST)
    language: str = "en"
    runbook: str | None = None


def facts_of(targets: Sequence[str], done: StatusPass | None) -> tuple[list[Line], Line]:
    """The worst `MOST` databases, and this host."""
    lines = [_line(target, done) for target in targets]
    lines.sort(key=lambda line: (-(line.level.rank if line.level else 0), line.target))
    return lines[:MOST], _line(HOST, done)


def _line(target: str, done: StatusPass | None) -> Line:
    found = done.of(target) if done else ()
    if not found:
        return Line(target)
    bad = tuple(sorted({f.name for f in found if f.level is not Level.OK}))
    return Line(target, max((f.level for f in found), key=lambda level: level.rank), bad)


def digest(page: Page) -> str:
    """What it says, dates of its own and addresses apart: another one when it has something else to say."""
    facts = [(line.target, line.level, line.bad, line.proof, line.drill) for line in (*page.lines, page.host)]
    return _digest((facts, page.more, page.language, page.runbook))


def digest_of_addresses(page: Page) -> str:
    """Which deployments can be pressed."""
    return _digest([sorted(line.press.items()) for line in page.lines])


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]


def render(page: Page, now: datetime) -> str:
    """As Markdown."""
    return "\n\n".join(_parts(page, Words(page.language), now)) + "\n"


def _parts(page: Page, words: Words, now: datetime) -> Iterator[str]:
    _ = words._
    yield f"# {_('Start here')}"
    yield f"## {_('Is everything well?')}"
    yield from _state(page, words)
    yield f"## {_('What do you want to do?')}"
    yield from _presses(page, words)
    yield f"## {_('Where to look')}"
    yield from _places(page, words)
    yield _(
        "Written {moment}; written anew within five minutes of a change, and once a day. If this interface "
        "is down, everything works in a terminal: `pra --help`."
    ).format(moment=words.moment(now))


def _state(page: Page, words: Words) -> Iterator[str]:
    _ = words._
    if not page.lines:
        yield _("No database is protected yet: run `pra init`.")
        return
    lines = (*page.lines, *([page.host] if page.host.level else []))
    rows = [[_name(line, words), _level(line, words), *_shown(line, words)] for line in lines]
    yield _table([_("Database"), _("State"), _("Last proof"), _("Last drill")], rows)
    if page.more:
        yield _("And {count} more that are no worse.").format(count=page.more)
    # Not in the table: Prefect cuts off what is wider than its column.
    if bad := [line for line in lines if line.bad]:
        yield f"**{_('What is not well')}**"
        yield "\n".join(f"- {_name(line, words)}: {_named(line)}" for line in bad)


def _name(line: Line, words: Words) -> str:
    return line.target or words._("this machine")


def _level(line: Line, words: Words) -> str:
    if line.level is None:
        return words._("not looked at yet")
    word = words._(_LEVELS[line.level])
    return word if line.level is Level.OK else f"**{word}**"


def _named(line: Line) -> str:
    named = ", ".join(f"`{name}`" for name in line.bad[:_NAMED])
    return f"{named}, …" if len(line.bad) > _NAMED else named


def _shown(line: Line, words: Words) -> list[str]:
    return [
        f"[{each.verdict}, {words.day(each.at)}](/artifacts/artifact/{each.artifact_id})" if each else "–"
        for each in (line.proof, line.drill)
    ]


def _presses(page: Page, words: Words) -> Iterator[str]:
    _ = words._
    for line in page.lines:
        found = {
            group: [
                f"[{_(word)}](/deployments/deployment/{line.press[flow]}/run)"
                for flow, word in flows.items()
                if flow in line.press
            ]
            for group, flows in _GROUPS
        }
        rows = [f"- {_(group)}: {' · '.join(links)}" for group, links in found.items() if links]
        if rows:
            yield f"**{line.target}**"
            yield "\n".join(rows)
    yield f"*{_('What each of them does')}*"
    yield "\n".join(f"- {_(meaning)}" for meaning in _MEANINGS)


def _places(page: Page, words: Words) -> Iterator[str]:
    _ = words._
    runbook = f"[{_('Runbook')}]({page.runbook})" if page.runbook else f"**{_('Runbook')}**: `pra runbook`"
    yield "\n".join(
        [
            _("- [Status](/artifacts/key/status): everything that was looked at, and what to do"),
            _("- [Runs](/runs): the night's runs; a red one says in its state what happened and what to do"),
            _("- [Deployments](/deployments): what runs when; a schedule is paused and resumed there"),
            _("- [Objectives](/artifacts/key/metrics): week and month, written every Monday"),
            _("- {runbook}: who is called, and what is done in each emergency").format(runbook=runbook),
        ]
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))
