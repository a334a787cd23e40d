"""The streamer's disk: what was received, sealed, and is on its way. It outlives every process.

::

    <state>/wal/<target>/lock                     one streamer a target and state directory
    <state>/wal/<target>/<system id>/spool.json   segment size, and who we are to the repositories
                                     received/    pg_receivewal's own folder
                                     ended/       beginnings of segments that will never be finished
                                     sealed/      finished segments, compressed and encrypted, until every
                                                  repository has them

pg_receivewal tells the server that it has a segment as soon as it is synced here, so nothing leaves this disk
before its sealed copy is synced, and no sealed copy before it lies in the repositories. The newest finished
segment stays in ``received``: an empty folder would make pg_receivewal begin where it likes.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pra.disk import disk_errors
from pra.errors import BusyError, IntegrityError
from pra.model import StoredObject
from pra.postgres.wal import HISTORY, SEGMENT, segment_start
from pra.storage.files import sync, try_lock
from pra.storage.pipe import seal
from pra.wal.shipping import SealedSegment, seal_segment, sealed_from

_PARTIAL = re.compile(rf"({SEGMENT.pattern})\.partial")
_OP = "use WAL spool"


@dataclass(frozen=True)
class Beginning:
    """The sealed beginning of an unfinished segment.

    Attributes:
        lsn: Where it ends.
        ended: Nothing will be added to it any more: its timeline was left, or its server.
    """

    path: Path
    stored: StoredObject
    segment: str
    lsn: int
    ended: bool


@contextmanager
def locked_spool(root: Path) -> Iterator[None]:
    """Keep a second streamer of this target out. The kernel drops the lock however we die.

    Raises:
        BusyError: One is running with this state directory.
    """
    with disk_errors(_OP, root):
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not try_lock(descriptor):
            raise BusyError(
                f"another streamer of {root.name} is running on this machine",
                op="stream WAL",
                hint="There is nothing to do: one streamer serves every repository.",
            )
        yield
    finally:
        os.close(descriptor)


def known_systems(root: Path) -> list[str]:
    """The servers of which there is a spool, the one used last first."""
    found = [file for file in root.glob("*/spool.json") if file.parent.name.isdigit()]
    return [file.parent.name for file in sorted(found, key=lambda file: -file.stat().st_mtime)]


class WalSpool:
    """One server's folder. Safe from several threads except where a method says otherwise.

    Args:
        root: ``<state>/wal/<target>``, locked.
        segment_bytes: None: as it was when the folder was made.

    Raises:
        SpaceError, StorageError: The disk refuses. IntegrityError: The segment size has changed.
    """

    def __init__(
        self, root: Path, system_id: str, recipients: Sequence[str], segment_bytes: int | None = None
    ) -> None:
        self.system_id = system_id
        self.folder = root / system_id
        self.recipients = tuple(recipients)
        with disk_errors(_OP, root):
            for name in ("", "received", "ended", "sealed"):
                (self.folder / name).mkdir(mode=0o700, exist_ok=True)
            self.segment_bytes, self.nonce = self._identity(segment_bytes)
            for left in (*self._sealed.glob(".tmp-*"), *self._sealed.glob("begun-*")):
                left.unlink()
        self._known: dict[str, SealedSegment] = {}
        self._done: set[str] = set()  # finished segments still in ``received`` whose sealed copy was made
        self._ends: dict[Path, int] = {}

    def _identity(self, segment_bytes: int | None) -> tuple[int, str]:
        file = self.folder / "spool.json"
        try:
            found = json.loads(file.read_text())
            known, nonce = int(found["segment_bytes"]), str(found["nonce"])
        except (OSError, ValueError, KeyError, TypeError):
            known, nonce = segment_bytes or 0, secrets.token_hex(8)
        if not known or (segment_bytes or known) != known:
            raise IntegrityError(
                f"{self.folder} belongs to a server with segments of another size",
                op=_OP,
                hint=f"See that all of it has been shipped, then move it away: {self.folder}",
            )
        temporary = file.with_suffix(".new")
        temporary.write_text(json.dumps({"segment_bytes": known, "nonce": nonce}))
        temporary.replace(file)
        return known, nonce

    @property
    def received(self) -> Path:
        return self.folder / "received"

    @property
    def _sealed(self) -> Path:
        return self.folder / "sealed"

    # -- received ------------------------------------------------------------------------------

    def finished(self) -> list[str]:
        """Names of the whole segments in ``received``, in order."""
        found = []
        for path in self.received.iterdir():
            with suppress(FileNotFoundError):  # sealed and removed meanwhile
                if SEGMENT.fullmatch(path.name) and path.stat().st_size == self.segment_bytes:
                    found.append(path.name)
        return sorted(found)

    def histories(self) -> dict[int, bytes]:
        """The timeline histories that came with the WAL."""
        found = {}
        for path in self.received.iterdir():
            if match := HISTORY.fullmatch(path.name):
                found[int(match[1], 16)] = path.read_bytes()
        return {timeline: data for timeline, data in found.items() if data}

    def repair(self) -> list[str]:
        """Make the folder one that pg_receivewal accepts; call it while none runs. Returns what went.

        A kill, or a full disk, while it fills a new file with zeros leaves one of an odd size, at which it
        stops for ever (``open_walfile`` in ``receivelog.c``). There is nothing in such a file but zeros.
        """
        removed = []
        for path in sorted(self.received.iterdir()):
            segment = _PARTIAL.fullmatch(path.name) or SEGMENT.fullmatch(path.name)
            size = path.stat().st_size
            odd = segment is not None and size not in (0, self.segment_bytes)
            if odd or path.suffix == ".tmp" or (SEGMENT.fullmatch(path.name) and size == 0):
                path.unlink()
                removed.append(path.name)
        return removed

    def is_empty(self) -> bool:
        """Whether pg_receivewal would find nothing here that says where to go on."""
        return not any(
            _PARTIAL.fullmatch(path.name) or SEGMENT.fullmatch(path.name) for path in self.received.iterdir()
        )

    def begin_at(self, segment: str) -> None:
        """Have pg_receivewal begin with this segment: it goes on at the start of an empty unfinished one."""
        (self.received / f"{segment}.partial").touch(mode=0o600)
        sync(self.received)

    def set_aside(self) -> str:
        """Empty ``received`` of what the server will not continue; returns the last segment. Seal first."""
        last = ""
        for path in sorted(self.received.iterdir()):
            if match := _PARTIAL.fullmatch(path.name):
                if not self._end(path):  # begun and nothing in it
                    path.unlink()
                    continue
                last = max(last, match[1])
                path.replace(self.folder / "ended" / path.name)
            elif SEGMENT.fullmatch(path.name) and path.name in self._done:
                last = max(last, path.name)
                path.unlink()
        sync(self.folder / "ended")
        sync(self.received)
        return last

    def reached(self) -> tuple[int, int] | None:
        """Timeline and position up to which WAL was received, as far as the bytes themselves tell."""
        found = []
        for path in sorted(self.received.iterdir()):
            partial = _PARTIAL.fullmatch(path.name)
            name = partial[1] if partial else path.name
            if not SEGMENT.fullmatch(name):
                continue
            size = self.segment_bytes
            with suppress(FileNotFoundError):  # finished meanwhile, and then counted by the next look
                size = self._end(path) if partial else size
                found.append((int(name[:8], 16), segment_start(name, self.segment_bytes) + size))
        return max(found, default=None)

    # -- sealing: one thread -------------------------------------------------------------------

    def seal_finished(self) -> list[SealedSegment]:
        """Seal what was finished meanwhile; then only the newest finished one stays in ``received``.

        Raises:
            SpaceError, StorageError: The disk refuses; what was sealed until then is.
        """
        sealed = []
        names = self.finished()
        for name in names:
            if name not in self._done:
                one = seal_segment(
                    self.received / name,
                    name,
                    self._sealed,
                    system_id=self.system_id,
                    recipients=self.recipients,
                    durable=True,
                )
                self._known[one.path.name] = one
                self._done.add(name)
                self._ends.pop(self.received / f"{name}.partial", None)
                sealed.append(one)
            if name != names[-1]:
                (self.received / name).unlink()
                self._done.discard(name)
        return sealed

    def seal_beginning(self, *, known: int = 0) -> list[Beginning]:
        """Seal each unfinished segment that has grown since the last call.

        Args:
            known: A position up to which the server knows that its WAL was written here. Otherwise the last
                byte that is not zero tells: what follows it in the file is zeros of the WAL or nothing yet,
                and recovery, which pads with zeros, sees the same either way.
        """
        newest = self._put_ended_aside()
        found = []
        for path in (*sorted((self.folder / "ended").iterdir()), *([newest] if newest else [])):
            match = _PARTIAL.fullmatch(path.name)
            if match is None:
                continue
            with suppress(FileNotFoundError):  # finished meanwhile
                before = self._ends.get(path, -1)
                end = self._end(path)
                start = segment_start(match[1], self.segment_bytes)
                if path == newest and start < known <= start + self.segment_bytes:
                    end = max(end, known - start)
                if end > max(before, 0):
                    found.append(self._begun(path, match[1], end, ended=path != newest))
                    self._ends[path] = end
        return found

    def _put_ended_aside(self) -> Path | None:
        """Only the newest unfinished segment is still written; pg_receivewal leaves an older timeline's
        where it ended. Returns the newest.
        """
        begun = sorted(path for path in self.received.iterdir() if _PARTIAL.fullmatch(path.name))
        for path in begun[:-1]:
            with suppress(FileNotFoundError):
                if self._end(path):
                    path.replace(self.folder / "ended" / path.name)
                else:
                    path.unlink()
        return begun[-1] if begun else None

    def _end(self, path: Path) -> int:
        """Just behind the last byte that is not zero."""
        known = max(self._ends.get(path, 0), 0)
        with path.open("rb") as file:
            file.seek(known)
            return known + len(file.read().rstrip(b"\0"))

    def _begun(self, path: Path, segment: str, end: int, *, ended: bool) -> Beginning:
        # The end was found first, and is read up to afterwards: pg_receivewal writes in order, so that all
        # before a byte that was seen is there by now, which one pass beside the writer could not promise.
        lsn = segment_start(segment, self.segment_bytes) + end
        name = f"begun-{segment}-{lsn:016X}.zst{'.age' if self.recipients else ''}"
        with path.open("rb") as file:
            source = _Prefix(file, end)
            stored = seal(source.chunks(), self._sealed / name, recipients=self.recipients, durable=False)
        return Beginning(self._sealed / name, stored, segment, lsn, ended)

    def forget_ended(self, segment: str) -> None:
        """The beginning of this segment lies in every repository."""
        (self.folder / "ended" / f"{segment}.partial").unlink(missing_ok=True)

    # -- sealed --------------------------------------------------------------------------------

    def sealed(self) -> list[SealedSegment]:
        """What waits for repositories, in order. What an earlier process left is hashed once."""
        found = []
        for path in self._sealed.iterdir():
            if path.name not in self._known and (one := _sealed_from(path)) is not None:
                self._known[path.name] = one
            if path.name in self._known:
                found.append(self._known[path.name])
        return sorted(found, key=lambda one: one.segment)

    def drop(self, sealed: SealedSegment) -> None:
        """It lies where it belongs."""
        sealed.path.unlink(missing_ok=True)
        self._known.pop(sealed.path.name, None)

    def bytes(self) -> int:
        """What finished segments take here, sealed or not yet."""
        names = self.finished()
        waiting = sum(1 for name in names[:-1] if name not in self._done) * self.segment_bytes
        return waiting + sum(one.stored.bytes for one in self.sealed())


def _sealed_from(path: Path) -> SealedSegment | None:
    with suppress(FileNotFoundError):
        return sealed_from(path)
    return None


class _Prefix:
    """The first bytes of a file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size

    def chunks(self) -> Iterator[bytes]:
        while self._left and (chunk := self._file.read(min(self._left, 1 << 20))):
            self._left -= len(chunk)
            yield chunk
