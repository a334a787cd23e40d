"""The physical engine, reading side: a base backup, its WAL, then a fingerprint at one position in the WAL.

The way of the data::

    slot held ─ pg_basebackup ─ tar ─ cutter ─┬─ files … volumes ────────────────┐
                                              ├─ WAL segments, timeline histories ┼─ spool ─ publishers
    then: quiet snapshot ─ fingerprint ───────┴─ documents ──────────────────────┘

The snapshot is taken after the base backup has ended, since a recovery cannot stop before it is consistent.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime

from pra.disk import disk_errors
from pra.document import canonical
from pra.engines import configuration, lineage
from pra.engines.basebackup import Copied, copy_server
from pra.engines.cut_fingerprint import CutFingerprint, read_fingerprint
from pra.engines.logical import FINGERPRINT
from pra.engines.physical_job import Job
from pra.errors import IntegrityError
from pra.manifest import Extension, PhysicalFacts
from pra.model import StoredObject
from pra.postgres import fingerprint as fp
from pra.postgres.connect import postgres_errors
from pra.postgres.wal import format_lsn, segments_between
from pra.storage.pipe import seal
from pra.storage.spool import Attempt

__all__ = ["Job", "Taken", "take"]


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
    warnings: tuple[str, ...]


def take(job: Job, attempt: Attempt) -> Taken:
    """Read the server once into the attempt's spool.

    Raises:
        SummariesMissing: An incremental backup is impossible; a full one is not.
        RightsError: The role may not replicate, or not read a table.
        PostgresError: The server ended the work; transient when a second try can help.
        ToolError, StorageError, SpaceError: A tool or the spool failed.
    """
    with disk_errors("take base backup", job.work), postgres_errors("read server"):
        job.work.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with job.timeline.phase("copy"):
                copied = copy_server(job, attempt)
            facts = lineage.read_backup_manifest(copied.manifest)
            with job.timeline.phase("fingerprint"):
                read = read_fingerprint(job, attempt)
            configured = configuration.read(job.server)
            read_finished_at = job.clock()
            with job.timeline.phase("seal"):
                document = canonical(read.fingerprint.to_json(), floats=True)
                extras = [
                    _seal(attempt, job, FINGERPRINT, document),
                    _seal(attempt, job, configuration.OBJECT, canonical(configured.to_json())),
                    _seal_lineage(attempt, copied),
                ]
            return Taken(
                taken_at=read.taken_at,
                read_finished_at=read_finished_at,
                snapshot=read.snapshot,
                objects=(*copied.objects, *extras),
                fingerprint=read.fingerprint,
                fingerprint_sha256=extras[0].plain_sha256,
                facts=_facts(job, copied, facts, read),
                extensions=read.extensions,
                roles=read.roles,
                warnings=(*copied.warnings, *_warnings(configured)),
            )
        finally:
            shutil.rmtree(job.work, ignore_errors=True)


def _facts(job: Job, copied: Copied, facts: lineage.BackupFacts, read: CutFingerprint) -> PhysicalFacts:
    segment_bytes = job.facts.wal_segment_bytes
    needed = segments_between(facts.timeline, facts.start, facts.stop, segment_bytes)
    came = {segment.name: segment for segment in copied.wal}
    if missing := [name for name in needed if name not in came]:
        raise IntegrityError(f"the base backup came without its WAL segment {missing[0]}", op="copy server")
    if facts.timeline != job.timeline_id or facts.system_identifier not in ("", job.system_identifier):
        raise IntegrityError("the base backup's manifest is of another server", op="copy server")
    return PhysicalFacts(
        timeline=facts.timeline,
        start_lsn=format_lsn(facts.start),
        stop_lsn=format_lsn(facts.stop),
        wal=tuple(came[name] for name in needed),
        wal_segment_bytes=segment_bytes,
        tablespaces=job.facts.tablespaces,
        databases=job.facts.databases,
        snapshot_lsn=format_lsn(read.lsn),
        lineage=lineage.OBJECT,
        full_reason=job.full_reason,
    )


def _warnings(configured: configuration.Configuration) -> list[str]:
    if not configured.unreadable and configured.data_directory:
        return []
    if not configured.outside:
        return []
    names = ", ".join(configured.unreadable) or "all of them"
    return [
        f"configuration files outside the data directory are not readable by the role: {names}; "
        "settings were kept as far as it may see them (GRANT pg_read_server_files and EXECUTE ON FUNCTION "
        "pg_read_binary_file(text, bigint, bigint, boolean) let it keep the files)"
    ]


def _seal(attempt: Attempt, job: Job, name: str, data: bytes) -> StoredObject:
    suffix = ".zst.age" if job.recipients else ".zst"
    stored = seal([data], attempt.path(name + suffix), recipients=job.recipients, level=3, durable=False)
    attempt.add(stored)
    return stored


def _seal_lineage(attempt: Attempt, copied: Copied) -> StoredObject:
    """In the clear: whoever takes the next backup cannot decrypt."""
    data = lineage.lineage_of(copied.manifest)
    stored = seal([data], attempt.path(lineage.OBJECT), recipients=(), level=3, durable=False)
    attempt.add(stored)
    return stored
