"""Business rules proposed from a live database: what holds there and the database itself does not enforce.

The server is asked for counts and comparisons alone: no value of a row leaves it, so none can stand in a
suite, not even the few values of a status column (docs/adr/0016). Proposals are shown before they are
written; they are a beginning for the operator, who knows the business.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from checks.expectations import SCHEMA, Rule, Suite, TableRules
from checks.observing import Observed, list_tables, observe
from pra.messages import Translate
from pra.postgres.connect import Server, postgres_errors

TABLES, RULES = 25, 12
"""At most so many tables, and rules for each: a list that nobody reads through protects nothing."""
ENOUGH = 100
"""Rows from which on a regularity is more than chance."""
CRITICAL = 5
_SECONDS = 60
_LOCK_SECONDS = 5


@dataclass(frozen=True)
class Proposed:
    """What is shown to the operator.

    Attributes:
        critical: The tables without which there is no business, as far as one can tell from outside.
        unread: Tables whose columns were not read, since they are too large, locked or slow.
    """

    suite: Suite | None
    critical: tuple[str, ...]
    unread: tuple[str, ...]


def propose(server: Server, name: str, _: Translate) -> Proposed:
    """Look at a live database and propose rules. Reads only; every statement under a limit of its own.

    Args:
        name: Of the suite: the target's.

    Raises:
        ConnectError, PostgresError: The server was lost.
    """
    with (
        server.connect(statement_seconds=_SECONDS, application="pra propose rules") as connection,
        postgres_errors("propose rules"),
    ):
        connection.execute("SET default_transaction_read_only = on")
        connection.execute(f"SET lock_timeout = '{_LOCK_SECONDS}s'")
        tables = list_tables(connection)
        largest = sorted(tables, key=lambda table: (-table.bytes, table.label))[:TABLES]
        seen = [observe(connection, table) for table in sorted(largest, key=lambda table: table.label)]
    rules = [TableRules(each.table.label, found) for each in seen if (found := tuple(_rules(each, _)))]
    return Proposed(
        Suite(name, tuple(rules)) if rules else None,
        critical_tables(seen),
        tuple(each.table.label for each in seen if not each.exact),
    )


def critical_tables(seen: Sequence[Observed]) -> tuple[str, ...]:
    """Those that others refer to most and, of equals, that hold most; never an empty one."""
    filled = [each for each in seen if each.rows > 0]
    ranked = sorted(filled, key=lambda each: (-each.table.referred, -each.rows, each.table.label))
    return tuple(sorted(each.table.label for each in ranked[:CRITICAL]))


def floor_of(rows: int) -> int:
    """A tenth of the rows, rounded down to one digit; at least one.

    Below it nine of ten are gone, which no purge explains. Example: 5,775 rows, 500.
    """
    tenth = rows // 10
    if tenth < 10:
        return 1
    digits: int = 10 ** (len(str(tenth)) - 1)
    return tenth // digits * digits


def _rules(seen: Observed, _: Translate) -> Iterable[Rule]:
    if seen.rows < 1:
        return []
    floor = floor_of(seen.rows)
    says = _("there is at least 1 row") if floor == 1 else _("there are at least {count} rows")
    found = [
        Rule(says.format(count=floor), "expect_table_row_count_to_be_between", {"min_value": floor}),
    ]
    if seen.rows >= ENOUGH:
        found += [*_amounts(seen, _), *_order(seen, _), *_keys(seen, _), *_filled(seen, _)]
    return found[:RULES]


def _amounts(seen: Observed, _: Translate) -> Iterator[Rule]:
    between = "expect_column_values_to_be_between"
    for name in seen.positive:
        says = _("{column} is positive").format(column=name)
        yield Rule(says, between, {"column": name, "min_value": 0, "strict_min": True})
    for name in seen.not_negative:
        says = _("{column} is not negative").format(column=name)
        yield Rule(says, between, {"column": name, "min_value": 0})


def _order(seen: Observed, _: Translate) -> Iterator[Rule]:
    for start, end in seen.ordered:
        says = _("{end} is not before {start}").format(start=start, end=end)
        given = {
            "column_A": end,
            "column_B": start,
            "or_equal": True,
            "ignore_row_if": "either_value_is_missing",
        }
        yield Rule(says, "expect_column_pair_values_a_to_be_greater_than_b", given)


def _keys(seen: Observed, _: Translate) -> Iterator[Rule]:
    for name in seen.distinct:
        says = _("no two rows share their {column}").format(column=name)
        yield Rule(says, "expect_column_values_to_be_unique", {"column": name})


def _filled(seen: Observed, _: Translate) -> Iterator[Rule]:
    for name in seen.never_null:
        says = _("{column} is never missing").format(column=name)
        yield Rule(says, "expect_column_values_to_not_be_null", {"column": name})


def suite_text(suite: Suite, _: Translate) -> str:
    """The suite as YAML, with how to go on."""
    lines = [
        "# " + _("Proposed by pra init from what held in the database. Change it: you know the business."),
        "# " + _("How rules are written: checks/suites/akig.yaml. Write no data into says."),
        f"schema: {SCHEMA}",
        f"name: {suite.name}",
        "tables:",
    ]
    for table in suite.tables:
        lines.append(f"  {_quoted(table.table)}:")
        for rule in table.rules:
            # JSON is YAML: whatever a name holds, it stays a name.
            lines += [f"    - says: {_quoted(rule.says)}", f"      {rule.type}: {_quoted(rule.kwargs)}"]
    return "\n".join(lines) + "\n"


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
