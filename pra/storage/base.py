"""The storage contract. Every repository keeps it; ``tests/contract`` holds each implementation to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from pra.timing import to_iso


@dataclass(frozen=True)
class ObjectStat:
    """One object as listed. ``modified`` is the repository's own clock, in UTC.

    Attributes:
        tag: Changes whenever the stored bytes are written again, also within one tick of the clock and where
            somebody sets the time back: the version or ETag, a file's inode and time of change. Empty where a
            server says neither.
    """

    key: str
    bytes: int
    modified: datetime
    tag: str = field(default="", compare=False)

    @property
    def stamp(self) -> str:
        """Another one means that the object may be another one. Not to be taken apart."""
        return f"{self.bytes} {to_iso(self.modified)} {self.tag}"


@dataclass(frozen=True)
class Upload:
    """A multipart upload that was begun and never finished (or a local temporary file)."""

    key: str
    upload_id: str
    started: datetime


@dataclass(frozen=True)
class Capabilities:
    """What was proven by trying it, not what a vendor claims."""

    conditional_write: bool
    object_lock: bool


class Storage(Protocol):
    """A flat space of immutable objects under one URL.

    Keys are relative, slash-separated, and never escape the root. Every call has a time limit and
    retries what is transient by itself; what still fails is a ``StorageError`` whose message names
    the repository and the key.

    * ``put`` makes the whole object visible at once or not at all, and is durable when it returns.
      Putting the same bytes under the same key again is harmless.
    * ``create`` writes only where nothing is: of two racers exactly one wins, the other gets
      ``ObjectExists``. A server without conditional writes is handled as well as can be (look,
      write, read back) and says so through ``capabilities``.
    * ``open``, ``read`` and ``stat`` see the **oldest** version of a key where the server keeps
      versions under a lock, even behind a delete marker: a later overwrite cannot hide the bytes
      that were published. ``open`` raises ``ObjectMissing``; ``stat`` returns None.
    * ``list`` yields in key order, sees behind delete markers under a lock, and never yields
      unfinished uploads.
    * ``prolong`` makes what is read under a key retained until a later date, in the strictest mode there
      is: it never shortens, and does nothing where there is no lock. ``put`` of the same bytes does the same.
      ``retained_until`` is the date, None without one. Under a lock both raise ``ObjectMissing``.
    * ``delete`` of what is not there is no error. Under a lock it deletes by version and raises
      ``StorageError`` while a version is still retained.
    """

    name: str
    url: str

    def put(self, key: str, source: Path, *, sha256: str, retain_until: datetime | None = None) -> None: ...

    def create(self, key: str, data: bytes, *, retain_until: datetime | None = None) -> None: ...

    def replace(self, key: str, data: bytes, *, previous: bytes | None) -> None:
        """Compare and swap a small object: write only if it still holds ``previous`` (None: absent).

        Raises:
            ObjectExists: It holds something else by now.
        """

    def open(self, key: str) -> AbstractContextManager[BinaryIO]: ...

    def read(self, key: str, *, limit: int = 64 << 20) -> bytes: ...

    def stat(self, key: str) -> ObjectStat | None: ...

    def list(self, prefix: str) -> Iterator[ObjectStat]: ...

    def list_after(self, prefix: str, after: str) -> Iterator[ObjectStat]:
        """As `list`, only what comes behind ``after``, a key that is there: the end of a long row alone."""
        ...

    def delete(self, key: str) -> None: ...

    def prolong(self, key: str, until: datetime) -> None: ...

    def retained_until(self, key: str) -> datetime | None: ...

    def unfinished(self, prefix: str) -> Iterator[Upload]: ...

    def abort(self, upload: Upload) -> None: ...

    def capabilities(self) -> Capabilities: ...

    def free_bytes(self) -> int | None:
        """Space left where that can be known, else None."""
