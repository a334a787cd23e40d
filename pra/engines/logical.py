"""The logical engine, reading side: one snapshot, dumped and fingerprinted at the same time.

The way of the data::

    snapshot ─┬─ pg_dump -Fd (parallel) ─ files ─ volumes ─┐
              ├─ fingerprint, definitions ─ document ──────┼─ seal (zstd, age, hash) ─ spool ─ publishers
              └─ pg_dumpall --globals-only ────────────────┘
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from psycopg import sql

from pra.disk import disk_errors
from pra.document import canonical
from pra.engines.pack import Packer
from pra.engines.reading import GLOBALS, Job, Reading, Report, no_report
from pra.engines.snapshot import hold_snapshot
from pra.manifest import Extension
from pra.model import StoredObject
from pra.postgres import fingerprint as fp
from pra.postgres.connect import postgres_errors
from pra.postgres.server_facts import may_read_passwords, read_extensions, read_roles
from pra.postgres.tools import compresses
from pra.storage.pipe import seal
from pra.storage.spool import Attempt

__all__ = ["FINGERPRINT", "GLOBALS", "Job", "Report", "Taken", "no_report", "take"]

FINGERPRINT = "fingerprint.json"


@dataclass(frozen=True)
class Taken:
    """What was read in one snapshot and now lies sealed in the spool."""

    taken_at: datetime
    read_finished_at: datetime
    snapshot: str
    objects: tuple[StoredObject, ...]
    fingerprint: fp.Fingerprint
    fingerprint_sha256: str
    extensions: tuple[Extension, ...]
    roles: tuple[str, ...]
    passwords: bool
    warnings: tuple[str, ...]


def take(job: Job, attempt: Attempt) -> Taken:
    """Read the database once, at one instant, into the attempt's spool.

    Raises:
        RightsError: The role may not read something; the message names it.
        PostgresError: The server ended the work; transient when a second try can help.
        ToolError, StorageError, SpaceError: A tool or the spool failed.
    """
    with disk_errors("dump database", job.work), postgres_errors("read database"):
        directory = job.work / "dump"
        if directory.exists():
            shutil.rmtree(directory)
        job.work.mkdir(mode=0o700, parents=True, exist_ok=True)
        packer = Packer(
            directory,
            attempt,
            recipients=job.recipients,
            compress=not compresses(job.tools),
            workers=max(1, job.jobs),
        )
        try:
            return _read_and_seal(job, attempt, packer, directory)
        except BaseException as error:
            # In this order: a packer that waits for the publishers must not hold us up.
            attempt.abandon(str(error))
            packer.abort()
            raise
        finally:
            shutil.rmtree(job.work, ignore_errors=True)


def _read_and_seal(job: Job, attempt: Attempt, packer: Packer, directory: Path) -> Taken:
    with job.server.connect() as before:
        # A table that somebody has locked must not hold us up, nor production behind us.
        before.execute(sql.SQL("SET lock_timeout = {}").format(int(job.lock_wait.total_seconds() * 1000)))
        sequences = fp.read_sequences(before)
        passwords = may_read_passwords(before)
    with hold_snapshot(job.server) as snapshot:
        reading = Reading(job, snapshot, directory, packer, attempt)
        fingerprint = reading.run(sequences, passwords)
        extensions = read_extensions(snapshot.connection)
        roles = read_roles(snapshot.connection)
        snapshot.check_alive()
    read_finished_at = job.clock()
    with job.timeline.phase("seal"):
        document = canonical(fingerprint.to_json(), floats=True)
        extras = [
            _seal(attempt, job, GLOBALS, (job.work / GLOBALS).read_bytes()),
            _seal(attempt, job, FINGERPRINT, document),
        ]
        objects = packer.finish()
    return Taken(
        taken_at=snapshot.taken_at,
        read_finished_at=read_finished_at,
        snapshot=snapshot.xids,
        objects=(*objects, *extras),
        fingerprint=fingerprint,
        fingerprint_sha256=extras[1].plain_sha256,
        extensions=extensions,
        roles=roles,
        passwords=passwords,
        warnings=reading.warnings(),
    )


def _seal(attempt: Attempt, job: Job, name: str, data: bytes) -> StoredObject:
    suffix = ".zst.age" if job.recipients else ".zst"
    stored = seal([data], attempt.path(name + suffix), recipients=job.recipients, level=3)
    attempt.add(stored)
    return stored
