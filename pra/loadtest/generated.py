"""Queries for a database that is not AKIG's, made from its critical tables: keys, ranges, children, updates.

A table takes part as far as its shape allows: rows are picked through a whole-number primary key, and every
table with any primary key is read page by page. Updates set a column to what it holds already, and roll back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from pra.loadtest.queries import Script, parse
from pra.postgres.connect import Connection, postgres_errors

MOST_TABLES = 6
_PAGE, _RANGE = 50, 100
_TABLES = """
SELECT n.nspname::text, c.relname::text, k.name, k.whole, p.name
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL (
      SELECT min(a.attname::text) AS name, count(*) AS columns,
             bool_and(a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)) AS whole
        FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a
          ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
       WHERE i.indrelid = c.oid AND i.indisprimary) k
  LEFT JOIN LATERAL (
      SELECT a.attname::text AS name FROM pg_catalog.pg_attribute a
       WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
         AND a.attidentity = ''
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i
                         WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey))
       ORDER BY a.attnum LIMIT 1) p ON true
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p' AND k.columns = 1
   AND n.nspname !~ '^(pg_|information_schema$)'
   AND (cardinality(%(named)s::text[]) = 0 OR n.nspname || '.' || c.relname = ANY (%(named)s)
        OR (n.nspname = 'public' AND c.relname = ANY (%(named)s)))
 ORDER BY pg_catalog.pg_total_relation_size(c.oid) DESC LIMIT %(most)s
"""
_CHILDREN = """
SELECT n.nspname::text, c.relname::text, a.attname::text, fn.nspname::text, f.relname::text, fa.attname::text
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class f ON f.oid = k.confrelid JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[1]
  JOIN pg_catalog.pg_attribute fa ON fa.attrelid = f.oid AND fa.attnum = k.confkey[1]
 WHERE k.contype = 'f' AND k.conparentid = 0 AND cardinality(k.conkey) = 1
   AND fa.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
   AND EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum)
 ORDER BY pg_catalog.pg_total_relation_size(c.oid) DESC, 1, 2, 3
"""


@dataclass(frozen=True)
class _Table:
    """``key`` is the primary key's only column; ``plain`` a column that no index has, if there is one."""

    schema: str
    name: str
    key: str
    whole: bool
    plain: str | None

    @property
    def said(self) -> str:
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


def generate(connection: Connection, critical: Sequence[str]) -> tuple[Script, ...]:
    """Make the queries; empty where no table has a primary key of one column.

    Args:
        critical: ``table`` or ``schema.table``; empty: the largest ones.

    Raises:
        PostgresError: The catalogue cannot be read.
    """
    with postgres_errors("look for tables"):
        rows = connection.execute(_TABLES, {"named": list(critical), "most": MOST_TABLES}).fetchall()
        children = connection.execute(_CHILDREN).fetchall()
    tables = [_Table(*row) for row in rows]
    scripts: list[Script] = []
    for number, table in enumerate(tables):
        scripts += _of_table(connection, table, f"t{number}")
    chosen = {(table.schema, table.name) for table in tables}
    for number, child in enumerate([row for row in children if (row[0], row[1]) in chosen]):
        scripts.append(_of_child(connection, child, f"f{number}"))
    return tuple(scripts)


def _of_table(connection: Connection, table: _Table, variable: str) -> list[Script]:
    place, key = sql.Identifier(table.schema, table.name), sql.Identifier(table.key)
    page = sql.SQL("SELECT * FROM {} ORDER BY {} LIMIT {};").format(place, key, sql.Literal(_PAGE))
    if not table.whole:
        return [_script(connection, f"{table.said} first page", 2, (), page)]
    ends = _ends(connection, variable, place, key)
    drawn = (*ends, f"\\set key random(:{variable}_low, :{variable}_high)")
    by_key = sql.SQL("SELECT * FROM {} WHERE {} = ").format(place, key)
    found = [
        _script(connection, f"{table.said} by key", 10, drawn, by_key, ":key;"),
        _script(
            connection,
            f"{table.said} by range",
            4,
            drawn,
            sql.SQL("SELECT * FROM {} WHERE {} >= ").format(place, key),
            f":key ORDER BY {key.as_string(connection)} LIMIT {_RANGE};",
        ),
    ]
    if table.plain is not None:
        plain = sql.Identifier(table.plain)
        update = sql.SQL("BEGIN;\nUPDATE {0} SET {1} = {1} WHERE {2} = ").format(place, plain, key)
        found.append(
            _script(connection, f"{table.said} update, rolled back", 3, drawn, update, ":key;\nROLLBACK;")
        )
    return found


def _of_child(connection: Connection, child: Sequence[str], variable: str) -> Script:
    schema, name, column, parent_schema, parent, key = child
    ends = _ends(connection, variable, sql.Identifier(parent_schema, parent), sql.Identifier(key))
    drawn = (*ends, f"\\set key random(:{variable}_low, :{variable}_high)")
    query = sql.SQL("SELECT * FROM {} WHERE {} = ").format(
        sql.Identifier(schema, name), sql.Identifier(column)
    )
    said = name if schema == "public" else f"{schema}.{name}"
    return _script(connection, f"{said} by {column}", 6, drawn, query, f":key LIMIT {_RANGE};")


def _ends(
    connection: Connection, variable: str, place: sql.Identifier, key: sql.Identifier
) -> tuple[str, str]:
    low, high = (
        f"-- needs: {variable}_{end} = "
        + sql.SQL("SELECT {}({}) FROM {}").format(sql.SQL(function), key, place).as_string(connection)
        for end, function in (("low", "min"), ("high", "max"))
    )
    return low, high


def _script(
    connection: Connection, name: str, weight: int, head: Sequence[str], query: sql.Composed, tail: str = ""
) -> Script:
    text = "\n".join((f"-- weight: {weight}", *head, query.as_string(connection) + tail, ""))
    return parse(name, text)
