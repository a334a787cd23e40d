"""The fingerprint of a physical backup: read in a snapshot that equals a position in the WAL."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from pra.engines.physical_job import Job
from pra.errors import PostgresError, PraError, ToolError
from pra.manifest import Extension
from pra.postgres import fingerprint as fp
from pra.postgres.connect import Connection
from pra.postgres.quiet import QuietSnapshot, hold_quiet_snapshot
from pra.postgres.server_facts import read_extensions, read_roles
from pra.storage.spool import Attempt
from pra.timing import format_duration

_OP = "fingerprint database"
_TICK = 0.2


@dataclass(frozen=True)
class CutFingerprint:
    """What one snapshot saw. ``lsn`` is the WAL's end just before it was taken."""

    fingerprint: fp.Fingerprint
    snapshot: str
    taken_at: datetime
    lsn: int
    doubtful: int
    extensions: tuple[Extension, ...]
    roles: tuple[str, ...]


def read_fingerprint(job: Job, attempt: Attempt) -> CutFingerprint:
    """Hold a quiet snapshot and read every table in it, unless the job's depth is ``none``.

    Raises:
        RightsError: The role may not read a table.
        PostgresError: The server refused or was lost, or it took longer than the job allows.
        StorageError: Nothing can come of the attempt any more.
    """
    with job.server.connect() as before:
        sequences = fp.read_sequences(before)
    with hold_quiet_snapshot(job.server) as quiet, _watched(job, attempt) as stop:
        fingerprint = fp.take(
            lambda: _connect(job),
            quiet.snapshot.name,
            job.depth,
            job.jobs,
            job.clock,
            sequences=sequences,
            lock_wait=job.lock_wait,
            stop=stop,
            progress=lambda done, total: job.report("fingerprint", done, total),
        )
        extensions = read_extensions(quiet.snapshot.connection)
        roles = read_roles(quiet.snapshot.connection)
        quiet.snapshot.check_alive()
    return _described(fingerprint, quiet, extensions, roles)


def _described(
    fingerprint: fp.Fingerprint,
    quiet: QuietSnapshot,
    extensions: tuple[Extension, ...],
    roles: tuple[str, ...],
) -> CutFingerprint:
    snapshot = quiet.snapshot
    return CutFingerprint(
        fingerprint, snapshot.xids, snapshot.taken_at, quiet.lsn, quiet.doubtful, extensions, roles
    )


def _connect(job: Job) -> Connection:
    limit = int(job.longest_snapshot.total_seconds())
    return job.server.connect(statement_seconds=limit, application="pra fingerprint")


@contextmanager
def _watched(job: Job, attempt: Attempt) -> Iterator[threading.Event]:
    """An event that is set once the reading serves nothing; its reason is raised instead of what follows."""
    stop, over = threading.Event(), threading.Event()
    causes: list[PraError] = []

    def watch() -> None:
        started = time.monotonic()
        while not over.wait(_TICK):
            cause = _reason_to_stop(job, attempt, time.monotonic() - started)
            if cause is not None:
                causes.append(cause)
                stop.set()
                return

    threading.Thread(target=watch, name="watch fingerprint", daemon=True).start()
    try:
        yield stop
    except PraError as error:
        raise (causes[0] if causes else error) from None
    finally:
        over.set()


def _reason_to_stop(job: Job, attempt: Attempt, seconds: float) -> PraError | None:
    if job.scope.closed:
        return ToolError("the work was stopped", op=_OP)
    try:
        attempt.check()
    except PraError as error:
        return error
    limit = job.longest_snapshot.total_seconds()
    if seconds > limit:
        return PostgresError(
            f"reading took longer than {format_duration(limit)}",
            op=_OP,
            hint="An old snapshot holds back vacuum: raise jobs, or longest_snapshot if it may be held.",
        )
    return None
