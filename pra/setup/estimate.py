"""What retention will cost in bytes, before the first backup and after it. Pure.

How many backups are kept is not guessed: a year and a month of them at the schedule's interval is put before
`pra.retention.plan` itself. How large each will be is: from the database's size by the shares below until a
backup has been taken, from that one afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache

from pra.model import Engine
from pra.retention import BackupFacts, Policy, plan

DUMP_SHARE = 0.20
"""A compressed dump beside the database on disk: no indexes, no dead rows; ordinary data give 0.1 to 0.3."""
BASE_SHARE = 0.35
"""A compressed base backup beside the server on disk: indexes and all."""
INCREMENT_SHARE = 0.05
"""An hour's changes beside a full base backup."""
WAL_SHARE = 0.30
"""Compressed WAL beside what the server writes."""
_SIMULATED = timedelta(days=396)


@dataclass(frozen=True)
class Schedule:
    """How often backups are taken. ``full_every``: between full base backups, incremental ones between."""

    every: timedelta = timedelta(hours=1)
    full_every: timedelta = timedelta(days=1)


@dataclass(frozen=True)
class Cost:
    """What one repository will hold once retention has nothing more to wait for.

    Attributes:
        fulls, increments: How many backups are kept.
        full_bytes, increment_bytes: Of one, compressed and encrypted.
        wal_bytes: Of the window; None where nobody knows how much the server writes.
        source_bytes: What is backed up, as it lies on the server's disk.
        measured: By a backup; otherwise assumed by the database's size.
    """

    engine: Engine
    fulls: int
    increments: int
    full_bytes: int
    increment_bytes: int
    wal_bytes: int | None
    source_bytes: int
    measured: bool = False

    @property
    def share(self) -> float:
        """A full backup beside its source."""
        return self.full_bytes / self.source_bytes if self.source_bytes else 0.0

    @property
    def total(self) -> int:
        """Bytes, WAL included where it is known."""
        return self.fulls * self.full_bytes + self.increments * self.increment_bytes + (self.wal_bytes or 0)

    def with_backup(self, full_bytes: int) -> Cost:
        """The same by a full backup that was taken: its stored bytes."""
        return replace(
            self,
            full_bytes=full_bytes,
            increment_bytes=int(full_bytes * INCREMENT_SHARE) if self.increments else 0,
            measured=True,
        )


def retention_cost(
    policy: Policy,
    engine: Engine,
    source_bytes: int,
    *,
    wal_rate: float | None = None,
    incremental: bool = False,
    schedule: Schedule = Schedule(),
) -> Cost:
    """The cost by the size of what is backed up.

    Args:
        source_bytes: The database's, or of all databases of the server with the physical engine.
        wal_rate: Bytes of WAL a second; None: unknown.
        incremental: The server gives incremental base backups.
    """
    fulls, increments = kept(policy, engine, incremental=incremental, schedule=schedule)
    full = int(source_bytes * (BASE_SHARE if engine == "physical" else DUMP_SHARE))
    wal: int | None = 0
    if engine == "physical":
        # The window reaches back to the base backup before its beginning: a day more.
        seconds = (policy.window + timedelta(days=1)).total_seconds()
        wal = None if wal_rate is None else int(wal_rate * seconds * WAL_SHARE)
    increment = int(full * INCREMENT_SHARE) if increments else 0
    return Cost(engine, fulls, increments, full, increment, wal, source_bytes)


@cache
def kept(policy: Policy, engine: Engine, *, incremental: bool, schedule: Schedule) -> tuple[int, int]:
    """Full backups and incremental ones that retention keeps in the long run.

    Example: hourly 24, daily 7, weekly 5, monthly 12, a dump an hour: 45.
    """
    now = datetime(2026, 1, 1, tzinfo=UTC) + _SIMULATED
    backups: list[BackupFacts] = []
    chain: tuple[str, ...] = ()
    full_at = datetime.min.replace(tzinfo=UTC)
    moment = now - _SIMULATED
    while moment <= now:
        name = f"{moment:%Y%m%dT%H%M%S}"
        if engine == "logical" or not incremental or moment - full_at >= schedule.full_every:
            chain, full_at = (), moment
        system = "1" if engine == "physical" else ""
        backups.append(BackupFacts(name, moment, chain[-1:], system_id=system))
        chain = (*chain, name) if incremental and engine == "physical" else ()
        moment += schedule.every
    parents = {backup.backup_id: backup.parents for backup in backups}
    ids = [each.backup_id for each in plan(backups, policy, now).keep]
    increments = sum(1 for backup_id in ids if parents[backup_id])
    return len(ids) - increments, increments
