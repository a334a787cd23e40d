"""Taking a backup: the target's engine reads into the spool, and the manifest that describes it is signed."""

from __future__ import annotations

from datetime import datetime

from pra.disk import disk_errors
from pra.engines import logical, physical
from pra.errors import SummariesMissing
from pra.manifest import FingerprintRef, Manifest, TableCount, sign
from pra.model import new_backup_id
from pra.procedures.choice import Choice
from pra.procedures.context import Context
from pra.procedures.known_head import HeadReading
from pra.procedures.preflight import Ready
from pra.procedures.preflight_physical import PhysicalReady
from pra.storage.spool import Attempt, Spool


def take(context: Context, ready: Ready, spool: Spool) -> Manifest:
    """Read the database into the spool under a new id, and seal the signed manifest there.

    Where an incremental backup turns out to be impossible, a full one is taken at once. The target's lock is
    taken again where it was lost before; where it is lost meanwhile this attempt is void.

    Raises:
        BusyError: It was lost, and another backup of the target is running.
        PraError: Nothing was published; ``transient`` tells whether to call again.
    """
    try:
        return _attempt(context, ready, ready.choice, spool)
    except SummariesMissing as error:
        instead = Choice("full", ready.choice.depth, reason=error.message)
        return _attempt(context, ready, instead, spool)


def _attempt(context: Context, ready: Ready, choice: Choice, spool: Spool) -> Manifest:
    if context.lock is not None:
        context.lock.hold()
    known = HeadReading(context)
    started_at = context.clock()
    backup_id = new_backup_id(started_at, choice.kind)
    with disk_errors("open spool", context.state_dir):
        attempt = spool.open(backup_id, parents=choice.parents)
    try:
        with context.timeline.phase("take"):
            if ready.physical is None:
                manifest = _take_logical(context, ready, attempt, started_at)
            else:
                manifest = _take_physical(context, ready, ready.physical, choice, attempt, started_at)
        manifest = manifest.model_copy(update={"evidence_head": known.result()})
        if context.lock is not None:
            context.lock.check()
        attempt.seal(sign(manifest, context.signer))
    except BaseException as error:
        attempt.abandon(str(error))
        raise
    return manifest


def _take_logical(context: Context, ready: Ready, attempt: Attempt, started_at: datetime) -> Manifest:
    target = context.target
    job = logical.Job(
        server=context.server,
        tools=ready.tools,
        depth=target.digest,
        jobs=target.jobs,
        lock_wait=target.lock_wait,
        longest_snapshot=target.longest_snapshot,
        recipients=ready.recipients,
        work=attempt.work,
        scope=context.scope,
        timeline=context.timeline,
        clock=context.clock,
        report=context.report,
    )
    return make_manifest(context, ready, logical.take(job, attempt), attempt.backup_id, started_at)


def _take_physical(
    context: Context,
    ready: Ready,
    examined: PhysicalReady,
    choice: Choice,
    attempt: Attempt,
    started_at: datetime,
) -> Manifest:
    target = context.target
    job = physical.Job(
        server=context.server,
        tools=ready.tools,
        facts=examined.facts,
        system_identifier=examined.identity.system_identifier,
        timeline_id=examined.identity.timeline,
        policy=target.physical,
        lineage=choice.lineage,
        full_reason=choice.reason,
        depth=choice.depth,
        jobs=target.jobs,
        lock_wait=target.lock_wait,
        longest_snapshot=target.longest_snapshot,
        recipients=ready.recipients,
        work=attempt.work,
        scope=context.scope,
        timeline=context.timeline,
        clock=context.clock,
        report=context.report,
    )
    taken = physical.take(job, attempt)
    return make_manifest(context, ready, taken, attempt.backup_id, started_at, parents=choice.parents)


def make_manifest(
    context: Context,
    ready: Ready,
    taken: logical.Taken | physical.Taken,
    backup_id: str,
    started_at: datetime,
    *,
    parents: tuple[str, ...] = (),
) -> Manifest:
    """Describe what was read."""
    tables = taken.fingerprint.tables
    gaps, tool = list(ready.gaps), "pg_basebackup"
    if isinstance(taken, logical.Taken):
        tool = "pg_dump"
        if not taken.passwords and not any("password" in gap for gap in gaps):
            gaps.append("roles: passwords are not readable by the backup role")
    return Manifest(
        target=context.target.name,
        backup_id=backup_id,
        engine=context.target.engine,
        kind="incremental" if parents else "full",
        database=context.server.database,
        started_at=started_at,
        taken_at=taken.taken_at,
        read_finished_at=taken.read_finished_at,
        finished_at=context.clock(),
        server=ready.facts,
        snapshot=taken.snapshot,
        objects=taken.objects,
        parents=parents,
        physical=taken.facts if isinstance(taken, physical.Taken) else None,
        tables=tuple(TableCount(name=t.identity, rows=t.rows, bytes=t.bytes) for t in tables),
        fingerprint=FingerprintRef(
            depth=taken.fingerprint.depth,
            sha256=taken.fingerprint_sha256,
            tables=len(tables),
            rows=sum(table.rows for table in tables),
        ),
        gaps=tuple(gaps),
        warnings=taken.warnings,
        extensions=taken.extensions,
        roles=taken.roles,
        encryption="age" if ready.recipients else "none",
        recipients=ready.recipients,
        tools=f"{tool} {ready.tools.version}",
        previous=ready.previous.backup_id if ready.previous is not None else None,
    )
