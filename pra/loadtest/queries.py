"""The queries of the load: small files for ``pgbench``, one a query, each with the name it is reported by.

The ones that AKIG's application sends are shipped; `pra.loadtest.generated` makes some for other databases.
A file::

    -- weight: 8
    -- writes: public.payments
    -- needs: contracts = SELECT max(id) FROM public.contracts
    \\set contract random(1, :contracts)
    SELECT … WHERE contract_id = :contract;

``needs`` are whole numbers asked of the restored database beforehand, the same for every server compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from pra.errors import ConnectError, PostgresError, UsageError
from pra.postgres.connect import Connection, postgres_errors

_HEAD = re.compile(r"^-- (weight|writes|needs): (.+)$", re.MULTILINE)
_SET = re.compile(r"^\\set (\w+) random\((\S+), (\S+)\)$", re.MULTILINE)
_VARIABLE = re.compile(r"(?<![:\w]):([a-z_]\w*)")
_CONTROL = ("begin", "commit", "rollback", "set ")


@dataclass(frozen=True)
class Script:
    """One query, or one transaction of several statements.

    Attributes:
        weight: How often it is sent, in relation to the others.
        writes: Tables whose rows it changes for good, ``schema.name``; a trailing ``*`` is for partitions.
        needs: Queries for whole numbers, by the variable that takes them.
    """

    name: str
    text: str
    weight: int = 1
    writes: tuple[str, ...] = ()
    needs: tuple[tuple[str, str], ...] = ()

    def statements(self, values: Mapping[str, int]) -> tuple[str, ...]:
        """What can be explained, with a value in the middle of its range for every variable."""
        known = {name: str(value) for name, value in values.items()}
        for name, low, high in _SET.findall(self.text):
            ends = [int(_filled(end, known)) for end in (low, high)]
            known[name] = str(sum(ends) // 2)
        body = "\n".join(line for line in self.text.splitlines() if not line.startswith(("--", "\\")))
        parts = [" ".join(part.split()) for part in body.split(";")]
        return tuple(_filled(part, known) for part in parts if part and not part.lower().startswith(_CONTROL))


def _filled(text: str, known: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: known.get(found[1], found[0]), text)


def parse(name: str, text: str) -> Script:
    """Read a file of the form above.

    Raises:
        UsageError: A head line is not of that form.
    """
    weight, writes, needs = 1, [], []
    for word, value in _HEAD.findall(text):
        if word == "weight":
            weight = int(value)
        elif word == "writes":
            writes += value.split()
        else:
            variable, equals, query = value.partition(" = ")
            if not equals:
                raise UsageError(f"{name}: needs {value!r} names no query", op="read load script")
            needs.append((variable, query))
    return Script(name, text, weight, tuple(writes), tuple(needs))


def akig() -> tuple[Script, ...]:
    """What AKIG's application asks: contracts, invoices, payments, messages; most of it reading."""
    folder = files(__package__) / "akig"
    found = sorted(each.name for each in folder.iterdir() if each.name.endswith(".sql"))
    return tuple(parse(name.removesuffix(".sql"), (folder / name).read_text()) for name in found)


def values_of(connection: Connection, scripts: Sequence[Script]) -> dict[str, int]:
    """Ask for every number that the scripts need; an empty table gives 1.

    Raises:
        PostgresError: A table or column is not there.
    """
    found = {}
    for name, query in dict(need for script in scripts for need in script.needs).items():
        with postgres_errors(f"ask for {name}"):
            row = connection.execute(query.encode()).fetchone()
        found[name] = int(row[0]) if row and row[0] is not None else 1
    return found


def usable(connection: Connection, scripts: Sequence[Script]) -> tuple[Script, ...]:
    """Those whose tables and columns are all there: PostgreSQL plans each statement, and runs none."""
    return tuple(script for script in scripts if _is_usable(connection, script))


def _is_usable(connection: Connection, script: Script) -> bool:
    try:
        values = values_of(connection, (script,))
        with postgres_errors("plan query"):
            for statement in script.statements(values):
                connection.execute(f"EXPLAIN {statement}".encode())
    except ConnectError:
        raise
    except PostgresError as error:
        if error.transient:
            raise
        return False
    return True
