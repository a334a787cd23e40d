"""Leases: who is writing or deleting in a repository right now.

A lease is one small object, created conditionally, renewed by a thread, and gone or expired soon after its
holder. Nobody's clock can be trusted fully, so doubt always means *live*: a lease that cannot be read, that
comes from the future, or whose object was written a moment ago by the repository's own clock.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from pra.document import canonical, parse
from pra.errors import BusyError, IntegrityError, ObjectExists, ObjectMissing, StorageError
from pra.layout import lease_key, leases_prefix
from pra.storage.base import Storage
from pra.timing import Clock, from_iso, to_iso, utc_now

SCHEMA = "pra/lease/1"
TTL = timedelta(minutes=5)
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""What a lease that is renewed by hand vouches for before it was ever renewed."""
_LARGEST = 1 << 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeaseInfo:
    """A lease as it was found.

    Attributes:
        covers: Ids of the backups it protects; empty together with ``covers_all``.
        covers_all: It says nothing that could be relied on, so it protects everything.
        holder: ``host/pid``; empty when unreadable.
        renewed_at: What its holder said the time was when it was last renewed; None when unreadable.
    """

    key: str
    purpose: str
    holder: str
    covers: tuple[str, ...]
    expires_at: datetime | None
    covers_all: bool = False
    renewed_at: datetime | None = None

    def protects(self, backup_id: str) -> bool:
        return self.covers_all or backup_id in self.covers


class Lease:
    """A lease that is held. ``check`` raises once it was lost; leaving the context gives it back.

    Args:
        ttl: How long it lives without renewal; it is renewed three times as often.
        nonce: Who holds it. Given by a holder that may find a lease of its own life before, and takes it up
            again; it must know that nobody else lives under this nonce.
        by_hand: Only ``renew`` renews it, and what ``renew`` was told last is its ``renewed_at``.
    """

    def __init__(
        self,
        storage: Storage,
        key: str,
        purpose: str,
        clock: Clock,
        *,
        covers: Sequence[str],
        ttl: timedelta,
        nonce: str = "",
        by_hand: bool = False,
    ) -> None:
        self.key = key
        self._storage, self._clock, self._ttl = storage, clock, ttl
        self._purpose, self._covers = purpose, tuple(covers)
        self._nonce = nonce or secrets.token_hex(8)
        self._said = NEVER if by_hand else None
        self._data = b""
        self._expires_at = clock()
        self._lost = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_stopped, name=f"lease {key}", daemon=True)

    def __enter__(self) -> Self:
        data, expires_at = self._fresh()
        self._acquire(data)
        self._data, self._expires_at = data, expires_at
        if self._said is None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._said is None:
            self._thread.join()  # each storage call has its own limit
        if self._lost:
            return
        try:
            self._storage.delete(self.key)
        except StorageError as failure:
            # It expires by itself; an error here must not hide what the body raised or achieved.
            _log.warning("lease %s was not given back: %s", self.key, failure)

    def check(self) -> None:
        """Raises BusyError when the lease is no longer ours, or could not be renewed in time."""
        if self._lost:
            raise BusyError(f"the lease {self.key} was lost: {self._lost}", op="hold lease", transient=True)
        if self._clock() >= self._expires_at:
            raise BusyError(
                f"the lease {self.key} could not be renewed in time", op="hold lease", transient=True
            )

    def renew(self, at: datetime | None = None) -> None:
        """Extend it by its time to live.

        Args:
            at: For a lease that is renewed by hand: the moment it vouches for from now on.

        Raises:
            BusyError: Somebody else has it by now.
            StorageError: The repository does not answer; the lease lives on until it expires.
        """
        if at is not None:
            self._said = at
        data, expires_at = self._fresh()
        try:
            self._storage.replace(self.key, data, previous=self._data)
        except ObjectExists:
            # Perhaps our own write of before, whose answer was lost.
            if not self._adopt():
                self._lost = "somebody else holds it"
                self.check()
            self._storage.replace(self.key, data, previous=self._data)
        self._data, self._expires_at = data, expires_at

    def _acquire(self, data: bytes) -> None:
        try:
            self._storage.create(self.key, data)
        except ObjectExists:
            found = _read(self._storage, self.key, self._clock())
            if found is not None and found[1] and _nonce(found[2]) != self._nonce:
                raise _busy(found[0]) from None
            try:
                self._storage.replace(self.key, data, previous=found[2] if found else None)
            except ObjectExists:
                raise _busy(None) from None

    def _adopt(self) -> bool:
        try:
            current = self._storage.read(self.key, limit=_LARGEST)
        except ObjectMissing:
            return False
        ours = _nonce(current) == self._nonce
        if ours:
            self._data = current
        return ours

    def _renew_until_stopped(self) -> None:
        while not self._stop.wait(self._ttl.total_seconds() / 3):
            try:
                self.renew()
            except BusyError:
                return  # the holder learns of it through check()
            except StorageError as failure:
                _log.warning("lease %s was not renewed: %s", self.key, failure)

    def _fresh(self) -> tuple[bytes, datetime]:
        now = self._clock()
        document = {
            "schema": SCHEMA,
            "purpose": self._purpose,
            "holder": f"{socket.gethostname()}/{os.getpid()}",
            "nonce": self._nonce,
            "covers": list(self._covers),
            "renewed_at": to_iso(self._said or now),
            "expires_at": to_iso(now + self._ttl),
            "ttl_seconds": max(1, round(self._ttl.total_seconds())),
        }
        return canonical(document), now + self._ttl


@contextmanager
def hold(
    storage: Storage,
    target: str,
    purpose: str,
    clock: Clock = utc_now,
    *,
    covers: Sequence[str] = (),
    exclusive: bool = False,
    ttl: timedelta = TTL,
) -> Iterator[Lease]:
    """Hold a lease for as long as the context lasts.

    Args:
        purpose: What for, in ``a-z0-9-``: ``backup``, ``gc``, ``copy`` …
        covers: Ids of the backups that nobody may delete meanwhile. A backup names its own id and its
            parents before it writes its first object.
        exclusive: Only one holder at a time for this purpose.

    Raises:
        BusyError: ``exclusive``, and somebody else holds it.
        StorageError: The repository cannot be written.
    """
    suffix = "" if exclusive else f"-{secrets.token_hex(6)}"
    key = lease_key(target, f"{purpose}{suffix}")
    with Lease(storage, key, purpose, clock, covers=covers, ttl=ttl) as lease:
        yield lease


def look(storage: Storage, target: str, lease_id: str, now: datetime) -> tuple[LeaseInfo, bool] | None:
    """One lease, and whether it may still be held; None when it is not there.

    Raises:
        StorageError: The repository does not answer.
    """
    read = _read(storage, lease_key(target, lease_id), now)
    return None if read is None else (read[0], read[1])


def live(storage: Storage, target: str, now: datetime) -> list[LeaseInfo]:
    """Every lease that may still be held, doubtful ones included."""
    return [info for info, alive in survey(storage, target, now) if alive]


def survey(storage: Storage, target: str, now: datetime) -> list[tuple[LeaseInfo, bool]]:
    """Every lease there is, each with whether it may still be held."""
    found = []
    for stat in list(storage.list(leases_prefix(target))):
        read = _read(storage, stat.key, now)
        if read is not None:
            found.append((read[0], read[1]))
    return found


def _read(storage: Storage, key: str, now: datetime) -> tuple[LeaseInfo, bool, bytes] | None:
    """A lease, whether it lives, and its bytes; None when it was given back meanwhile."""
    stat = storage.stat(key)
    if stat is None:
        return None
    try:
        data = storage.read(key, limit=_LARGEST)
    except ObjectMissing:
        return None
    try:
        document = parse(data, what="lease")
        if document["schema"] != SCHEMA:
            raise ValueError("another schema")
        covers = tuple(str(item) for item in document["covers"])
        renewed_at = from_iso(document["renewed_at"])
        info = LeaseInfo(
            key,
            str(document["purpose"]),
            str(document["holder"]),
            covers,
            from_iso(document["expires_at"]),
            renewed_at=renewed_at,
        )
        ttl = timedelta(seconds=int(document["ttl_seconds"]))
    except (IntegrityError, ValueError, KeyError, TypeError, OverflowError):
        return LeaseInfo(key, "unreadable", "", (), None, covers_all=True), True, data
    expires_at = info.expires_at or now
    alive = expires_at > now or renewed_at > now or stat.modified + ttl > now
    return info, alive, data


def _nonce(data: bytes) -> str:
    try:
        return str(parse(data, what="lease").get("nonce", ""))
    except IntegrityError:
        return ""


def _busy(info: LeaseInfo | None) -> BusyError:
    who = f"by {info.holder} for {info.purpose}" if info and info.holder else "by somebody else"
    until = f", until {to_iso(info.expires_at)}" if info and info.expires_at else ""
    key = (
        f" If that process is dead and its clock was wrong, delete {info.key} in the repository."
        if info
        else ""
    )
    return BusyError(
        f"the lease is held {who}{until}",
        op="take lease",
        hint=f"Wait until it is done.{key}",
        transient=True,
    )
