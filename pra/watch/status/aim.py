"""What a probe is given: one target with its settings, and the present as this pass sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pra.postgres.connect import Connection
from pra.procedures.context import Context
from pra.settings import Status
from pra.watch.status.asking import Source
from pra.watch.status.finding import Finding, Level
from pra.watch.status.record import Record

CONNECT_SECONDS = 5
"""A server that does not let us in within this is down for its users as well."""


@dataclass(frozen=True)
class Aim:
    """One target.

    Attributes:
        now: When the pass began.
        context: Its handles; probes change nothing through it.
        record: What the evidence says.
        earlier: The value a finding had about a day ago; None where nobody knows.
        database, sources: Whether the database, and each repository, has answered in this pass.
    """

    context: Context
    now: datetime
    record: Record
    earlier: Callable[[str], float | None] = lambda _name: None
    database: Source = field(default_factory=lambda: Source("the database", tries=1))
    sources: Mapping[str, Source] = field(default_factory=dict)

    def source(self, repository: str) -> Source:
        return self.sources[repository]

    @property
    def name(self) -> str:
        return self.context.target.name

    @property
    def status(self) -> Status:
        return self.context.settings.status

    def connect(self) -> Connection:
        """Raises ConnectError."""
        seconds = max(1, round(self.status.limit.total_seconds() / 2))
        return self.context.server.connect(
            statement_seconds=seconds, application="pra status", connect_timeout=CONNECT_SECONDS
        )

    def ok(self, name: str, message: str, value: float | None = None, unit: str = "") -> Finding:
        return Finding(name, self.name, Level.OK, message, value, unit)

    def bad(
        self, level: Level, name: str, message: str, hint: str, value: float | None = None, unit: str = ""
    ) -> Finding:
        return Finding(name, self.name, level, message, value, unit, hint=hint)


def size(count: float) -> str:
    """Bytes as a person reads them, in powers of 1000: ``647 MB``."""
    number, units = float(count), ["B", "kB", "MB", "GB", "TB", "PB"]
    while abs(number) >= 1000 and len(units) > 1:
        number, units = number / 1000, units[1:]
    return f"{number:.0f} {units[0]}" if abs(number) >= 10 or units[0] == "B" else f"{number:.1f} {units[0]}"
