"""A live database looked at for regularities: counts and comparisons; no row's value leaves it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from pra.postgres.connect import Connection

LARGEST = 1 << 30
"""Bytes: a larger table is counted by its statistics, and its columns are not read."""

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEYS = re.compile(
    r"(^|_)(e?mail|courriel|reference|ref|code|number|numero|iban|slug|uuid|sku|siret|siren|login)($|_)"
)
_AMOUNTS = re.compile(
    r"(^|_)(amount|price|rent|total|fee|deposit|quantity|qty|surface|cost|salary|"
    r"montant|prix|loyer|charges|caution|quantite|cout|salaire)($|_)"
)
_STARTS = {
    "starts": "ends", "start": "end", "started": "ended", "opened": "closed", "issued": "due",
    "begin": "end", "from": "to", "debut": "fin", "created": "updated",
}  # fmt: skip
_NUMBERS = frozenset({"numeric", "int2", "int4", "int8", "float4", "float8"})
_IDENTIFIERS = frozenset({"text", "varchar", "bpchar", "int4", "int8"})
_MOMENTS = frozenset({"date", "timestamp", "timestamptz"})

# Tables and partitioned ones, not partitions, not what belongs to an extension. Columns with their type's
# name (a domain's base), whether NULL is ruled out, and whether an index over them alone is unique.
_COLUMNS = """
SELECT n.nspname::text, c.relname::text, c.reltuples::float8,
       CASE c.relkind WHEN 'p' THEN (SELECT coalesce(sum(pg_table_size(relid)), 0)
                                     FROM pg_partition_tree(c.oid)) ELSE pg_table_size(c.oid) END::int8,
       (SELECT count(*) FROM pg_constraint AS k WHERE k.confrelid = c.oid AND k.contype = 'f')::int,
       a.attname::text, coalesce(b.typname, t.typname)::text, a.attnotnull OR t.typnotnull,
       EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisunique AND i.indpred IS NULL
               AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type AS t ON t.oid = a.atttypid LEFT JOIN pg_type AS b ON t.typtype = 'd' AND b.oid = t.typbasetype
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                  AND d.deptype = 'e')
ORDER BY n.nspname, c.relname, a.attnum
"""


@dataclass(frozen=True)
class Column:
    """``type`` as in ``pg_type``; ``filled`` and ``unique``: the database enforces it."""

    name: str
    type: str
    filled: bool
    unique: bool


@dataclass(frozen=True)
class Table:
    """One table as the catalogue has it. ``rows`` is the planner's estimate, negative where it has none."""

    schema: str
    name: str
    rows: float
    bytes: int
    referred: int
    columns: tuple[Column, ...]

    @property
    def label(self) -> str:
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Observed:
    """One table with what was counted in it.

    Attributes:
        rows: How many. exact: They were counted, and the columns read.
        never_null, distinct, positive, not_negative: Names of columns in which that held.
        ordered: Pairs of columns, of which the second is never before the first.
    """

    table: Table
    rows: int
    exact: bool
    never_null: tuple[str, ...] = ()
    distinct: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    not_negative: tuple[str, ...] = ()
    ordered: tuple[tuple[str, str], ...] = ()


def list_tables(connection: Connection) -> list[Table]:
    """Tables whose names a suite can spell, with those of their columns."""
    found: dict[tuple[str, str], Table] = {}
    for row in connection.execute(_COLUMNS).fetchall():
        schema, name, rows, size, referred, column, kind, filled, unique = row
        if not all(_PLAIN.fullmatch(part) for part in (schema, name, column)):
            continue
        known = found.get((schema, name)) or Table(schema, name, rows, size, referred, ())
        columns = (*known.columns, Column(column, kind, filled, unique))
        found[schema, name] = Table(schema, name, rows, size, referred, columns)
    return list(found.values())


def observe(connection: Connection, table: Table) -> Observed:
    """Count one table, and compare within it. What is too large, locked or slow is left at its estimate."""
    if table.bytes > LARGEST:
        return Observed(table, max(0, int(table.rows)), exact=False)
    questions = list(_questions(table))
    asked = sql.SQL("SELECT count(*), {} FROM {}").format(
        sql.SQL(", ").join([sql.SQL("true"), *(query for _kind, _name, query in questions)]),
        sql.Identifier(table.schema, table.name),
    )
    try:
        row = connection.execute(asked).fetchone()
    except psycopg.Error:
        if connection.closed:
            raise
        return Observed(table, max(0, int(table.rows)), exact=False)  # locked, slow, or not for us
    assert row is not None  # an aggregate has one row
    held = [(kind, names) for (kind, names, _q), answer in zip(questions, row[2:], strict=True) if answer]
    return _observed(table, int(row[0]), held)


def _observed(table: Table, rows: int, held: Sequence[tuple[str, tuple[str, ...]]]) -> Observed:
    def of(kind: str) -> tuple[str, ...]:
        return tuple(names[0] for each, names in held if each == kind)

    positive = of("positive")
    return Observed(
        table,
        rows,
        exact=True,
        never_null=of("filled"),
        distinct=of("distinct"),
        positive=positive,
        not_negative=tuple(name for name in of("not negative") if name not in positive),
        ordered=tuple((names[0], names[1]) for kind, names in held if kind == "ordered"),
    )


def _questions(table: Table) -> Iterator[tuple[str, tuple[str, ...], sql.Composed]]:
    """Kind, columns, and a condition over the whole table that is answered by yes or no."""
    for column in table.columns:
        name = sql.Identifier(column.name)
        if not column.filled:
            yield "filled", (column.name,), sql.SQL("count(*) = count({})").format(name)
        if not column.unique and column.type in _IDENTIFIERS and _KEYS.search(column.name.lower()):
            query = sql.SQL("count(DISTINCT {0}) = count({0}) AND count({0}) > 0").format(name)
            yield "distinct", (column.name,), query
        if column.type in _NUMBERS and _AMOUNTS.search(column.name.lower()):
            yield "positive", (column.name,), sql.SQL("min({}) > 0").format(name)
            yield "not negative", (column.name,), sql.SQL("min({}) >= 0").format(name)
    for first, second in _pairs(table.columns):
        query = sql.SQL("count(*) FILTER (WHERE {} < {}) = 0").format(
            sql.Identifier(second.name), sql.Identifier(first.name)
        )
        yield "ordered", (first.name, second.name), query


def _pairs(columns: Sequence[Column]) -> Iterator[tuple[Column, Column]]:
    """A beginning and its end: ``starts_on`` and ``ends_on``, ``date_debut`` and ``date_fin``."""
    known = {column.name: column for column in columns if column.type in _MOMENTS}
    for name, column in known.items():
        for start, end in _STARTS.items():
            parts = [end if part == start else part for part in name.split("_")]
            other = known.get("_".join(parts))
            if other is not None and other is not column and other.type == column.type:
                yield column, other
