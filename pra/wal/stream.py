"""The streamer: receive, seal, ship to every repository, for as long as the server lives and longer.

The main thread keeps ``pg_receivewal`` running, asks the server how far its WAL is, and seals what has come;
one thread a repository ships it. Whatever kills us, and whenever: what was received lies on our disk, what
was not is still with the server's slot, and the next start goes on from there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pra.errors import PraError, SpaceError
from pra.postgres.connect import Server
from pra.postgres.tools import Tools
from pra.postgres.wal import next_segment
from pra.proc import Scope
from pra.storage.base import Storage
from pra.timing import Clock
from pra.wal.archive import read_archive
from pra.wal.board import Board, Proof
from pra.wal.catching_up import copy_missing
from pra.wal.monitor import Monitor, Observation
from pra.wal.receiver import Receiver
from pra.wal.shipper import Shipper
from pra.wal.spool import WalSpool

_log = logging.getLogger(__name__)
_LAST_PASS_SECONDS = 30.0
_REMIND_SECONDS = 60.0
_PAGE = 8192


@dataclass(frozen=True)
class StreamJob:
    """What to stream, and where to.

    Attributes:
        ship_every: Seconds between two looks at the unfinished segment.
        backlog: Bytes that may wait on our disk.
        kept_from: By repository: from which position on it keeps WAL whole; None: it has no use for any yet.
        retain_until: Until when an object that is stored now is locked.
    """

    server: Server
    tools: Tools
    target: str
    slot: str
    storages: Mapping[str, Storage]
    spool: WalSpool
    clock: Clock
    ship_every: float
    backlog: int
    kept_from: Callable[[str], int | None]
    retain_until: Callable[[], datetime | None]


class Streamer:
    """One run. Use `stream`."""

    def __init__(self, job: StreamJob, scope: Scope) -> None:
        self._job, self._spool = job, job.spool
        self._wake = threading.Event()
        self._board = Board(job.spool, list(job.storages))
        application = f"pra watch {job.target}"
        self._monitor = Monitor(job.server, job.slot, application, job.clock)
        self._receiver = Receiver(
            job.server,
            job.tools,
            scope,
            job.spool,
            self._monitor,
            job.slot,
            wanted=self._wanted,
            wake=self._wake.set,
        )
        self._shippers = [
            Shipper(
                storage,
                job.target,
                job.spool.system_id,
                self._board,
                job.spool.nonce,
                job.clock,
                name=name,
                retain_until=job.retain_until,
                copy_missing=self._copy_missing,
            )
            for name, storage in job.storages.items()
        ]
        self._seen: Observation | None = None
        self._blind = False
        self._paused = False
        self._said = -_REMIND_SECONDS

    def run(self, stop: threading.Event) -> None:
        """Stream until told to stop, then ship what there is.

        Raises:
            BusyError: Somebody else streams this target.
            PraError: What no waiting mends was found at the start.
        """
        for shipper in self._shippers:
            shipper.start()
        try:
            while not stop.is_set():
                began = time.monotonic()
                self._board.raise_fatal()
                self._round()
                self._wake.wait(max(0.05, self._job.ship_every - (time.monotonic() - began)))
                self._wake.clear()
        finally:
            self._finish()

    # -- one round -----------------------------------------------------------------------------

    def _round(self) -> None:
        try:
            if not self._paused:
                self._receiver.keep_up()
            self._publish(self._look())
            self._keep_room()
        except SpaceError as error:
            # Whoever receives must not fill the disk further; the server's slot keeps the WAL meanwhile.
            self._receiver.stop()
            self._board.release(0)
            self._say(error)

    def _look(self) -> Observation | None:
        """Ask the server; None while it does not answer, or nobody streams from it."""
        if not self._receiver.running:
            return None
        try:
            seen = self._monitor.look()
        except PraError as error:
            if not self._blind:
                _log.warning("%s", error)
            self._blind = True
            return None
        self._blind = False
        return seen if seen.active else None

    def _publish(self, seen: Observation | None) -> None:
        self._spool.seal_finished()
        known = self._written(seen)
        beginnings = self._spool.seal_beginning(known=known)
        here = self._spool.reached()
        proof = Proof(seen.at, seen.flushed) if seen is not None else None
        self._board.publish(beginnings, max(here[1] if here else 0, known), proof)
        self._seen = seen

    def _written(self, seen: Observation | None) -> int:
        """Up to where the WAL is known to be written here. See ``WalSpool.seal_beginning``."""
        if seen is None:
            return 0
        if seen.written is not None:
            return seen.written
        # A role that may not see our sender's position: what the server had one look ago has come by now,
        # if what came ends in the same page; the rest of its last record is zeros.
        before, here = self._seen, self._spool.reached()
        if before is None or here is None or not 0 <= before.flushed - here[1] < _PAGE:
            return 0
        return before.flushed

    def _keep_room(self) -> None:
        waiting, limit = self._spool.bytes(), self._job.backlog
        if waiting > limit:
            behind = self._board.release(limit)
            waiting = self._spool.bytes()
            names = ", ".join(behind) or "every repository"
            self._say(
                PraError(
                    f"more than {limit} bytes of WAL were waiting for {names}",
                    op="stream WAL",
                    hint="What other repositories have is copied from them later. Mend that repository.",
                )
            )
        if waiting > limit and not self._paused:
            _log.error("no repository takes WAL: receiving stops, and the server's slot keeps it")
            self._receiver.stop()
            self._paused = True
        elif self._paused and waiting <= limit * 0.8:
            _log.warning("receiving goes on")
            self._paused = False

    def _say(self, error: PraError) -> None:
        if time.monotonic() - self._said > _REMIND_SECONDS:
            _log.error("%s", error)
            self._said = time.monotonic()

    # -- the end -------------------------------------------------------------------------------

    def _finish(self) -> None:
        self._receiver.stop()
        try:
            self._publish(None)
        except PraError as error:
            _log.error("%s", error)
        self._monitor.close()
        self._board.finish()
        deadline = time.monotonic() + _LAST_PASS_SECONDS
        for shipper in self._shippers:
            shipper.join(max(0.1, deadline - time.monotonic()))

    # -- repositories --------------------------------------------------------------------------

    def _wanted(self, timeline: int) -> str | None:
        """The first segment that some repository lacks, as far as they answer: where a new folder begins."""
        found = []
        for name, storage in self._job.storages.items():
            try:
                archive = read_archive(storage, self._job.target, self._spool.system_id)
            except PraError as error:
                _log.warning("%s: %s", name, error)
                continue
            own = [segment for segment in archive.segments if int(segment[:8], 16) == timeline]
            if own:
                found.append(max(own))
        if not found:
            return None
        return next_segment(min(found), self._spool.segment_bytes)

    def _copy_missing(self, repository: str, between: Callable[[], None]) -> bool:
        since = self._job.kept_from(repository)
        complete = True
        for name, storage in self._job.storages.items():
            if name == repository or since is None:
                continue
            try:
                count = copy_missing(
                    storage,
                    self._job.storages[repository],
                    self._job.target,
                    self._spool.system_id,
                    since,
                    self._spool.segment_bytes,
                    retain_until=self._job.retain_until,
                    between=between,
                )
            except PraError as error:
                _log.warning("copying WAL from %s to %s: %s", name, repository, error)
                complete = False
            else:
                if count:
                    _log.warning("%s: %d objects copied from %s", repository, count, name)
        return complete
