"""The digest of large objects: from their table, or through the functions that a weaker role may use.

A large object may have holes, which a dump turns into zeros: trailing zeros of a page and pages of zeros do
not count, the object's size does.
"""

from __future__ import annotations

from psycopg import sql

from pra.postgres.connect import Connection, one_value
from pra.postgres.digest import SEEDS, Sums, summed, sums_of

_PAGES = sql.SQL(
    "pg_largeobject CROSS JOIN LATERAL (SELECT rtrim(data, '\\x00') AS bytes OFFSET 0) AS page "
    "WHERE bytes <> ''"
)
_SIZES = sql.SQL(
    "(SELECT m.oid AS loid, coalesce(max(pageno * (current_setting('block_size')::int8 / 4) "
    "+ octet_length(data)), 0) AS size FROM pg_largeobject_metadata AS m "
    "LEFT JOIN pg_largeobject AS p ON p.loid = m.oid GROUP BY m.oid) AS sizes"
)
_PAGE_HASH = sql.SQL("hash_record_extended(ROW(loid, pageno, bytes), {})").format(sql.Literal(SEEDS[0]))
_SIZE_HASH = sql.SQL("hash_record_extended(ROW(loid, int8send(size)), {})").format(sql.Literal(SEEDS[0]))
_READ = 262144  # INV_READ


def count(conn: Connection) -> int:
    return int(one_value(conn, "SELECT count(*) FROM pg_largeobject_metadata"))


def readable_at_once(conn: Connection) -> bool:
    """Whether the role may read their table, as ``pg_read_all_data`` may."""
    return bool(one_value(conn, "SELECT has_table_privilege('pg_largeobject', 'SELECT')"))


def queries() -> tuple[sql.Composed, ...]:
    """Two queries whose sums add up to the digest: all pages, and all sizes."""
    return summed(_PAGE_HASH, _PAGES), summed(_SIZE_HASH, _SIZES)


def one_by_one(conn: Connection) -> Sums:
    """The same sums for a role that may only open each object; slower, one object after the other."""
    total = Sums()
    page = int(one_value(conn, "SELECT current_setting('block_size')::int8 / 4"))
    numbers = conn.execute("SELECT oid::int8 FROM pg_largeobject_metadata ORDER BY oid").fetchall()
    for (number,) in numbers:
        handle = one_value(conn, "SELECT lo_open(%s::oid, %s)", number, _READ)
        size = int(one_value(conn, "SELECT lo_lseek64(%s, 0, 2)", handle))
        conn.execute("SELECT lo_close(%s)", (handle,))
        pages = sql.SQL(
            "(SELECT {0}::oid AS loid, g::int4 AS pageno, "
            "rtrim(lo_get({0}::oid, g * {1}::int8, {1}), '\\x00') AS bytes "
            "FROM generate_series(0, {2}::int8) AS g OFFSET 0) AS page WHERE bytes <> ''"
        ).format(sql.Literal(number), sql.Literal(page), sql.Literal((size - 1) // page))
        sizes = sql.SQL("(SELECT {}::oid AS loid, {}::int8 AS size) AS sizes").format(
            sql.Literal(number), sql.Literal(size)
        )
        for query in (summed(_PAGE_HASH, pages), summed(_SIZE_HASH, sizes)):
            total += sums_of(conn.execute(query).fetchone() or (0,))
    return total
