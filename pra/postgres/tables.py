"""Which tables hold the rows that a dump would carry."""

from __future__ import annotations

from dataclasses import dataclass

from pra.postgres.connect import Connection
from pra.postgres.digest import Column

# Rows that a dump would hold: no system, temporary or foreign tables, no partitioned parents (their leaves
# are there); tables of extensions only where declared as configuration, and there the rows that it names.
_TABLES = """
SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text, c.relpersistence::text, c.relispopulated,
       coalesce(pg_relation_size(c.oid), 0) / current_setting('block_size')::int8,
       coalesce(pg_table_size(c.oid), 0), coalesce(e.condition, ''), e.condition IS NOT NULL,
       ARRAY(SELECT a.attname::text FROM pg_attribute AS a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
       ARRAY(SELECT a.atttypid::int8 FROM pg_attribute AS a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
       coalesce(m.amname, '') = 'heap'
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_am AS m ON m.oid = c.relam
LEFT JOIN (SELECT unnest(extconfig) AS oid, unnest(extcondition) AS condition FROM pg_extension) AS e
     ON e.oid = c.oid
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (e.oid IS NOT NULL OR NOT EXISTS (
      SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
      AND d.deptype = 'e'))
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""
_DOMAINS = "SELECT oid::int8, typbasetype::int8 FROM pg_type WHERE typtype = 'd'"


@dataclass(frozen=True)
class Table:
    """A table, partition or materialized view whose rows are compared.

    Attributes:
        kind: As in ``TableDigest``.
        pages: Of its main fork. ``bytes`` counts TOAST too.
        condition: ``WHERE …`` of an extension's configuration table, else empty.
        divisible: Whether it may be read in ranges of pages.
    """

    schema: str
    name: str
    kind: str
    pages: int
    bytes: int
    condition: str
    columns: tuple[Column, ...]
    divisible: bool


def list_tables(conn: Connection) -> list[Table]:
    """Every table whose rows a dump would hold, in order of name."""
    base: dict[int, int] = dict(conn.execute(_DOMAINS).fetchall())

    def resolve(oid: int) -> int:
        while oid in base:
            oid = base[oid]
        return oid

    tables = []
    for row in conn.execute(_TABLES):
        _, schema, name, relkind, persistence, populated, pages, size, condition, configured, *rest = row
        names, types, heap = rest
        kind = "unlogged" if persistence == "u" else "configuration" if configured else "table"
        if relkind == "m":
            kind = "matview" if populated else "matview-unpopulated"
        columns = tuple(Column(n, resolve(t)) for n, t in zip(names, types, strict=True))
        tables.append(Table(schema, name, kind, pages, size, condition, columns, heap and not condition))
    return tables
