"""What a load test measures, as numbers. Pure. Seconds and bytes, unless a name says otherwise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal, Self

RoundKind = Literal["backup", "restore", "restore-fast"]
"""``restore``: with the settings of a server one keeps; ``restore-fast``: with the sandbox's (no fsync)."""


@dataclass(frozen=True)
class Spread:
    """The middle of some measurements, and how far they lie apart."""

    median: float
    least: float
    most: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Self | None:
        """None where nothing was measured."""
        known = list(values)
        return cls(median(known), min(known), max(known), len(known)) if known else None


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed (nearest rank).

    Args:
        ordered: Ascending; at least one.
        share: Above 0, at most 1.
    """
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


@dataclass(frozen=True)
class Round:
    """One backup or restore.

    Attributes:
        stored: Bytes in the repository, compressed and encrypted.
        raw: Bytes of the database, or of the server's files.
        phases: Seconds of its steps, by name.
    """

    kind: RoundKind
    seconds: float
    stored: int
    raw: int
    phases: tuple[tuple[str, float], ...] = ()

    @property
    def stored_rate(self) -> float:
        """Bytes a second."""
        return self.stored / self.seconds if self.seconds else 0.0

    @property
    def raw_rate(self) -> float:
        """Bytes a second."""
        return self.raw / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "milliseconds": round(self.seconds * 1000),
            "stored_bytes": self.stored,
            "raw_bytes": self.raw,
            "phases": [{"name": name, "milliseconds": round(s * 1000)} for name, s in self.phases],
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        phases = tuple((p["name"], p["milliseconds"] / 1000) for p in found["phases"])
        return cls(
            found["kind"], found["milliseconds"] / 1000, found["stored_bytes"], found["raw_bytes"], phases
        )


def of_kind(rounds: Sequence[Round], kind: RoundKind) -> tuple[Round, ...]:
    return tuple(each for each in rounds if each.kind == kind)


def seconds_of(rounds: Sequence[Round], kind: RoundKind) -> Spread | None:
    return Spread.of(each.seconds for each in rounds if each.kind == kind)


def durable_ratio(rounds: Sequence[Round]) -> float | None:
    """How many times longer a restore takes with durable settings than with the sandbox's: of medians."""
    durable, fast = seconds_of(rounds, "restore"), seconds_of(rounds, "restore-fast")
    return durable.median / fast.median if durable and fast and fast.median else None


@dataclass(frozen=True)
class Query:
    """One query, or one transaction, under load. ``median``, ``p95`` and ``p99`` are of its own runs."""

    name: str
    count: int
    median: float
    p95: float
    p99: float

    @classmethod
    def of(cls, name: str, seconds: Sequence[float]) -> Self:
        """Raises ValueError where it never ran."""
        if not seconds:
            raise ValueError(f"{name} never ran")
        ordered = sorted(seconds)
        return cls(name, len(ordered), *(percentile(ordered, share) for share in (0.5, 0.95, 0.99)))

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "count": self.count,
            **{
                f"{name}_microseconds": round(value * 1e6)
                for name, value in (("median", self.median), ("p95", self.p95), ("p99", self.p99))
            },
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        values = (found[f"{name}_microseconds"] / 1e6 for name in ("median", "p95", "p99"))
        return cls(found["name"], found["count"], *values)


@dataclass(frozen=True)
class Load:
    """One run of the whole mixture.

    Attributes:
        failed: Transactions that the server refused, such as deadlocks.
    """

    clients: int
    seconds: float
    transactions: int
    failed: int
    queries: tuple[Query, ...]

    @property
    def tps(self) -> float:
        """Transactions a second."""
        return self.transactions / self.seconds if self.seconds else 0.0

    def query(self, name: str) -> Query | None:
        return next((each for each in self.queries if each.name == name), None)

    def as_json(self) -> dict[str, Any]:
        return {
            "clients": self.clients,
            "milliseconds": round(self.seconds * 1000),
            "transactions": self.transactions,
            "failed": self.failed,
            "queries": [each.as_json() for each in self.queries],
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        return cls(
            found["clients"],
            found["milliseconds"] / 1000,
            found["transactions"],
            found["failed"],
            tuple(Query.from_json(each) for each in found["queries"]),
        )


@dataclass(frozen=True)
class ApiLoad:
    """The application's endpoints under concurrent requests. ``path`` of each is without its query."""

    clients: int
    seconds: float
    requests: int
    errors: int
    median: float
    p95: float
    endpoints: tuple[Query, ...]

    @property
    def error_rate(self) -> float:
        """From 0 to 1."""
        return self.errors / self.requests if self.requests else 1.0

    def as_json(self) -> dict[str, Any]:
        return {
            "clients": self.clients,
            "milliseconds": round(self.seconds * 1000),
            "requests": self.requests,
            "errors": self.errors,
            "median_microseconds": round(self.median * 1e6),
            "p95_microseconds": round(self.p95 * 1e6),
            "endpoints": [each.as_json() for each in self.endpoints],
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        return cls(
            found["clients"],
            found["milliseconds"] / 1000,
            found["requests"],
            found["errors"],
            found["median_microseconds"] / 1e6,
            found["p95_microseconds"] / 1e6,
            tuple(Query.from_json(each) for each in found["endpoints"]),
        )
