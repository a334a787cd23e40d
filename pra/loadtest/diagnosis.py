"""Which queries are slow on the restored database, and why: indexes, statistics and plans are looked at."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql

from pra.loadtest.measures import Load
from pra.loadtest.queries import Script
from pra.loadtest.record import Slow
from pra.postgres.connect import Connection, postgres_errors
from pra.postgres.facts import Definition

FACTOR = 2.0
SECONDS = 0.005
"""A query is slow whose median is more than `FACTOR` times the other's, and more than this above it."""
_TABLE_OF_INDEX = re.compile(r" ON (?:ONLY )?(.+?) USING ")
_WITHOUT_STATISTICS = """
SELECT n.nspname::text, c.relname::text
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname !~ '^(pg_|information_schema$)'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_statistic s WHERE s.starelid = c.oid)
   AND EXISTS (SELECT FROM pg_catalog.pg_attribute a
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
 ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Plan:
    """How a script's statements would be executed: tables, those read from end to end, indexes in use."""

    tables: frozenset[str] = frozenset()
    scans: frozenset[str] = frozenset()
    indexes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Condition:
    """What is missing in a restored database.

    Attributes:
        indexes: Missing ones, and the table of each; ``schema.name`` both.
        statistics: Tables that hold rows and of which the planner knows nothing.
    """

    indexes: Mapping[str, str] = field(default_factory=dict)
    statistics: tuple[str, ...] = ()


def slower(restored: Load, reference: Load) -> tuple[tuple[str, float, float], ...]:
    """Name and both medians of every query that is slow; the worst first."""
    found = []
    for query in restored.queries:
        other = reference.query(query.name)
        if (
            other is not None
            and query.median > FACTOR * other.median
            and query.median - other.median > SECONDS
        ):
            found.append((query.name, query.median, other.median))
    return tuple(sorted(found, key=lambda each: each[2] - each[1]))


def explain(name: str, seconds: float, reference: float, here: Plan, there: Plan, lacks: Condition) -> Slow:
    """Name the probable reason: what is missing among the tables of the query comes before how it is planned.

    Args:
        here, there: Its plan on the restored database, and on the other; empty where there is none.
    """
    tables = here.tables | there.tables
    indexes = tuple(sorted(index for index, table in lacks.indexes.items() if table in tables))
    if indexes:
        return Slow(name, seconds, reference, "index", indexes)
    if unknown := tuple(sorted(tables & set(lacks.statistics))):
        return Slow(name, seconds, reference, "statistics", unknown)
    if scans := tuple(sorted(here.scans - there.scans)):
        return Slow(name, seconds, reference, "scan", scans)
    return Slow(name, seconds, reference, "unknown")


def plan_of(connection: Connection, script: Script, values: Mapping[str, int]) -> Plan:
    """Ask PostgreSQL how it would execute the script; nothing is executed.

    Raises:
        PostgresError: It refused, for example because a table is missing.
    """
    nodes: list[Mapping[str, Any]] = []
    with postgres_errors(f"plan {script.name}"):
        for statement in script.statements(values):
            row = connection.execute(f"EXPLAIN (FORMAT JSON, VERBOSE) {statement}".encode()).fetchone()
            if row is not None:
                found = row[0] if isinstance(row[0], list) else json.loads(row[0])
                nodes += _nodes(found[0]["Plan"])
    named = [(node, f"{node['Schema']}.{node['Relation Name']}") for node in nodes if "Relation Name" in node]
    return Plan(
        frozenset(table for _, table in named),
        frozenset(table for node, table in named if node["Node Type"] == "Seq Scan"),
        frozenset(str(node["Index Name"]) for node in nodes if "Index Name" in node),
    )


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from _nodes(each)


def missing_indexes(
    saved: Sequence[Definition], observed: Sequence[Definition], original: Sequence[Definition] | None = None
) -> dict[str, str]:
    """Indexes that were there when the backup was taken and are not there now, with their tables.

    Args:
        original: Where recovery went on beyond the backup, the source's own: an index that is gone there too
            was dropped by somebody.
    """
    there = {d.identity for d in observed if d.kind == "index"}
    still = None if original is None else {d.identity for d in original if d.kind == "index"}
    found = {}
    for definition in saved:
        if definition.kind != "index" or definition.identity in there:
            continue
        if still is not None and definition.identity not in still:
            continue
        facts = json.loads(definition.text)
        table = _TABLE_OF_INDEX.search(str(facts.get("definition", "")))
        if facts.get("valid") is not False:  # a dump does not carry those
            found[definition.identity.replace('"', "")] = table[1].replace('"', "") if table else ""
    return found


def without_statistics(connection: Connection) -> tuple[str, ...]:
    """Tables that hold rows and have no statistics.

    Raises:
        PostgresError: The catalogue cannot be read.
    """
    with postgres_errors("look for statistics"):
        suspects = connection.execute(_WITHOUT_STATISTICS).fetchall()
        return tuple(f"{schema}.{name}" for schema, name in suspects if _holds_rows(connection, schema, name))


def _holds_rows(connection: Connection, schema: str, name: str) -> bool:
    query = sql.SQL("SELECT EXISTS (SELECT FROM ONLY {})").format(sql.Identifier(schema, name))
    row = connection.execute(query).fetchone()
    return bool(row and row[0])
