"""Every definition of a database, in a form that survives dump and restore, and what differs between two."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from pra.postgres.connect import Connection, postgres_errors
from pra.postgres.definitions.family import Family
from pra.postgres.definitions.normal import normal
from pra.postgres.definitions.relations import RELATIONS
from pra.postgres.definitions.routines import ROUTINES
from pra.postgres.definitions.surroundings import SURROUNDINGS
from pra.postgres.facts import Definition, Difference

__all__ = ["Catalogue", "Definition", "Difference", "compare", "read", "read_all"]

FAMILIES: tuple[Family, ...] = (*RELATIONS, *ROUTINES, *SURROUNDINGS)
SHOWN = 200  # characters of a definition in a difference
# Server-wide things: a server that a backup is restored into may have more of them than its source.
SHARED = frozenset({"role", "role membership", "role setting", "tablespace", "parameter"})
# What every new database has from template0; pg_dump knows no way to say that the source had dropped it.
GIVEN = frozenset(
    {("schema", "public"), ("comment", "schema public"), ("extension", "plpgsql"), ("language", "plpgsql")}
)


@dataclass(frozen=True)
class Catalogue:
    """What was read, sorted, and which families of definitions the role may not read."""

    definitions: tuple[Definition, ...]
    gaps: tuple[str, ...]


def read(conn: Connection) -> tuple[Definition, ...]:
    """Every definition that the role may read. See ``read_all`` for what it may not."""
    return read_all(conn).definitions


def read_all(conn: Connection) -> Catalogue:
    """Read all definitions, on PostgreSQL 14 and newer, as any role.

    Runs in the session's transaction, if one is open, with ``search_path`` and the spelling of times pinned
    for its rest. Function bodies, and values of options and settings that may hold secrets, are kept as
    hashes.

    Raises:
        PostgresError: The server refused for another reason than missing rights.
    """
    major = conn.info.server_version // 10000
    found: list[Definition] = []
    gaps: list[str] = []
    with postgres_errors("read definitions"), conn.transaction():
        conn.execute("SET LOCAL search_path = ''")
        conn.execute("SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'")
        conn.execute("SET LOCAL quote_all_identifiers = off; SET LOCAL IntervalStyle = 'postgres'")
        for family in FAMILIES:
            if not family.since <= major <= family.until:
                continue
            try:
                found.extend(_read_family(conn, family, family.query))
            except psycopg.errors.InsufficientPrivilege:
                gaps.append(family.name)
                if family.fallback:
                    found.extend(_read_family(conn, family, family.fallback))
    return Catalogue(tuple(sorted(found)), tuple(gaps))


def _read_family(conn: Connection, family: Family, query: str) -> Iterator[Definition]:
    with conn.transaction(force_rollback=True):  # gives back the locks that spelling out a view takes
        rows = conn.execute(
            f"SELECT kind::text, name::text, facts::text FROM ({query}) AS f(kind, name, facts)".encode()
        ).fetchall()
    for kind, identity, facts in rows:
        if identity is None:
            continue  # dropped since the catalogue was read: names are not looked up in its snapshot
        yield Definition(kind, identity, _canonical(json.loads(facts)))


def _canonical(facts: dict[str, Any]) -> str:
    """Facts as JSON in one spelling, without what is null, secret or long."""
    kept = {key: _safe(key, value) for key, value in facts.items() if value is not None}
    return json.dumps(kept, ensure_ascii=False, sort_keys=True)


def _safe(key: str, value: Any) -> Any:
    if isinstance(value, str):
        text = normal(value)
        return _hash(text) if key == "body" else text
    if key == "secrets":
        options = (str(option).partition("=") for option in value)
        return sorted(f"{name}={_hash(rest)}" for name, _, rest in options)
    if key == "settings":
        return sorted(_setting(str(setting)) for setting in value)
    if key in ("options", "toast options") and isinstance(value, list):
        return sorted(value)  # their order means nothing, and a dump changes it
    return value


def _setting(setting: str) -> str:
    """The server's own settings are no secrets; an application's (``app.key``) may be."""
    name, _, value = setting.partition("=")
    return f"{name}={_hash(value)}" if "." in name else setting


def _hash(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def compare(expected: Sequence[Definition], observed: Sequence[Definition]) -> list[Difference]:
    """Name every definition that is missing, extra or altered, and what in it is not as expected.

    Left out, since no restore could do otherwise: server-wide objects that only the destination has; the
    public schema and plpgsql where the source had dropped them; invalid indexes, which a dump does not carry.
    """
    before, after = _by_name(expected), _by_name(observed)
    differences: list[Difference] = []
    for key in sorted(before.keys() | after.keys()):
        was, now, name = before.get(key), after.get(key), " ".join(key[:2])
        if now is None:
            if was is not None and was.get("valid") is not False:
                differences.append(Difference(name, "existence", _shown(was), "missing"))
        elif was is None:
            if key[0] not in SHARED and key[:2] not in GIVEN:
                differences.append(Difference(name, "existence", "absent", _shown(now)))
        else:
            differences.extend(_altered(name, was, now))
    return differences


def _by_name(definitions: Sequence[Definition]) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Facts by kind and identity, numbered: should two ever share a name, none may hide the other."""
    seen: Counter[tuple[str, str]] = Counter()
    facts = {}
    for definition in sorted(definitions):
        name = (definition.kind, definition.identity)
        facts[(*name, seen[name])] = json.loads(definition.text)
        seen[name] += 1
    return facts


def _altered(name: str, was: dict[str, Any], now: dict[str, Any]) -> Iterator[Difference]:
    hidden = was.get("hidden") or now.get("hidden")
    for aspect in sorted(was.keys() | now.keys()):
        old, new = was.get(aspect), now.get(aspect)
        if old == new or (hidden and aspect in ("secrets", "hidden")):
            continue
        if isinstance(old, list) and isinstance(new, list) and set(map(str, old)) != set(map(str, new)):
            old, new = [x for x in old if x not in new], [x for x in new if x not in old]
        yield Difference(name, aspect, _shown(old), _shown(new))


def _shown(value: object) -> str:
    """A value as a person would read it, at most ``SHOWN`` characters."""
    if value is None or value == []:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def of_kind(definitions: Iterable[Definition], *kinds: str) -> tuple[Definition, ...]:
    """Only those of some kinds, for checks that ask one question each."""
    return tuple(d for d in definitions if d.kind in kinds)
