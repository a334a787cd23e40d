"""The SQL of `pg_dumpall --globals-only` and of a database's own properties, cut to what a destination needs.

Both are made by PostgreSQL's tools with every identifier quoted and one statement a line; that is what
these pure functions rely on.
"""

from __future__ import annotations

import re

_NAME = r'"(?:[^"]|"")+"|[^\s;]+'
_CREATE_ROLE = re.compile(rf"^CREATE ROLE ({_NAME});$")
_ROLE = re.compile(rf"^(?:CREATE|ALTER|COMMENT ON) ROLE ({_NAME})[ ;]")
_MEMBER = re.compile(rf"^GRANT (?:{_NAME}) TO ({_NAME})[ ;]")
_TABLESPACE = re.compile(rf"^CREATE TABLESPACE ({_NAME}) ")
_LOCATION = re.compile(r"^(CREATE TABLESPACE .+ LOCATION) '(?:[^']|'')*';$")
_SETTING = re.compile(r"^(?:SET|SELECT pg_catalog\.set_config)\b")
_PLUMBING = re.compile(r"^\\(?:un)?restrict ")


def unquote(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def prepare_globals(text: str, *, existing: frozenset[str], in_place_tablespaces: bool) -> str:
    """Drop ``CREATE ROLE`` of roles that exist, and give tablespaces a place below the data directory.

    Example: with ``existing={"postgres"}``, ``CREATE ROLE "postgres";`` goes, ``ALTER ROLE`` stays.
    """
    lines: list[str] = []
    for line in text.splitlines():
        if (role := _CREATE_ROLE.match(line)) and unquote(role[1]) in existing:
            continue
        if in_place_tablespaces and (space := _LOCATION.match(line)):
            line = f"{space[1]} '';"
        lines.append(line)
    return "\n".join(lines) + "\n"


def globals_of(text: str, *, roles: frozenset[str]) -> str:
    """Only what creates these roles: attributes, settings, comments, and their memberships in others."""
    lines: list[str] = []
    for line in text.splitlines():
        subject = _ROLE.match(line) or _MEMBER.match(line)
        if _SETTING.match(line) or _PLUMBING.match(line) or (subject and unquote(subject[1]) in roles):
            lines.append(line)
    return "\n".join(lines) + "\n"


def tablespaces(text: str) -> list[str]:
    """Names of the tablespaces that the globals create."""
    return [unquote(found[1]) for line in text.splitlines() if (found := _TABLESPACE.match(line))]


def database_statements(script: str, database: str, new_name: str) -> list[str]:
    """Statements of ``pg_restore --create`` about the database itself, under its new name.

    Example: ``ALTER DATABASE "akig" SET "work_mem" TO '5MB';`` for a restore into ``akig_new``.
    """
    old = re.escape(quote(database))
    bare = re.escape(database)
    patterns = (
        re.compile(rf"^(ALTER DATABASE )(?:{old}|{bare})( (?:SET|CONNECTION LIMIT|IS_TEMPLATE).*;)$"),
        re.compile(rf"^(ALTER ROLE .+ IN DATABASE )(?:{old}|{bare})( SET .*;)$"),
        re.compile(rf"^(COMMENT ON DATABASE )(?:{old}|{bare})( IS .*;)$"),
        re.compile(rf"^((?:GRANT|REVOKE) .+ ON DATABASE )(?:{old}|{bare})( (?:TO|FROM) .*;)$"),
    )
    found: list[str] = []
    for line in script.splitlines():
        for pattern in patterns:
            if match := pattern.match(line):
                found.append(f"{match[1]}{quote(new_name)}{match[2]}")
    return found
