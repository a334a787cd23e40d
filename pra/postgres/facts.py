"""What is known about a database at one moment: the values that backup and verification compare.

They hold names, counts, digests and definitions, never a row's value. Definitions carry DDL, which may quote
constants: a fingerprint is stored encrypted; ``without_definitions`` is what may lie in the open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal

from pra.errors import IntegrityError
from pra.timing import from_iso, to_iso

SCHEMA_VERSION = "pra/fingerprint/1"
Depth = Literal["digest", "counts", "none"]


@dataclass(frozen=True)
class TableDigest:
    """One table's rows in one snapshot.

    Attributes:
        rows: How many.
        digest: 128 bits in hex, or None where only rows were counted (or a materialized view is empty
            because it was never populated: ``kind`` says so).
        bytes: Disk space with TOAST, without indexes; for continuity, not for comparison.
        kind: ``table``, ``unlogged``, ``configuration`` (an extension's table whose rows the user owns),
            ``matview`` or ``matview-unpopulated``.
    """

    schema: str
    name: str
    rows: int
    digest: str | None
    bytes: int
    kind: str

    @property
    def identity(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class LargeObjects:
    count: int
    digest: str | None


@dataclass(frozen=True)
class SequenceValue:
    """A sequence's position; sequences live outside snapshots.

    Attributes:
        last_value: The value stored; ``is_called`` says whether it was handed out already.
        increment: Its step, negative for a descending one.
        cycle: Whether it may wrap, which makes positions incomparable.
        owned_by: ``schema.table.column`` that it feeds, or empty.
        covers: Whether its next value lies past everything in that column; None where that is unknown
            (no such column, or no index to learn it from cheaply).
    """

    schema: str
    name: str
    last_value: int
    is_called: bool
    increment: int
    cycle: bool
    owned_by: str
    covers: bool | None

    @property
    def identity(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def next_value(self) -> int:
        return self.last_value + self.increment if self.is_called else self.last_value


@dataclass(frozen=True, order=True)
class Definition:
    """One object's definition in a form that survives dump and restore: names, never OIDs."""

    kind: str
    identity: str
    text: str


@dataclass(frozen=True)
class Difference:
    """One thing that is not as expected. ``expected`` and ``observed`` are counts, digests or bounded DDL."""

    object: str
    aspect: str
    expected: str
    observed: str

    def __str__(self) -> str:
        return f"{self.object}: {self.aspect}: expected {self.expected}, observed {self.observed}"


@dataclass(frozen=True)
class Fingerprint:
    """A database's content in one snapshot, its sequences just before it, and its definitions.

    Attributes:
        depth: ``digest``; ``counts`` where rows were only counted; ``none`` where no table was read.
        snapshot: The exported snapshot's id, for the record.
        visible: ``pg_current_snapshot()``: which transactions the content includes.
        seconds: How long reading took.
        matviews: Apart, since a restore recomputes them and they may rightly differ.
        gaps: What could not be read for lack of rights, by name.
    """

    depth: Depth
    server_version_num: int
    snapshot: str
    visible: str
    taken_at: datetime
    seconds: float
    tables: tuple[TableDigest, ...]
    matviews: tuple[TableDigest, ...]
    large_objects: LargeObjects
    sequences: tuple[SequenceValue, ...]
    definitions: tuple[Definition, ...]
    gaps: tuple[str, ...] = ()
    schema_version: str = SCHEMA_VERSION

    @property
    def major(self) -> int:
        return self.server_version_num // 10000

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    def without_definitions(self) -> Fingerprint:
        """The same without DDL: names, counts and digests only."""
        return replace(self, definitions=())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; ``from_json`` is its inverse."""
        return {
            "schema": self.schema_version,
            "depth": self.depth,
            "server_version_num": self.server_version_num,
            "snapshot": self.snapshot,
            "visible": self.visible,
            "taken_at": to_iso(self.taken_at),
            "seconds": round(self.seconds, 3),
            "tables": [asdict(table) for table in self.tables],
            "matviews": [asdict(view) for view in self.matviews],
            "large_objects": asdict(self.large_objects),
            "sequences": [asdict(sequence) for sequence in self.sequences],
            "definitions": [[d.kind, d.identity, d.text] for d in self.definitions],
            "gaps": list(self.gaps),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Fingerprint:
        """Read what ``to_json`` wrote.

        Raises:
            IntegrityError: It is of another schema, or a field is missing or misshapen.
        """
        found = data.get("schema")
        if found != SCHEMA_VERSION:
            raise IntegrityError(
                f"not a fingerprint of a known schema: {found!r}",
                op="read fingerprint",
                hint="Use the version of this software that wrote the backup, or a newer one.",
            )
        try:
            return cls(
                depth=data["depth"],
                server_version_num=int(data["server_version_num"]),
                snapshot=data["snapshot"],
                visible=data["visible"],
                taken_at=from_iso(data["taken_at"]),
                seconds=float(data["seconds"]),
                tables=_each(TableDigest, data["tables"]),
                matviews=_each(TableDigest, data["matviews"]),
                large_objects=LargeObjects(**data["large_objects"]),
                sequences=_each(SequenceValue, data["sequences"]),
                definitions=tuple(Definition(*entry) for entry in data["definitions"]),
                gaps=tuple(data["gaps"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"fingerprint is misshapen ({type(error).__name__})",
                op="read fingerprint",
                hint="The object was altered or cut short: use another backup or repository.",
            ) from error


def _each[T](kind: type[T], entries: Sequence[dict[str, Any]]) -> tuple[T, ...]:
    return tuple(kind(**entry) for entry in entries)
