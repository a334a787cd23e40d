"""The bounded spool between whoever reads the database and whoever writes to the repositories.

One producer fills attempts, one publisher per repository drains them, in threads of one process.
What is in the spool is sealed already: the same bytes go to every repository. The producer waits
while too much is unconsumed; a publisher that fails leaves, and holds nobody back any more.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from pra.errors import StorageError, UsageError
from pra.model import StoredObject
from pra.storage.spool_runs import make_run, sweep

__all__ = ["Abandoned", "Attempt", "Begun", "Event", "ObjectReady", "Sealed", "Spool", "sweep"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=@-]{0,199}")
_PATIENCE = timedelta(hours=6)
_TICK = 0.5  # seconds between looks at the clock; an event ends a wait at once


@dataclass(frozen=True)
class Begun:
    """An attempt that stands upon other backups: these must be there, and stay there, before it is whole."""

    backup_id: str
    parents: tuple[str, ...]


@dataclass(frozen=True)
class ObjectReady:
    """A sealed object lies at ``path`` until every publisher has acknowledged it."""

    backup_id: str
    path: Path
    object: StoredObject


@dataclass(frozen=True)
class Abandoned:
    """The attempt came to nothing: what was published of it may go."""

    backup_id: str
    reason: str


@dataclass(frozen=True)
class Sealed:
    """Every object of the attempt has been announced; this is its manifest."""

    backup_id: str
    manifest: bytes


Event = Begun | ObjectReady | Abandoned | Sealed


@dataclass
class _Held:
    """A spool file and the publishers that still need it."""

    event: ObjectReady
    needed_by: set[str]


@dataclass
class _Publisher:
    waiting: deque[Event] = field(default_factory=deque)
    delivered: list[_Held] = field(default_factory=list)
    left: bool = False
    reason: str = ""


class Attempt:
    """One try at one backup. Made by :meth:`Spool.open`; ends with :meth:`seal` or :meth:`abandon`.

    Attributes:
        work: A private directory for what is not yet sealed; gone when the attempt ends.
    """

    def __init__(self, spool: Spool, backup_id: str, folder: Path) -> None:
        self.backup_id = backup_id
        self.folder = folder
        self.work = folder / "work"
        self.work.mkdir(mode=0o700)
        (folder / "objects").mkdir(mode=0o700)
        self.ended = False
        self._spool = spool

    def path(self, name: str) -> Path:
        """Where to write the object of this name."""
        if not _NAME.fullmatch(name):
            raise UsageError(f"not an object name: {name!r}", op="spool")
        return self.folder / "objects" / name

    def add(self, stored: StoredObject) -> None:
        """Announce an object that lies at its path, then wait while too much is unconsumed.

        An object larger than the limit waits until it is the only one. Safe from several threads.

        Raises:
            StorageError: No publisher is left, none made progress for hours, or the attempt is over.
        """
        self._spool._announce(self, stored)

    def check(self) -> None:
        """Raise StorageError once nothing can come of it: no publisher is left, or the attempt is over."""
        with self._spool._changed:
            self._spool._require_open(self)

    def seal(self, manifest: bytes) -> None:
        """Say that the backup is whole. Nothing can be added afterwards.

        Raises:
            StorageError: No publisher is left, or the attempt is over.
        """
        self._spool._end(self, Sealed(self.backup_id, manifest))

    def abandon(self, reason: str) -> None:
        """Say that nothing will come of it. Publishers are told after what they are busy with."""
        self._spool._end(self, Abandoned(self.backup_id, reason))


class Spool:
    """See the module. Use it as a context manager, or call :meth:`close`.

    Args:
        root: Directory for all runs; made if missing, 0700.
        limit_bytes: How much may be announced and not yet acknowledged.
        publishers: Names of those that will call :meth:`follow`.
        patience: How long to wait for anybody to do anything before giving up.
    """

    def __init__(
        self, root: Path, limit_bytes: int, publishers: Sequence[str], *, patience: timedelta = _PATIENCE
    ) -> None:
        if not publishers:
            raise UsageError("a backup needs a repository to go to", op="spool")
        self._limit = limit_bytes
        self._patience = patience.total_seconds()
        self._publishers = {name: _Publisher() for name in publishers}
        self._changed = threading.Condition()
        self._moved = time.monotonic()
        self._held: list[_Held] = []
        self._attempts: list[Attempt] = []
        self._closed = False
        self._removed = False
        self.folder, self._lock = make_run(root)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- producer ------------------------------------------------------------------------------

    def open(self, backup_id: str, *, parents: Sequence[str] = ()) -> Attempt:
        """Begin an attempt. Publishers hear of its parents, where it has any, before its first object.

        Raises:
            StorageError: The spool is closed, or no publisher is left.
        """
        if not _NAME.fullmatch(backup_id):
            raise UsageError(f"not a backup id: {backup_id!r}", op="spool")
        with self._changed:
            self._require_publishers()
            if self._closed:
                raise StorageError("the spool is closed", op="spool", transient=False)
            folder = self.folder / backup_id
            folder.mkdir(mode=0o700)
            attempt = Attempt(self, backup_id, folder)
            self._attempts.append(attempt)
            if parents:
                for publisher in self._live():
                    publisher.waiting.append(Begun(backup_id, tuple(parents)))
                self._progress()
            return attempt

    def close(self) -> None:
        """No further attempt will come; one that is still open is abandoned.

        Publishers get what is waiting for them, then their streams end. The directory goes when the
        last of them is done.
        """
        for attempt in self._attempts:
            if not attempt.ended:
                attempt.abandon("the run ended before the backup was whole")
        with self._changed:
            self._closed = True
            self._progress()

    @property
    def deserted(self) -> bool:
        """Every publisher has left: nothing that is read now can arrive anywhere."""
        with self._changed:
            return not self._live()

    @property
    def unconsumed_bytes(self) -> int:
        """Announced and not yet acknowledged by everybody."""
        with self._changed:
            return self._unconsumed()

    def _announce(self, attempt: Attempt, stored: StoredObject) -> None:
        event = ObjectReady(attempt.backup_id, attempt.path(stored.name), stored)
        with self._changed:
            self._require_open(attempt)
            live = {name for name, publisher in self._publishers.items() if not publisher.left}
            held = _Held(event, live)
            self._held.append(held)
            for name in live:
                self._publishers[name].waiting.append(event)
            self._progress()
            self._wait(lambda: self._has_room(held) or attempt.ended, "the publishers")
            self._require_open(attempt)

    def _has_room(self, held: _Held) -> bool:
        unconsumed = self._unconsumed()
        # What is larger than the limit by itself need only wait for the others.
        alone = unconsumed <= held.event.object.bytes and held in self._held
        return unconsumed <= self._limit or alone or not self._live()

    def _end(self, attempt: Attempt, event: Sealed | Abandoned) -> None:
        with self._changed:
            if attempt.ended and isinstance(event, Abandoned):
                return
            if isinstance(event, Sealed):
                self._require_open(attempt)
            else:
                self._forget_waiting(attempt)
            attempt.ended = True
            for publisher in self._live():
                publisher.waiting.append(event)
            self._progress()
        shutil.rmtree(attempt.work, ignore_errors=True)

    def _forget_waiting(self, attempt: Attempt) -> None:
        """Take back what nobody has begun to publish."""
        for name, publisher in self._publishers.items():
            for event in list(publisher.waiting):
                if isinstance(event, Begun) and event.backup_id == attempt.backup_id:
                    publisher.waiting.remove(event)
                elif isinstance(event, ObjectReady) and event.backup_id == attempt.backup_id:
                    publisher.waiting.remove(event)
                    self._release(name, next(held for held in self._held if held.event is event))

    # -- publishers ----------------------------------------------------------------------------

    def follow(self, publisher: str) -> Iterator[Event]:
        """The events for one publisher, in order, until the spool is closed or the publisher has left.

        Raises:
            StorageError: The producer did nothing for hours.
        """
        mine = self._publishers[publisher]
        while True:
            with self._changed:
                self._wait(lambda: bool(mine.waiting) or self._closed or mine.left, "the producer")
                if mine.left or not mine.waiting:
                    return
                event = mine.waiting.popleft()
                if isinstance(event, ObjectReady):
                    mine.delivered.append(next(held for held in self._held if held.event is event))
                self._progress()
            yield event

    def done(self, publisher: str, name: str) -> None:
        """Acknowledge the object of this name that was delivered first; nobody else needing it, it goes."""
        with self._changed:
            delivered = self._publishers[publisher].delivered
            for held in delivered:
                if held.event.object.name == name:
                    delivered.remove(held)
                    self._release(publisher, held)
                    break
            else:
                raise UsageError(f"{name} was not delivered to {publisher}", op="spool")
            self._progress()

    def leave(self, publisher: str, reason: str = "") -> None:
        """Publish no more. Leaving twice is harmless."""
        with self._changed:
            mine = self._publishers[publisher]
            if mine.left:
                return
            mine.left, mine.reason = True, reason
            mine.waiting.clear()
            mine.delivered.clear()
            for held in list(self._held):
                self._release(publisher, held)
            self._progress()

    # -- with the condition held ---------------------------------------------------------------

    def _live(self) -> list[_Publisher]:
        return [publisher for publisher in self._publishers.values() if not publisher.left]

    def _unconsumed(self) -> int:
        return sum(held.event.object.bytes for held in self._held)

    def _release(self, publisher: str, held: _Held) -> None:
        held.needed_by.discard(publisher)
        if not held.needed_by and held in self._held:
            self._held.remove(held)
            held.event.path.unlink(missing_ok=True)

    def _require_publishers(self) -> None:
        if self._live():
            return
        reasons = [f"{name}: {one.reason}" for name, one in self._publishers.items() if one.reason]
        raise StorageError(
            "every repository failed" + "".join(f"; {reason}" for reason in reasons),
            op="spool",
            hint="See what each repository reported.",
            transient=False,
        )

    def _require_open(self, attempt: Attempt) -> None:
        self._require_publishers()
        if attempt.ended:
            raise StorageError(f"the attempt {attempt.backup_id} is over", op="spool", transient=False)

    def _progress(self) -> None:
        self._moved = time.monotonic()
        idle = all(one.left or not (one.waiting or one.delivered) for one in self._publishers.values())
        if self._closed and not self._removed and idle:
            self._removed = True
            shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._lock)
        self._changed.notify_all()

    def _wait(self, ready: Callable[[], bool], whom: str) -> None:
        while not ready():
            self._changed.wait(_TICK)
            if time.monotonic() - self._moved > self._patience:
                hours = self._patience / 3600
                raise StorageError(f"waited {hours:.1f} h for {whom}", op="spool", transient=False)
