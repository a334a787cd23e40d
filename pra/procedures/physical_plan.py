"""What a physical restore would do, before it does anything: what ``--dry-run`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pra.engines.recovery import RecoveryTarget
from pra.errors import StorageError
from pra.manifest import Manifest
from pra.procedures.context import Context
from pra.procedures.destination import Destination
from pra.procedures.estimate import Estimate, estimate, measured
from pra.procedures.recovering import PROGRAMS, Planned


@dataclass(frozen=True)
class Wishes:
    """How a physical restore is wanted, beside its target.

    Attributes:
        tablespaces: Old location → new folder.
        disaster_at: When the service was lost; RPO is counted from here. None: when the restore began.
        proof: Stop at the cut and compare every table; without it the verdict is PARTIAL at best.
    """

    tablespaces: Mapping[str, Path] = field(default_factory=dict)
    disaster_at: datetime | None = None
    proof: bool = True


@dataclass(frozen=True)
class PhysicalPlan:
    """What a physical restore would do; ``--dry-run`` prints it.

    Attributes:
        chain: Backup ids, the full one first.
        wal, wal_segments, wal_bytes: First and last segment, how many, and their bytes as stored.
        tablespaces: Old location and new folder; None where none was named.
        lost_after: What was committed later than this will be missing: the target's time. Of ``latest``, what
            was committed later may be missing: until then everything is known to be here. None when only
            replay can tell.
        loses_seconds: From there to the disaster.
        estimate: None when nothing like it was ever measured.
    """

    repository: str
    destination: str
    target: RecoveryTarget
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


def plan(context: Context, planned: Planned, destination: Destination, wishes: Wishes) -> PhysicalPlan:
    """Say what would happen. Reads the record for its measurements, and nothing else."""
    recovery, manifest = planned.plan, planned.plan.manifest
    facts = manifest.physical
    assert facts is not None
    wal = recovery.wal[: recovery.wal_expected]
    lost_after = recovery.target.moment or (planned.arrived if recovery.target.kind == "latest" else None)
    disaster = wishes.disaster_at or context.clock()
    try:
        earlier = measured(context.evidence.records(), _sizes(context, recovery.repository))
    except StorageError:
        earlier = []
    return PhysicalPlan(
        repository=recovery.repository,
        destination=destination.text,
        target=recovery.target,
        timeline=recovery.timeline,
        chain=tuple(member.backup_id for member in recovery.chain),
        wal=(wal[0], wal[-1]) if wal else None,
        wal_segments=len(wal),
        wal_bytes=recovery.wal_bytes,
        backup_bytes=recovery.backup_bytes,
        database_bytes=server_bytes(recovery.chain),
        tablespaces=tuple((t.location, _text(wishes.tablespaces.get(t.location))) for t in facts.tablespaces),
        lost_after=lost_after,
        loses_seconds=None if lost_after is None else max((disaster - lost_after).total_seconds(), 0.0),
        estimate=estimate(recovery.backup_bytes + recovery.wal_bytes, earlier),
        steps=_steps(planned, destination, wishes),
        gaps=manifest.gaps,
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _steps(planned: Planned, destination: Destination, wishes: Wishes) -> tuple[str, ...]:
    recovery = planned.plan
    several = f" and combine the {len(recovery.chain)} backups" if len(recovery.chain) > 1 else ""
    proof = "recover to the backup's snapshot and compare every table with what was saved"
    if destination.server is not None:
        end = f"dump the tables out of a throwaway server into {destination.server.place}"
    else:
        end = "promote, run every check, leave a directory that starts by itself, sign the evidence"
    return (
        f"read {len(recovery.chain)} backups from {recovery.repository}, verify, decrypt{several}",
        *((proof,) if wishes.proof else ()),
        f"replay WAL up to {recovery.target.text()}",
        end,
    )


def server_bytes(chain: Sequence[Manifest]) -> int:
    """About how large the data directory will be: what the full backup held plus what came later."""
    return sum(
        stored.plain_bytes
        for member in chain
        for stored in member.objects
        if stored.name.startswith(("base-", "tblspc-"))
    )


def _sizes(context: Context, repository: str) -> dict[str, int]:
    """Stored bytes of every backup's whole chain, by id."""
    manifests = {
        entry.backup_id: entry.manifest
        for entry in context.catalog(repository).backups()
        if entry.manifest is not None and entry.manifest.engine == "physical"
    }
    return {
        backup_id: manifest.bytes + sum(manifests[p].bytes for p in manifest.parents if p in manifests)
        for backup_id, manifest in manifests.items()
    }


def needs(planned: Planned) -> tuple[str, ...]:
    """The programs that this recovery will call."""
    combine = ("pg_combinebackup",) if len(planned.plan.chain) > 1 else ()
    return (*PROGRAMS, *combine)
