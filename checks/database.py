"""What a check is, and the few words that all of them use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pra.model import CheckResult
from pra.postgres.connect import Connection
from pra.restored import RestoredDatabase

Group = Literal["content", "structure", "business", "service", "continuity"]
Run = Callable[[RestoredDatabase], "CheckResult | list[CheckResult]"]
STATEMENT_SECONDS = 3600
DETAILS = 50


@dataclass(frozen=True)
class Check:
    """One question. ``results`` names every answer it must give: one that is missing was not asked.

    ``run`` may raise: the question then counts as not answered, never as passed.
    """

    name: str
    group: Group
    run: Run
    results: tuple[str, ...] = ()

    @property
    def required(self) -> tuple[str, ...]:
        return self.results or (self.name,)


def connect(db: RestoredDatabase) -> Connection:
    """A session of its own, autocommit, each statement limited to an hour; the caller closes it."""
    connection = db.server.connect(statement_seconds=STATEMENT_SECONDS, application="pra check")
    connection.execute("SET lock_timeout = '60s'")
    return connection


def bounded(lines: Sequence[str]) -> tuple[str, ...]:
    """At most `DETAILS` lines; the last says how many there were beyond."""
    if len(lines) <= DETAILS:
        return tuple(lines)
    return (*lines[: DETAILS - 1], f"and {len(lines) - DETAILS + 1} more")


def number(count: int, noun: str) -> str:
    """``1 table``, ``1,204 tables``, ``2 indexes``, ``3 queries``."""
    if noun.endswith("y") and not noun.endswith(("ey", "ay", "oy")):
        plural = noun[:-1] + "ies"
    else:
        plural = noun + ("es" if noun.endswith(("x", "s")) else "s")
    return f"{count:,} {noun if count == 1 else plural}"
