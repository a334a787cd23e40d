"""Where sequences stand. They live outside snapshots: read them just before the dump."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import batched

from psycopg import sql

from pra.postgres.connect import Connection, postgres_errors
from pra.postgres.facts import Difference, SequenceValue

# A sequence "covers" its column when nothing there lies at or past its next value. Asked only where the
# column is an integer and leads a btree index: elsewhere it would cost a scan of the table in production.
_SEQUENCES = """
SELECT s.nspname, c.relname, q.seqincrement, q.seqcycle,
       o.nspname, t.relname, a.attname,
       coalesce(a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) AND EXISTS (
           SELECT FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid
                JOIN pg_am AS m ON m.oid = x.relam
           WHERE i.indrelid = t.oid AND i.indkey[0] = a.attnum AND i.indpred IS NULL AND i.indisvalid
             AND m.amname = 'btree')
           AND (t.relpersistence <> 'u' OR NOT pg_is_in_recovery()), false)
FROM pg_class AS c
JOIN pg_namespace AS s ON s.oid = c.relnamespace
JOIN pg_sequence AS q ON q.seqrelid = c.oid
LEFT JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
     AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
LEFT JOIN pg_class AS t ON t.oid = d.refobjid
LEFT JOIN pg_namespace AS o ON o.oid = t.relnamespace
LEFT JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND s.nspname !~ '^pg_'
  AND (c.relpersistence <> 'u' OR NOT pg_is_in_recovery())
  AND (NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid
                   AND e.deptype = 'e')
       OR EXISTS (SELECT FROM pg_extension AS e WHERE c.oid = ANY (e.extconfig)))
ORDER BY 1, 2
"""


@dataclass(frozen=True)
class _Sequence:
    schema: str
    name: str
    increment: int
    cycle: bool
    owner: tuple[str, str, str] | None
    comparable: bool


def read_sequences(conn: Connection) -> tuple[SequenceValue, ...]:
    """Every sequence's position, in order of name; during recovery without the unlogged ones.

    Raises:
        RightsError: The role may not read one of them.
        PostgresError: The server refused.
    """
    with postgres_errors("read sequences", "Grant SELECT on the sequence that the message names."):
        known = [
            _Sequence(schema, name, increment, cycle, (o, t, a) if o else None, comparable)
            for schema, name, increment, cycle, o, t, a, comparable in conn.execute(_SEQUENCES)
        ]
        return tuple(value for group in batched(known, 200) for value in _positions(conn, group))


def _positions(conn: Connection, group: Sequence[_Sequence]) -> Iterator[SequenceValue]:
    query = sql.SQL(" UNION ALL ").join(_position_sql(i, sequence) for i, sequence in enumerate(group))
    rows = {row[0]: row[1:] for row in conn.execute(query)}
    for i, sequence in enumerate(group):
        last_value, is_called, covers = rows[i]
        owned_by = ".".join(sequence.owner) if sequence.owner else ""
        yield SequenceValue(
            sequence.schema, sequence.name, last_value, is_called, sequence.increment, sequence.cycle,
            owned_by, covers,
        )  # fmt: skip


def _position_sql(index: int, sequence: _Sequence) -> sql.Composable:
    covers: sql.Composable = sql.SQL("NULL::bool")
    if sequence.owner and sequence.comparable:
        schema, table, column = map(sql.Identifier, sequence.owner)
        extreme, beyond = ("max", ">") if sequence.increment > 0 else ("min", "<")
        covers = sql.SQL(
            "coalesce(last_value::numeric + CASE WHEN is_called THEN {}::int8 ELSE 0 END " + beyond
            + " (SELECT " + extreme + "({}) FROM {}.{}), true)"
        ).format(sql.Literal(sequence.increment), column, schema, table)  # fmt: skip
    return sql.SQL("SELECT {}, last_value, is_called, {} FROM {}").format(
        sql.Literal(index), covers, sql.Identifier(sequence.schema, sequence.name)
    )


def compare_sequences(
    expected: Sequence[SequenceValue], observed: Sequence[SequenceValue]
) -> list[Difference]:
    """What is wrong with restored sequences: missing, behind where they stood, or behind their column.

    Being further on is right: production handed out values between our reading and the dump's. A sequence
    that was behind its column when it was backed up may stay so. One that cycles has no "behind".
    """
    found = {(value.schema, value.name): value for value in observed}
    differences = []
    for was in expected:
        now = found.pop((was.schema, was.name), None)
        name = f"sequence {was.identity}"
        if now is None:
            differences.append(Difference(name, "existence", "present", "missing"))
            continue
        sign = 1 if was.increment > 0 else -1
        if not was.cycle and (now.next_value - was.next_value) * sign < 0:
            differences.append(
                Difference(name, "position", f"next value at or past {was.next_value}", str(now.next_value))
            )
        if now.covers is False and was.covers is not False and not was.cycle:
            differences.append(
                Difference(
                    name, "position", f"past its column {now.owned_by}", f"next value {now.next_value}"
                )
            )
    differences.extend(
        Difference(f"sequence {extra.identity}", "existence", "absent", "present") for extra in found.values()
    )
    return differences
