"""An archive's table of contents, as ``pg_restore --list`` prints it: one entry a line.

::

    ; a comment
    3456; 1259 16385 TABLE public payments owner
    3711; 0 16385 TABLE DATA public payments owner

An entry's kind is told by its place in the line, never by a search: a table may well be named " RULE ".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

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


def is_about(line: str, schema: str, name: str) -> bool:
    """Whether the entry may be about this object. An owner follows, whose name has no bearing."""
    return rest_of(line).startswith(f"{schema} {name} ".replace("\n", " ").replace("\r", " "))


def without(lines: Iterable[str], unwanted: Callable[[str], bool]) -> list[str]:
    """The entries whose kind is not unwanted."""
    return [line for line in entries(lines) if not unwanted(kind_of(line))]
