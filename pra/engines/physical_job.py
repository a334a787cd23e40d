"""What the physical engine is to read, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from pra.engines.reading import Report, no_report
from pra.postgres.connect import Server
from pra.postgres.facts import Depth
from pra.postgres.replication import ReplicationFacts
from pra.postgres.tools import Tools
from pra.proc import Scope
from pra.settings_model import Physical
from pra.timing import Clock, Timeline, utc_now


@dataclass(frozen=True)
class Job:
    """What to read and how.

    Attributes:
        system_identifier, timeline_id: The server must be this one, on this timeline.
        lineage: The manifest of the backup before, for an incremental one; None for a full.
        full_reason: Why it is a full.
        depth: Of the fingerprint.
        work: A 0700 folder; emptied afterwards.
        lock_wait: Longest wait of the fingerprint for a table's lock.
        longest_snapshot: After this the fingerprint is ended: an old snapshot holds back vacuum.
    """

    server: Server
    tools: Tools
    facts: ReplicationFacts
    system_identifier: str
    timeline_id: int
    policy: Physical
    lineage: bytes | None
    full_reason: str
    depth: Depth
    jobs: int
    lock_wait: timedelta
    longest_snapshot: timedelta
    recipients: tuple[str, ...]
    work: Path
    scope: Scope = field(repr=False)
    timeline: Timeline = field(repr=False)
    clock: Clock = utc_now
    report: Report = no_report
