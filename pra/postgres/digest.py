"""The digest of a table: pure builders of its SQL, and the arithmetic that puts parts together.

A digest must change with every change of a row, and be the same before a dump and after its restore.
PostgreSQL's own record hash fails both: it is linear (two rows that swap values cancel out) and hashes by
equality (``1.0`` is ``1.00``, ``-0`` is ``0``, ``1 month`` is ``30 days``); enums and ``reg*`` hash by OID,
and json, xml, money, bit and geometric types not at all. So:

- every column goes in as something whose equality is byte identity: types for which that holds as they are,
  numbers and times with hidden spellings in their binary wire form, strings under ``COLLATE "C"``, and
  everything else together as text, spelled by the types' own output functions (a user-defined cast to text
  may lose information, so ``ROW(…)::text`` and never ``column::text``);
- eight-byte types in wire form too: their own hash folds them to 32 bits, where 1 and 2^32 collide;
- columns by name, since a restore may reorder the columns of an inheritance child;
- the row's 64-bit hash is hashed again, half by half, before it is summed: that breaks the linearity;
- the two sums are modulo 2^64 and come with the row count. XOR would lose doubled rows.

``OFFSET 0`` keeps the planner from pulling subqueries up, which would compute each hash once per use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import sql

# OIDs below 10000 are fixed for ever: src/include/catalog/pg_type.dat.
_NATIVE: dict[int, LiteralString] = {
    16: "bool",
    17: "bytea",
    18: '"char"',
    19: "name",
    21: "int2",
    23: "int4",
    26: "oid",
    1082: "date",
    2950: "uuid",
}
_STRING: dict[int, LiteralString] = {25: "text", 1043: "varchar"}
# No cast for these: x::bit would cut to one bit.
_WIRE: dict[int, LiteralString] = {
    20: "int8send",
    790: "cash_send",
    829: "macaddr_send",
    774: "macaddr8_send",
    869: "inet_send",
    650: "cidr_send",
    1042: "bpcharsend",
    1083: "time_send",
    1114: "timestamp_send",
    1184: "timestamptz_send",
    1186: "interval_send",
    1266: "timetz_send",
    1560: "bit_send",
    1562: "varbit_send",
    1700: "numeric_send",
    3220: "pg_lsn_send",
}
SEEDS = (0x5052415F, 0x66696E67, 0x70726E74)
_BLOCK = 2**32
_MODULUS = 2**64


@dataclass(frozen=True)
class Column:
    """A column, with the OID of its type; of the base type, where that is a domain."""

    name: str
    base_type: int


@dataclass(frozen=True)
class Part:
    """A range of a table's pages, first included and last not; None is an open end."""

    first: int | None = None
    last: int | None = None


@dataclass(frozen=True)
class Sums:
    """Rows and the two sums of their hashes; parts of a table add up."""

    rows: int = 0
    first: int = 0
    second: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.rows + other.rows,
            (self.first + other.first) % _MODULUS,
            (self.second + other.second) % _MODULUS,
        )

    @property
    def hex(self) -> str:
        return f"{self.first:016x}{self.second:016x}"


def sums_of(row: Sequence[Any]) -> Sums:
    """Put together what ``digest_sql`` (five columns) or ``count_sql`` (one column) answered."""
    if len(row) == 1:
        return Sums(int(row[0]))
    rows, high, low, high_2, low_2 = (int(value or 0) for value in row)
    return Sums(rows, (high * _BLOCK + low) % _MODULUS, (high_2 * _BLOCK + low_2) % _MODULUS)


def row_expressions(columns: Sequence[Column]) -> list[sql.Composable]:
    """The values that stand for one row: safe columns each by itself, the others together as text."""
    ordered = sorted(columns, key=lambda column: column.name.encode())
    expressions: list[sql.Composable] = []
    spelled: list[sql.Composable] = []
    for column in ordered:
        name, oid = sql.Identifier(column.name), column.base_type
        if oid in _NATIVE:
            expressions.append(sql.SQL("{}::" + _NATIVE[oid]).format(name))
        elif oid in _STRING:
            expressions.append(sql.SQL("{}::" + _STRING[oid] + ' COLLATE "C"').format(name))
        elif oid in _WIRE:
            expressions.append(sql.SQL(_WIRE[oid] + "({})").format(name))
        else:
            spelled.append(name)
    if spelled:
        expressions.append(sql.SQL('ROW({})::text COLLATE "C"').format(sql.SQL(", ").join(spelled)))
    return expressions


def digest_sql(
    schema: str, name: str, columns: Sequence[Column], part: Part = Part(), condition: str = ""
) -> sql.Composed:  # fmt: skip
    """One scan over a table or a part of it: row count, and high and low halves of both sums.

    ``condition`` is a ``WHERE …`` of a trusted catalogue (an extension's configuration table).
    """
    return summed(_hashed(row_expressions(columns)), _source(schema, name, part, condition))


def count_sql(schema: str, name: str, part: Part = Part(), condition: str = "") -> sql.Composed:
    """Row count alone."""
    return sql.SQL("SELECT count(*) FROM {}").format(_source(schema, name, part, condition))


def summed(row_hash: sql.Composable, source: sql.Composable) -> sql.Composed:
    """Sum a 64-bit row hash over a source: mixed first, in halves so that no sum can overflow."""
    return sql.SQL(
        "SELECT count(*), sum(a >> 32), sum(a & 4294967295), sum(b >> 32), sum(b & 4294967295) FROM ("
        "SELECT hashint4extended((h >> 32)::int4, {}) AS a, hashint4extended((h << 32 >> 32)::int4, {}) AS b "
        "FROM (SELECT {} AS h FROM {} OFFSET 0) AS hashed OFFSET 0) AS mixed"
    ).format(sql.Literal(SEEDS[1]), sql.Literal(SEEDS[2]), row_hash, source)


def _hashed(expressions: Sequence[sql.Composable]) -> sql.Composable:
    if not expressions:
        return sql.SQL("0::int8")  # a table without columns: its rows can only be counted
    return sql.SQL("hash_record_extended(ROW({}), {})").format(
        sql.SQL(", ").join(expressions), sql.Literal(SEEDS[0])
    )


def _source(schema: str, name: str, part: Part, condition: str) -> sql.Composable:
    bounds = []
    if part.first is not None:
        bounds.append(sql.SQL("ctid >= {}::tid").format(sql.Literal(f"({part.first},0)")))
    if part.last is not None:
        bounds.append(sql.SQL("ctid < {}::tid").format(sql.Literal(f"({part.last},0)")))
    where: sql.Composable = sql.SQL("")
    if bounds:
        where = sql.SQL(" WHERE {}").format(sql.SQL(" AND ").join(bounds))
    elif condition:
        where = sql.SQL(" {}").format(sql.SQL(condition))
    return sql.SQL("ONLY {}{}").format(sql.Identifier(schema, name), where)


def parts_of(pages: int, weight: int, share: int) -> tuple[Part, ...]:
    """Cut a table so that no part is much heavier than ``share`` (bytes).

    Args:
        pages: Of its main fork; parts are page ranges, so there are never more parts than pages.
        weight: Its bytes with TOAST.
        share: Bytes that one part should have at most.

    The last part is open: rows of the snapshot may lie past a size that was read a moment ago.
    """
    number = max(1, min(pages, -(-weight // share)))
    edges = [pages * i // number for i in range(1, number)]
    return tuple(Part(a, b) for a, b in zip([None, *edges], [*edges, None], strict=True))
