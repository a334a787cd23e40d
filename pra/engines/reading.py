"""The parallel part of a logical backup: dump, fingerprint and globals in one snapshot."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import psycopg

from pra.engines.pack import Packer
from pra.engines.snapshot import Snapshot
from pra.engines.tool_errors import explain
from pra.errors import PostgresError, PraError, ToolError
from pra.postgres import fingerprint as fp
from pra.postgres.connect import Connection, Server
from pra.postgres.tools import Tools, dump_argv, globals_argv
from pra.proc import Scope
from pra.storage.spool import Attempt
from pra.timing import Clock, Timeline, format_duration, utc_now

GLOBALS = "globals.sql"
_FINISHED = re.compile(r"finished item (\d+) TABLE DATA ")
_IDLE_SECONDS = 900.0
_WATCH_SECONDS = 0.2

Report = Callable[[str, int, int], None]
"""Called with a phase, how much of it is done, and how much there is (bytes or items; 0 when unknown)."""


def no_report(phase: str, done: int, total: int) -> None:
    return None


@dataclass(frozen=True)
class Job:
    """What to read and how.

    Attributes:
        work: A 0700 folder for the plaintext dump; emptied afterwards.
        lock_wait: Longest wait of `pg_dump` for a table's lock, so that it never queues production.
        longest_snapshot: After this the reading is ended: an old snapshot holds back vacuum.
    """

    server: Server
    tools: Tools
    depth: Literal["digest", "counts"]
    jobs: int
    lock_wait: timedelta
    longest_snapshot: timedelta
    recipients: tuple[str, ...]
    work: Path
    scope: Scope = field(repr=False)
    timeline: Timeline = field(repr=False)
    clock: Clock = utc_now
    report: Report = no_report


class Reading:
    """Reads until all is read; the first failure ends all."""

    def __init__(
        self, job: Job, snapshot: Snapshot, directory: Path, packer: Packer, attempt: Attempt
    ) -> None:
        self._job = job
        self._snapshot = snapshot
        self._directory = directory
        self._packer = packer
        self._attempt = attempt
        self._scope = Scope()
        self._stop = threading.Event()
        self._warnings: list[str] = []
        self._items = 0
        self._offer_error: PraError | None = None
        self._cause: PraError | None = None
        self._connections: list[Connection] = []

    def run(self, sequences: tuple[fp.SequenceValue, ...], passwords: bool) -> fp.Fingerprint:
        threading.Thread(target=self._watch, name="watch reading", daemon=True).start()
        with self._scope, ThreadPoolExecutor(max_workers=3, thread_name_prefix="read") as pool:
            fingerprint = pool.submit(self._fingerprint, sequences)
            futures: list[Future[Any]] = [
                pool.submit(self._dump),
                pool.submit(self._globals, passwords),
                fingerprint,
            ]
            try:
                return self._first_failure_or(futures, fingerprint)
            except BaseException:
                # A signal too: leaving the pool joins its threads, and those wait for tools and queries.
                self._end()
                while wait(futures, timeout=_WATCH_SECONDS).not_done:
                    self._cancel_queries()
                raise

    def _first_failure_or(
        self, futures: list[Future[Any]], fingerprint: Future[fp.Fingerprint]
    ) -> fp.Fingerprint:
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        # What was stopped from outside fails too, and its own words would hide why.
        if self._cause is not None:
            raise self._cause
        for future in futures:
            if future in done:
                future.result()
        if self._offer_error is not None:
            raise self._offer_error
        return fingerprint.result()

    def warnings(self) -> tuple[str, ...]:
        return tuple(self._warnings)

    def _watch(self) -> None:
        """End the reading once it serves nothing: production is not read for a backup that cannot be."""
        started = time.monotonic()
        while not self._scope.closed:
            self._cause = self._reason_to_stop(time.monotonic() - started)
            if self._cause is not None:
                self._end()
                return
            self._stop.wait(_WATCH_SECONDS)

    def _reason_to_stop(self, seconds: float) -> PraError | None:
        if self._job.scope.closed:
            return ToolError("the work was stopped", op="dump database")
        if self._packer.failure is not None:
            return self._packer.failure
        try:
            self._attempt.check()
        except PraError as error:
            return error
        limit = self._job.longest_snapshot.total_seconds()
        if seconds > limit:
            return PostgresError(
                f"reading took longer than {format_duration(limit)}",
                op="dump database",
                hint="An old snapshot holds back vacuum: raise jobs, or longest_snapshot if it may be held.",
            )
        return None

    def _end(self) -> None:
        """Stop the tools and cancel the statements, so that no thread is left waiting."""
        self._stop.set()
        self._cancel_queries()
        self._scope.close()

    def _cancel_queries(self) -> None:
        """The fingerprint looks at ``stop`` between its queries; one may wait for a lock for long."""
        for connection in self._connections:
            with suppress(psycopg.Error):  # it is closed, or the server is gone: nothing to cancel
                connection.cancel_safe(timeout=5)

    def _connect(self) -> Connection:
        if self._stop.is_set():
            raise PostgresError("stopped on request", op="fingerprint database")
        limit = int(self._job.longest_snapshot.total_seconds())
        connection = self._job.server.connect(statement_seconds=limit, application="pra fingerprint")
        self._connections.append(connection)
        return connection

    def _fingerprint(self, sequences: tuple[fp.SequenceValue, ...]) -> fp.Fingerprint:
        job = self._job
        with job.timeline.phase("fingerprint"):
            return fp.take(
                self._connect,
                self._snapshot.name,
                job.depth,
                job.jobs,
                job.clock,
                sequences=sequences,
                lock_wait=job.lock_wait,
                stop=self._stop,
                progress=lambda done, total: job.report("fingerprint", done, total),
            )

    def _dump(self) -> None:
        job = self._job
        argv = dump_argv(
            job.tools,
            job.server,
            self._directory,
            snapshot=self._snapshot.name,
            jobs=job.jobs,
            lock_wait_ms=int(job.lock_wait.total_seconds() * 1000),
        )
        with job.timeline.phase("dump"):
            self._tool(argv, "dump database", self._directory)

    def _globals(self, passwords: bool) -> None:
        argv = globals_argv(self._job.tools, self._job.server, self._job.work / GLOBALS, passwords=passwords)
        self._tool(argv, "dump globals", self._job.work)

    def _tool(self, argv: tuple[str, ...], op: str, directory: Path) -> None:
        job = self._job
        try:
            self._scope.run(
                argv,
                op=op,
                timeout=job.longest_snapshot.total_seconds() + 60,  # the watcher's limit comes first
                idle_timeout=_IDLE_SECONDS,
                progress=lambda: _size(directory) + self._items,
                env={**job.tools.env(), **job.server.tool_env()},
                secrets=job.server.secrets,
                on_line=self._line,
            )
        except ToolError as error:
            raise explain(error, job.server) from None

    def _line(self, line: str) -> None:
        if match := _FINISHED.search(line):
            self._items += 1
            self._job.report("dump", self._items, 0)
            self._offer(match[1])
        elif line.strip() and "warning:" in line:
            self._warnings.append(line.strip()[:300])

    def _offer(self, item: str) -> None:
        """Hand a finished table's file to the packer; large ones are sealed while the dump goes on."""
        for suffix in (".dat.zst", ".dat"):
            if (self._directory / f"{item}{suffix}").exists():
                try:
                    self._packer.offer(f"{item}{suffix}")
                except (OSError, PraError) as error:
                    self._offer_error = PostgresError(f"a dumped file was lost: {error}", op="pack volume")


def _size(directory: Path) -> int:
    total = 0
    for path in directory.glob("*"):
        with suppress(OSError):
            total += path.stat().st_size
    return total
