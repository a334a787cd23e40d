"""One repository's thread: everything received goes there, in order, however long it takes.

A repository that fails is tried again after a pause that grows, and holds nobody else up. What was dropped
from our disk in the meantime, because others had it, is copied from them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from pra.errors import BusyError, IntegrityError, PraError
from pra.layout import lease_key
from pra.leases import Lease
from pra.storage.base import Storage
from pra.timing import Clock
from pra.wal.board import Board, Ready
from pra.wal.shipping import LEASE, ship, ship_history, ship_partial

_log = logging.getLogger(__name__)
TTL = timedelta(seconds=60)
_PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
_VOUCH_SECONDS = 10.0
_REMIND_SECONDS = 60.0
_COPY_SECONDS = 3600.0
_COPY_AGAIN_SECONDS = 60.0


class Shipper(threading.Thread):
    """See the module.

    Args:
        retain_until: Until when an object that is stored now is locked, where the repository can.
        copy_missing: Bring what other repositories have and this one lacks; False: not all of it yet.

    Attributes:
        error: Why it is failing now; None while all is well.
        vouched: Until when everything is known to be there.
    """

    def __init__(
        self,
        storage: Storage,
        target: str,
        system_id: str,
        board: Board,
        nonce: str,
        clock: Clock,
        *,
        name: str,
        retain_until: Callable[[], datetime | None],
        copy_missing: Callable[[str, Callable[[], None]], bool],
    ) -> None:
        super().__init__(name=f"ship {name}", daemon=True)
        self.repository = name
        self.error: PraError | None = None
        self.vouched: datetime | None = None
        self._storage, self._target, self._system_id = storage, target, system_id
        self._board, self._clock = board, clock
        self._retain_until, self._copy_missing = retain_until, copy_missing
        self._nonce = nonce
        self._lease: Lease | None = None
        self._ever_held = False
        self._renewed = 0.0
        self._histories: set[bytes] = set()
        self._failures = 0
        self._said = 0.0
        self._copy_at = 0.0
        self._tried_copy = -_COPY_AGAIN_SECONDS

    def run(self) -> None:
        version = -1
        try:
            while True:
                version = self._board.wait(version, _VOUCH_SECONDS)
                last = self._board.finishing
                self._try()
                if last:
                    return
                if self._failures:
                    self._board.pause(_PAUSES[min(self._failures, len(_PAUSES)) - 1])
        except Exception as error:
            self._board.fail(error)  # nor may a mistake of ours end one thread in silence
        finally:
            if self._lease is not None:
                self._lease.__exit__(None, None, None)

    def _try(self) -> None:
        try:
            self._pass()
            self._recovered()
        except BusyError as error:
            self._lease = None
            if not self._ever_held:
                raise
            self._failed(error)
        except PraError as error:
            self._failed(error)

    # -- one pass ------------------------------------------------------------------------------

    def _pass(self) -> None:
        if self._lease is None:
            self._lease = self._take_lease()
        self._copy()
        ready = self._board.ready(self.repository)
        self._ship_histories(ready)
        for number, sealed in enumerate(ready.sealed):
            with self._forks_said():
                ship(self._storage, self._target, sealed, retain_until=self._retain_until())
            self._board.acknowledge(self.repository, sealed)
            if number and number % 100 == 0:
                _log.warning("%s: %d segments behind", self.repository, len(ready.sealed) - number)
            self._keep_lease()
        for begun in ready.beginnings:
            places = (begun.segment, begun.lsn, begun.path, begun.stored)
            ship_partial(self._storage, self._target, self._system_id, *places)
            self._board.acknowledge_beginning(self.repository, begun)
        self._vouch(ready)

    def _take_lease(self) -> Lease:
        key = lease_key(self._target, LEASE)
        lease = Lease(
            self._storage, key, LEASE, self._clock, covers=(), ttl=TTL, nonce=self._nonce, by_hand=True
        )
        lease.__enter__()
        self._ever_held, self._renewed = True, time.monotonic()
        return lease

    def _copy(self) -> None:
        """From other repositories: after something was dropped before we had it, and now and then."""
        dropped = self._board.must_copy(self.repository)
        if dropped:
            self._copy_at = min(self._copy_at, self._tried_copy + _COPY_AGAIN_SECONDS)
        if time.monotonic() < self._copy_at:
            return
        self._tried_copy = time.monotonic()
        complete = self._copy_missing(self.repository, self._keep_lease)
        self._copy_at = time.monotonic() + (_COPY_SECONDS if complete else _COPY_AGAIN_SECONDS)
        if complete:
            self._board.copied(self.repository, dropped)

    def _ship_histories(self, ready: Ready) -> None:
        # Before any segment of that timeline: without it nobody can tell where the timeline began.
        for timeline, data in sorted(ready.histories.items()):
            if data in self._histories:
                continue
            until = self._retain_until()
            with self._forks_said():
                ship_history(self._storage, self._target, self._system_id, timeline, data, retain_until=until)
            self._histories.add(data)

    @contextmanager
    def _forks_said(self) -> Iterator[None]:
        """A fork is said aloud and stops nothing: both are stored by then."""
        try:
            yield
        except IntegrityError as error:
            _log.error("%s: %s", self.repository, error)

    def _vouch(self, ready: Ready) -> None:
        """Say in the repository until when it has everything."""
        proven = [proof.at for proof in ready.proofs if proof.reached(*ready.reached)]
        newest = None if ready.behind else max(proven, default=None)
        if newest is None or (self.vouched is not None and newest <= self.vouched):
            self._keep_lease()
            return
        due = self.vouched is None or (newest - self.vouched).total_seconds() >= _VOUCH_SECONDS
        if due or self._board.finishing:
            self._held().renew(newest)
            self.vouched, self._renewed = newest, time.monotonic()

    def _keep_lease(self) -> None:
        """Stay the holder, without vouching for anything more."""
        if time.monotonic() - self._renewed > TTL.total_seconds() / 3:
            self._held().renew()
            self._renewed = time.monotonic()

    def _held(self) -> Lease:
        assert self._lease is not None  # taken at the beginning of the pass
        return self._lease

    # -- good and bad times --------------------------------------------------------------------

    def _recovered(self) -> None:
        if self.error is not None:
            _log.warning("%s: answers again, and has everything", self.repository)
        self.error, self._failures = None, 0

    def _failed(self, error: PraError) -> None:
        self._failures += 1
        now = time.monotonic()
        if self.error is None or now - self._said > _REMIND_SECONDS:
            _log.error("%s: %s", self.repository, error)
            self._said = now
        self.error = error
