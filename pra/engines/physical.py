"""The physical engine, reading side: a base backup, its WAL, then a fingerprint at one position in the WAL.

The way of the data::

    slot held ─ pg_basebackup ─ tar ─ Cutter ─┬─ files … volumes ──────────┐
                                              ├─ pg_wal/… segments, histories ─┼─ spool ─ publishers
    then: quiet snapshot ─ fingerprint ───────┴─ documents ────────────────┘
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from pra.engines.reading import Report, no_report
from pra.manifest import Extension, PhysicalFacts
from pra.model import Kind, StoredObject
from pra.postgres import fingerprint as fp
from pra.postgres.connect import Server
from pra.postgres.replication import ReplicationFacts
from pra.postgres.tools import Tools
from pra.proc import Scope
from pra.settings_model import Physical
from pra.storage.spool import Attempt
from pra.timing import Clock, Timeline, utc_now


@dataclass(frozen=True)
class Job:
    """What to read and how.

    Attributes:
        system_identifier: The server must be this one.
        lineage: The manifest of the backup before, for an incremental one; None for a full.
        full_reason: Why it is a full.
        work: A 0700 folder; emptied afterwards.
    """

    server: Server
    tools: Tools
    facts: ReplicationFacts
    system_identifier: str
    timeline_id: int
    policy: Physical
    kind: Kind
    lineage: bytes | None
    full_reason: str
    depth: fp.Depth
    jobs: int
    lock_wait: timedelta
    longest_snapshot: timedelta
    recipients: tuple[str, ...]
    work: Path
    scope: Scope = field(repr=False)
    timeline: Timeline = field(repr=False)
    clock: Clock = utc_now
    report: Report = no_report


@dataclass(frozen=True)
class Taken:
    """What was read and now lies sealed in the spool.

    Attributes:
        objects: Volumes and documents; WAL segments are in ``facts.wal``.
    """

    taken_at: datetime
    read_finished_at: datetime
    snapshot: str
    objects: tuple[StoredObject, ...]
    fingerprint: fp.Fingerprint
    fingerprint_sha256: str
    facts: PhysicalFacts
    extensions: tuple[Extension, ...]
    roles: tuple[str, ...]
    gaps: tuple[str, ...]
    warnings: tuple[str, ...]


def take(job: Job, attempt: Attempt) -> Taken:
    """Read the server once into the attempt's spool.

    Raises:
        SummariesMissing: An incremental backup is impossible; a full one is not.
        RightsError: The role may not replicate, or not read a table.
        PostgresError: The server ended the work; transient when a second try can help.
        ToolError, StorageError, SpaceError: A tool or the spool failed.
    """
    raise NotImplementedError
