"""The streamer: receive, seal, ship to every repository, for as long as the server lives and longer.

The main thread keeps ``pg_receivewal`` running, asks the server how far its WAL is, and seals what has come;
one thread a repository ships it. Whatever kills us, and whenever: what was received lies on our disk, what
was not is still with the server's slot, and the next start goes on from there.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pra.disk import disk_errors
from pra.errors import PraError, SpaceError, StorageError
from pra.postgres.connect import Server
from pra.postgres.tools import Tools
from pra.proc import Scope
from pra.storage.base import Storage
from pra.timing import Clock
from pra.wal.archive import Histories, read_archive
from pra.wal.board import Board, Proof
from pra.wal.catching_up import copy_missing, lacking_from
from pra.wal.monitor import Monitor, Observation
from pra.wal.receiver import Receiver
from pra.wal.shipper import Shipper
from pra.wal.spool import Beginning, WalSpool

_log = logging.getLogger(__name__)
_LAST_PASS_SECONDS = 30.0
_REMIND_SECONDS = 60.0
_DEAF_SECONDS = 60.0
_SPARE_SEGMENTS = 3
"""One that is being received, one sealed, one sealed beginning."""
_LEAST_WAL = 24
"""Bytes of a record's header, and of a page's: less than that is never missing between two flushes."""


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
        self._unseen_since: float | None = None
        self._paused = False
        self._said: dict[str, float] = {}

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
            self._publish(self._look())
            self._keep_room()
            if not self._paused:
                self._require_room()
                self._receiver.keep_up()
        except SpaceError as error:
            # Whoever receives must not fill the disk further; the server's slot keeps the WAL meanwhile.
            self._receiver.stop()
            self._board.release(0)
            self._say(error)
        except StorageError as error:
            self._say(error)  # our own disk: the next round tries again, and the slot keeps the WAL

    def _look(self) -> Observation | None:
        """Ask the server; None while it does not answer, or nobody streams from it."""
        if not self._receiver.running:
            self._unseen_since = None
            return None
        seen = None
        try:
            seen = self._monitor.look()
        except PraError as error:
            if not self._blind:
                _log.warning("%s", error)
        self._blind = seen is None
        if seen is not None and seen.active:
            self._unseen_since = None
            return seen
        self._start_again_if_deaf()
        return None

    def _start_again_if_deaf(self) -> None:
        """A receiver may wait long for a server that is gone, while another one answers in its place."""
        now = time.monotonic()
        self._unseen_since = self._unseen_since or now
        if now - self._unseen_since > _DEAF_SECONDS:
            _log.warning("the server has not streamed for %.0f s: connecting again", _DEAF_SECONDS)
            self._receiver.stop()
            self._unseen_since = None

    def _publish(self, seen: Observation | None) -> None:
        # In this order: what was received when it was counted is sealed afterwards in either way, also when
        # a segment is finished meanwhile.
        with disk_errors("stream WAL", self._spool.folder):
            timeline, here = self._spool.reached() or (0, 0)
            known = self._written(seen, here)
            proof = Proof(seen.at, seen.flushed, seen.timeline) if seen is not None else None
            beginnings: list[Beginning] = []
            full = None
            try:
                beginnings = self._spool.seal_beginning(known=known)
            except SpaceError as error:  # only what is finished makes room
                full, timeline = error, 0
            self._spool.seal_finished()
            self._board.publish(beginnings, (timeline, max(here, known)), proof)
        self._seen = seen
        if full is not None:
            raise full

    def _written(self, seen: Observation | None, here: int) -> int:
        """Up to where the WAL is known to be written here. See ``WalSpool.seal_beginning``.

        Args:
            here: Just behind the last byte that is not zero.
        """
        if seen is None:
            return 0
        if seen.written is not None:
            return seen.written
        # A role that may not see our sender's position. WAL is sent up to where it was flushed, or up to a
        # page's end: what is missing is at least a header, so less can only be the zeros a record ends in.
        before = self._seen
        return before.flushed if before is not None and 0 <= before.flushed - here < _LEAST_WAL else 0

    def _keep_room(self) -> None:
        waiting, limit = self._board.waiting_bytes(), self._job.backlog
        if waiting > limit:
            behind = self._board.release(limit)
            waiting = self._board.waiting_bytes()
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

    def _require_room(self) -> None:
        """What was received can leave only through a sealed copy on the same disk.

        Raises:
            SpaceError: There would not be room for it.
        """
        folder = self._spool.folder
        with disk_errors("stream WAL", folder):
            free = shutil.disk_usage(folder).free
        if free < _SPARE_SEGMENTS * self._spool.segment_bytes:
            raise SpaceError(
                f"{folder}: {free >> 20} MiB are free, and receiving stops below "
                f"{_SPARE_SEGMENTS * self._spool.segment_bytes >> 20} MiB",
                op="stream WAL",
                hint="Free space there; meanwhile the server's slot keeps the WAL.",
            )

    def _say(self, error: PraError) -> None:
        now = time.monotonic()
        if now - self._said.get(error.message, -_REMIND_SECONDS) >= _REMIND_SECONDS:
            _log.error("%s", error)
            self._said[error.message] = now

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

    def _wanted(self, timeline: int, histories: Histories) -> list[int]:
        """Where a new folder may begin: each position from which on some repository lacks WAL, in order."""
        found: set[int] = set()
        for name, storage in self._job.storages.items():
            try:
                archive = read_archive(storage, self._job.target, self._spool.system_id)
                since = self._job.kept_from(name)
            except PraError as error:
                _log.warning("%s: %s", name, error)
                continue
            found |= set(lacking_from(archive, timeline, histories, since, self._spool.segment_bytes))
        return sorted(found)

    def _copy_missing(self, repository: str, between: Callable[[], None]) -> bool:
        since = self._job.kept_from(repository)
        if since is None:  # no backup is there that could use any: nothing is copied, nothing vouched for
            return not self._board.must_copy(repository)
        complete = True
        for name, storage in self._job.storages.items():
            if name == repository:
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
