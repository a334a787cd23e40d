"""An archive's table of contents, as ``pg_restore --list`` prints it: one entry a line.

::

    ; a comment
    3456; 1259 16385 TABLE public payments owner
    3711; 0 16385 TABLE DATA public payments owner

An entry's kind is told by its place in the line, never by a search: a table may well be named " RULE ".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

# Longest first, where one begins with another. What is not named here has a kind of one word.
_KINDS = (
    "MATERIALIZED VIEW DATA", "MATERIALIZED VIEW", "TABLE DATA", "TABLE ATTACH", "INDEX ATTACH",
    "STATISTICS DATA", "FK CONSTRAINT", "CHECK CONSTRAINT", "EVENT TRIGGER", "DEFAULT ACL", "SECURITY LABEL",
    "ROW SECURITY", "PUBLICATION TABLES IN SCHEMA", "PUBLICATION TABLE", "SUBSCRIPTION TABLE", "USER MAPPING",
    "FOREIGN DATA WRAPPER", "FOREIGN TABLE", "FOREIGN SERVER", "SEQUENCE OWNED BY", "SEQUENCE SET",
    "BLOB METADATA", "BLOB COMMENTS", "LARGE OBJECT", "DATABASE PROPERTIES", "ACCESS METHOD",
    "OPERATOR CLASS", "OPERATOR FAMILY", "PROCEDURAL LANGUAGE", "SHELL TYPE", "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY", "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE",
)  # fmt: skip
_ENTRY = re.compile(rf"\d+; (?P<catalogue>\d+) \d+ (?P<kind>{'|'.join(_KINDS)}|[A-Z]+) (?P<rest>.*)")
EVENT_TRIGGER = frozenset({"EVENT TRIGGER"})
_REFRESH = "MATERIALIZED VIEW DATA"
_REMARKS = frozenset({"COMMENT", "SECURITY LABEL"})
_ROWS = frozenset({"TABLE DATA", "MATERIALIZED VIEW DATA", "STATISTICS DATA"})


def entries(listing: Iterable[str]) -> list[str]:
    """The lines that name something."""
    return [line for line in listing if line.strip() and not line.startswith(";")]


def kind_of(line: str) -> str:
    """``TABLE DATA``, ``FK CONSTRAINT``, …; empty for a line that is no entry."""
    match = _ENTRY.match(line)
    if match is None:
        return ""
    kind = match["kind"]
    # Rows belong to no catalogue: a table in a schema named "DATA" does.
    if kind in _ROWS and match["catalogue"] != "0":
        return kind.removesuffix(" DATA")
    return kind


def rest_of(line: str) -> str:
    """What follows the kind: ``public payments owner``, unquoted, so that names with spaces are ambiguous."""
    match = _ENTRY.match(line)
    return match["rest"] if match else ""


def without(lines: Iterable[str], unwanted: Callable[[str], bool]) -> list[str]:
    """The entries whose kind is not unwanted."""
    return [line for line in entries(lines) if not unwanted(kind_of(line))]


def dials_out(major: int) -> frozenset[str]:
    """Kinds that a throwaway server with a network must not have.

    From 17 on event triggers can be silenced (the sandbox does); before, every later DDL runs them.
    """
    kinds = frozenset({"USER MAPPING", "SUBSCRIPTION"})
    return kinds if major >= 17 else kinds | EVENT_TRIGGER


def concerns(line: str, kinds: frozenset[str]) -> bool:
    """It makes an object of these kinds, or says something about one."""
    kind, rest = kind_of(line), rest_of(line)
    return kind in kinds or (kind in _REMARKS and rest.startswith(tuple(f"- {about} " for about in kinds)))


def plan_listing(
    listing: Sequence[str], unwanted: frozenset[str] = frozenset()
) -> tuple[list[str], tuple[str, ...], list[str]]:
    """Split an archive's table of contents: what to restore, what to leave out, which views to refresh.

    Args:
        listing: Lines of ``pg_restore --list``.
        unwanted: Kinds that stay out, and what is said about them; see `dials_out`.
    """
    keep: list[str] = []
    left_out: list[str] = []
    refresh: list[str] = []
    for line in entries(listing):
        kind, rest = kind_of(line), rest_of(line)
        if kind == _REFRESH:
            refresh.append(rest)
        elif kind in unwanted:
            name = rest.removeprefix("- ").removeprefix(f"{kind} ").rsplit(" ", 1)[0]
            left_out.append(f"{kind.lower()} {name}")
        elif not concerns(line, unwanted):
            keep.append(line)
    return keep, tuple(left_out), refresh
