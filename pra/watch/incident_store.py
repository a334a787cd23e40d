"""Where incidents are kept: one object of the status repository, changed by compare and swap; a copy here.

While the repository is away this host goes on with its own copy, and merges when it is back. Two hosts that
see each other's changes agree on every incident; two that do not may both tell of one.
"""

from __future__ import annotations

import fcntl
import json
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pra.disk import disk_errors
from pra.errors import ObjectExists, ObjectMissing, PraError, StorageError
from pra.layout import incidents_key
from pra.limited import TimedOut, within
from pra.settings import Settings
from pra.storage import open_storage
from pra.storage.base import Storage
from pra.watch.incident_merge import merge
from pra.watch.incident_model import Book, from_bytes, to_bytes
from pra.watch.status.record import write_whole

Change = Callable[[Book], Book]
_LARGEST = 64 << 20
_CALL_SECONDS = 20.0
_LOCK_SECONDS = 60.0
_AWAY_SECONDS = 60.0
_TRIES = 10
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Copy:
    """``dirty``: it holds what the repository does not have yet."""

    book: Book
    dirty: bool


class IncidentStore:
    """Every incident, as all hosts know them.

    Args:
        storage: The status repository; None where there is none: then this host is alone with its copy.
    """

    def __init__(self, folder: Path, storage: Storage | None) -> None:
        self._folder, self._storage = folder, storage
        self._away_until = 0.0

    @classmethod
    def of(cls, settings: Settings) -> IncidentStore:
        repository = settings.status_repository
        storage: Storage | None = None
        try:
            storage = open_storage(repository) if repository is not None else None
        except PraError as error:
            _log.warning("incidents are kept on this host only: %s", error.message)
        return cls(settings.state_dir / "status", storage)

    def read(self) -> Book:
        """As stored; without the repository, as this host knows them. Raises StorageError, SpaceError."""
        return self.update(lambda book: book)

    def update(self, change: Change) -> Book:
        """Apply a pure change; it may be applied several times, to what others wrote meanwhile.

        Returns:
            The book as it was stored.

        Raises:
            StorageError, SpaceError: Not even this host's own copy could be written.
        """
        with disk_errors("write incidents", self._folder):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._alone():
                return self._update(change)

    def _update(self, change: Change) -> Book:
        here = self._load()
        if self._storage is not None and time.monotonic() >= self._away_until:
            try:
                storage = self._storage
                book = within(_CALL_SECONDS, lambda: _swap(storage, here, change))
            except (PraError, TimedOut) as error:
                self._away_until = time.monotonic() + _AWAY_SECONDS
                _log.warning("incidents are kept on this host for now: %s", error)
            else:
                self._save(here, _Copy(book, dirty=False))
                return book
        book = change(here.book)
        self._save(here, _Copy(book, here.dirty or (book != here.book and self._storage is not None)))
        return book

    # -- this host's copy ------------------------------------------------------------------------

    @property
    def _path(self) -> Path:
        return self._folder / "incidents.json"

    def _load(self) -> _Copy:
        try:
            document = json.loads(self._path.read_text())
            return _Copy(from_bytes(json.dumps(document["book"]).encode()), bool(document["dirty"]))
        except FileNotFoundError:
            return _Copy(Book(), dirty=False)
        except (OSError, ValueError, KeyError, TypeError, LookupError):
            _log.warning("this host's copy of the incidents cannot be read and is made anew")
            return _Copy(Book(), dirty=False)

    def _save(self, old: _Copy, new: _Copy) -> None:
        if new != old:
            whole = {"dirty": new.dirty, "book": json.loads(to_bytes(new.book))}
            write_whole(self._path, json.dumps(whole, ensure_ascii=False).encode())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process of this host at a time."""
        with (self._folder / ".incidents.lock").open("w") as lock:
            deadline = time.monotonic() + _LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StorageError("the incidents are busy", op="write incidents") from None
                    time.sleep(0.02)
            yield


def _swap(storage: Storage, here: _Copy, change: Change) -> Book:
    """Read, merge, change, compare and swap."""
    for attempt in range(_TRIES):
        data = _stored(storage)
        there = _parsed(storage, data)
        before = here.book if there is None else merge(there, here.book) if here.dirty else there
        after = change(before)
        if after == (there or Book()):
            return after
        try:
            storage.replace(incidents_key(), to_bytes(after), previous=data)
        except ObjectExists:
            time.sleep(random.uniform(0, 0.05 * 2**attempt))  # another host was first
            continue
        return after
    raise StorageError(f"the incidents in {storage.name} change too fast", op="write incidents")


def _stored(storage: Storage) -> bytes | None:
    try:
        return storage.read(incidents_key(), limit=_LARGEST)
    except ObjectMissing:
        return None


def _parsed(storage: Storage, data: bytes | None) -> Book | None:
    """None where nothing is there that could be read: then this host's copy takes its place."""
    if data is None:
        return None
    try:
        return from_bytes(data)
    except ValueError:
        _log.warning("the incidents in %s cannot be read; this host's copy takes their place", storage.name)
        return None
    except LookupError as error:
        raise StorageError(str(error), op="read incidents", transient=False) from None
