"""Restore a physical backup for real: a new data directory, recovered to the target, proven on the way.

plan → preflight → fetch → recover to the cut → compare → roll on → promote → checks → keep → evidence.

The directory is built beside its final name and renamed once it is whole; it then starts by itself, with
archiving off, no slots, and a timeline of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pra.procedures.context import Context
from pra.procedures.destination import Destination
from pra.procedures.estimate import Estimate
from pra.procedures.judging import VerifyReport
from pra.procedures.recovering import Planned
from pra.restored import CheckSet


@dataclass(frozen=True)
class Wishes:
    """How a physical restore is wanted, beside its target.

    Attributes:
        tablespaces: Old location → new folder.
        disaster_at: When the service was lost; RPO is counted from here. None: when the restore began.
        proof: Stop at the cut and compare every table; without it the verdict is PARTIAL at best.
    """

    tablespaces: Mapping[str, Path]
    disaster_at: datetime | None = None
    proof: bool = True


@dataclass(frozen=True)
class PhysicalPlan:
    """What a physical restore would do; ``--dry-run`` prints it.

    Attributes:
        chain: Backup ids, the full one first.
        wal, wal_segments, wal_bytes: First and last segment, how many, and their bytes as stored.
        lost_after: What was committed later than this will be missing: the target's time, or when the
            newest WAL landed here; None when only replay can tell.
        estimate: None when nothing like it was ever measured.
    """

    repository: str
    destination: str
    target: str
    timeline: int
    chain: tuple[str, ...]
    wal: tuple[str, str] | None
    wal_segments: int
    wal_bytes: int
    backup_bytes: int
    database_bytes: int
    tablespaces: tuple[tuple[str, str | None], ...]
    lost_after: datetime | None
    loses_seconds: float | None
    estimate: Estimate | None
    steps: tuple[str, ...]
    gaps: tuple[str, ...]


@dataclass(frozen=True)
class Restored:
    """What came back.

    Attributes:
        last_commit: When the last transaction that came back had committed.
        reached: The position at which recovery ended.
        rpo_seconds: From there to the disaster.
    """

    report: VerifyReport
    last_commit: datetime | None
    reached: int | None
    rpo_seconds: float | None


def plan(context: Context, planned: Planned, destination: Destination, wishes: Wishes) -> PhysicalPlan:
    """Say what would happen. Reads evidence for the measurements, and nothing else."""
    raise NotImplementedError


def run(
    context: Context, checks: CheckSet, planned: Planned, destination: Destination, wishes: Wishes
) -> Restored:
    """Drive the whole procedure.

    Raises:
        PraError: Nothing was restored, and nothing is left of what was begun.
    """
    raise NotImplementedError
