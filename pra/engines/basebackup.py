"""``pg_basebackup`` run to its end: files into volumes, WAL segments into objects of their own.

Where the server has no tablespaces of its own the tar stream never touches a disk. Else ``pg_basebackup``
refuses to write to a pipe: one tar file a tablespace then lies in the 0700 spool, for as long as it is read.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import struct
import tarfile
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO

from pra.engines.physical_job import Job
from pra.engines.tarcut import Cutter, nothing
from pra.engines.tool_errors import explain_basebackup
from pra.errors import IntegrityError, PostgresError, PraError, ToolError
from pra.manifest import WalSegment
from pra.model import StoredObject
from pra.postgres.replication import Identity, basebackup_argv, hold_wal
from pra.postgres.wal import HISTORY, SEGMENT
from pra.proc import Process, Scope
from pra.storage.spool import Attempt
from pra.timing import format_duration
from pra.wal.shipping import seal_segment

LONGEST = timedelta(hours=24)
"""No base backup runs longer; garbage collection and leases reckon with the same."""
HISTORY_OBJECT = re.compile(r"history-(\d{1,20})-([0-9A-F]{8})-[0-9a-f]{64}")
"""Name of a timeline's history file in the spool: system identifier and timeline."""
MANIFEST = "backup_manifest"
_OP = "copy server"
_IDLE_SECONDS = 900.0
_TICK = 0.2
_ENDING = 10.0  # seconds that a tool may take to exit after its output ended


@dataclass(frozen=True)
class Copied:
    """What came of it.

    Attributes:
        objects: The volumes; they are in the attempt.
        wal: The segments that came along, in order; their objects are in the attempt too.
        manifest: PostgreSQL's ``backup_manifest``.
    """

    objects: tuple[StoredObject, ...]
    wal: tuple[WalSegment, ...]
    manifest: bytes
    warnings: tuple[str, ...]


def copy_server(job: Job, attempt: Attempt) -> Copied:
    """Take a base backup into the attempt, while a slot keeps the WAL it will need.

    Raises:
        SummariesMissing: An incremental backup is impossible; a full one is not.
        RightsError: The role may not replicate.
        PostgresError: The server ended it, or is another one than before; transient when a second try helps.
        ToolError, StorageError, SpaceError: The tool or the spool failed.
    """
    with Scope() as scope, hold_wal(job.server) as identity:
        require_same(job, identity)
        return _Copying(job, attempt, scope).run()


def require_same(job: Job, identity: Identity) -> None:
    """Refuse what is not the server that preflight looked at: a failover may have happened since.

    Raises:
        PostgresError: It is another server, or has another timeline by now; transient.
    """
    if (identity.system_identifier, identity.timeline) == (job.system_identifier, job.timeline_id):
        return
    other = identity.system_identifier != job.system_identifier
    raise PostgresError(
        "another server answers than at preflight" if other else "the server was promoted since preflight",
        op=_OP,
        hint="Run the backup again.",
    )


@dataclass
class _Copying:
    """One run of the tool. ``scope`` owns it and the processes that seal; a thread watches over them."""

    job: Job
    attempt: Attempt
    scope: Scope
    wal: list[WalSegment] = field(default_factory=list)
    manifest: bytes = b""
    warnings: list[str] = field(default_factory=list)
    cause: PraError | None = None
    failed: bool = False
    process: Process | None = None
    finished: threading.Event = field(default_factory=threading.Event)

    def run(self) -> Copied:
        threading.Thread(target=self._watch, name="watch base backup", daemon=True).start()
        try:
            objects = self._through_files() if self.job.facts.tablespaces else self._through_pipe()
        except PraError as error:
            # What was stopped from outside fails too, and its own words would hide why.
            raise self.cause or error from None
        finally:
            self.finished.set()
        if not self.manifest:
            raise IntegrityError("the base backup came without a backup manifest", op=_OP)
        return Copied(
            tuple(objects),
            tuple(sorted(self.wal, key=lambda segment: segment.name)),
            self.manifest,
            tuple(self.warnings),
        )

    # -- by pipe -------------------------------------------------------------------------------

    def _through_pipe(self) -> list[StoredObject]:
        process = self._start(None)
        source = process.popen.stdout
        assert source is not None  # a pipe by default
        with self._cutter("base") as cutter:
            try:
                cutter.feed(source.fileno())
            except PraError as error:
                self._blame(process, error)
                raise
            self._wait(process)
            return cutter.finish()

    def _blame(self, process: Process, error: PraError) -> None:
        """A stream that ended early is only what follows from how the tool ended."""
        if isinstance(error, IntegrityError):
            self._wait(process)

    def _wait(self, process: Process) -> None:
        """Wait for the tool's exit, and raise what it means unless it is 0."""
        deadline = time.monotonic() + _ENDING
        while process.running() and time.monotonic() < deadline:
            time.sleep(0.01)
        if process.running():
            process.end()
        self._judge(process)

    def _judge(self, process: Process) -> None:
        try:
            process.check()
        except ToolError as error:
            incremental = self.job.lineage is not None
            raise explain_basebackup(error, self.job.server, incremental=incremental) from None

    # -- by files ------------------------------------------------------------------------------

    def _through_files(self) -> list[StoredObject]:
        directory = self.job.work / "tar"
        process = self._start(directory)
        while process.running():
            time.sleep(_TICK)
        self._judge(process)
        objects = self._cut(directory / "base.tar", "base", directory / MANIFEST)
        for tablespace in self.job.facts.tablespaces:
            path = directory / f"{tablespace.oid}.tar"
            if path.exists():  # dropped since preflight looked
                objects += self._cut(path, f"tblspc-{tablespace.oid}", None)
        if left := sorted(path.name for path in directory.iterdir()):
            raise PostgresError(
                f"a tablespace was made meanwhile: {left[0]}",
                op=_OP,
                hint="Run the backup again.",
                transient=True,
            )
        return objects

    def _cut(self, path: Path, prefix: str, manifest: Path | None) -> list[StoredObject]:
        with self._cutter(prefix) as cutter:
            _feed_file(cutter, path)
            if manifest is not None:  # beside the tar files it is a file of its own
                packed = manifest.with_suffix(".tar")
                with tarfile.open(packed, "w", format=tarfile.GNU_FORMAT) as archive:
                    archive.add(manifest, MANIFEST)
                manifest.unlink()
                _feed_file(cutter, packed)
            return cutter.finish()

    # -- both ----------------------------------------------------------------------------------

    def _start(self, directory: Path | None) -> Process:
        job = self.job
        lineage = None
        if job.lineage is not None:
            lineage = job.work / "lineage"
            lineage.write_bytes(job.lineage)
        argv = basebackup_argv(
            job.tools,
            job.server,
            label=f"pra {self.attempt.backup_id}",
            checkpoint=job.policy.checkpoint,
            max_rate=job.policy.max_rate,
            incremental=lineage,
            directory=directory,
        )
        self.process = self.scope.start(
            argv,
            op=_OP,
            env={**job.tools.env(), **job.server.tool_env()},
            secrets=job.server.secrets,
            keep_stdout=False,
            on_line=self._line,
        )
        return self.process

    @contextmanager
    def _cutter(self, prefix: str) -> Iterator[Cutter]:
        job = self.job
        base = prefix == "base"
        cutter = Cutter(
            self.attempt,
            scope=self.scope,
            recipients=job.recipients,
            volume_bytes=job.policy.volume_bytes,
            threads=job.jobs,
            prefix=prefix,
            divert=_is_wal if base else nothing,
            copy=_is_manifest if base else nothing,
            taken=self._taken,
            report=self._report,
        )
        try:
            yield cutter
        except BaseException as error:
            self.failed = True
            # In this order: whoever waits for the publishers must not hold us up.
            self.attempt.abandon(str(self.cause or error))
            cutter.abort()
            raise

    def _taken(self, name: str, data: bytes) -> None:
        if name == MANIFEST:
            self.manifest = data
            return
        segment = name.removeprefix("pg_wal/")
        system_id = self.job.system_identifier
        if HISTORY.fullmatch(segment):
            digest = hashlib.sha256(data).hexdigest()
            path = self.attempt.path(f"history-{system_id}-{segment[:8]}-{digest}")
            path.write_bytes(data)
            self.attempt.add(StoredObject(path.name, len(data), digest, len(data), digest))
            return
        sealed = seal_segment(
            data,
            segment,
            self.attempt.path("wal").parent,
            system_id=system_id,
            recipients=self.job.recipients,
        )
        self.wal.append(WalSegment(name=segment, sha256=sealed.sha256))
        self.attempt.add(sealed.stored)

    def _report(self, phase: str, done: int, _: int) -> None:
        whole = 0 if self.job.lineage is not None else max(done, self.job.facts.server_bytes)
        self.job.report(phase, done, whole)

    def _line(self, line: str) -> None:
        if "waiting for checkpoint" in line:
            self.job.report("checkpoint", 0, 0)
        elif "warning:" in line.lower():
            self.warnings.append(line.strip().removeprefix("pg_basebackup: ")[:300])

    def _watch(self) -> None:
        """End the tool once it serves nothing, or does nothing: production is not read in vain."""
        started = last = time.monotonic()
        seen = -1
        while not self.finished.wait(_TICK):
            now = time.monotonic()
            moved = self._progress()
            if moved != seen or moved < 0:
                seen, last = moved, now
            self.cause = self._reason_to_stop(now - started, now - last)
            if self.cause is not None:
                self.attempt.abandon(str(self.cause))  # whoever waits in it for room goes on
                self.scope.close()
                return

    def _reason_to_stop(self, seconds: float, idle: float) -> PraError | None:
        if self.job.scope.closed:
            return ToolError("the work was stopped", op=_OP)
        try:
            self.attempt.check()
        except PraError as error:
            # That it is over is our own doing where the copy failed, and would hide why.
            return None if self.failed else error
        limit = _IDLE_SECONDS + self.job.facts.checkpoint_seconds
        if idle > limit:
            return PostgresError(
                f"the server sent nothing for {format_duration(idle)}",
                op=_OP,
                hint="Look at the server's activity and at the network, then run it again.",
                transient=True,
            )
        if seconds > LONGEST.total_seconds():
            return PostgresError(
                f"the base backup took longer than {format_duration(LONGEST.total_seconds())}",
                op=_OP,
                hint="Raise max_rate, or give this machine a faster way to the server.",
            )
        return None

    def _progress(self) -> int:
        """A number that changes while the server works; -1 while it is us whom it waits for."""
        process = self.process
        if process is None or process.popen.stdout is None or not process.running():
            return -1
        if self.job.facts.tablespaces:
            directory = self.job.work / "tar"
            return process.seen + sum(path.stat().st_size for path in directory.glob("*.tar"))
        # A pipe that holds something waits to be read.
        return -1 if _waiting(process.popen.stdout) else process.seen + _written(process.pid)


def _waiting(pipe: IO[bytes]) -> int:
    """Bytes that lie in the pipe."""
    try:
        return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0])
    except (OSError, ValueError):  # closed meanwhile
        return 0


def _written(pid: int) -> int:
    """What a process has written so far, by the kernel's count; 0 where there is none."""
    try:
        text = Path(f"/proc/{pid}/io").read_text()
    except OSError:
        return 0
    return int(dict(line.split(": ") for line in text.splitlines())["wchar"])


def _is_wal(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    return folder == "pg_wal" and bool(SEGMENT.fullmatch(file) or HISTORY.fullmatch(file))


def _is_manifest(name: str) -> bool:
    return name == MANIFEST


def _feed_file(cutter: Cutter, path: Path) -> None:
    """Read a tar file, which is gone afterwards: plaintext lies on the disk for as short as can be."""
    with path.open("rb") as source:
        cutter.feed(source)
    path.unlink()
