"""A tar stream cut into sealed volumes while it is being read.

``pg_basebackup -Ft -D -`` writes one long tar archive. The cutter reads its headers alone; the files' bytes
go from pipe to pipe inside the kernel, to the process beside us that seals (`pra.engines.sealer`).
A volume holds whole members and is a tar archive of its own, so volumes are published while the server is
still being read, and unpacked side by side. Extracted over one another, in any order, they are the directory.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from pra.engines.beside import Beside
from pra.engines.plumbing import make_pipe, open_source, write_all
from pra.engines.reading import Report, no_report
from pra.engines.tarstream import END, Member, MemberType, padded, read_member
from pra.errors import IntegrityError, PraError, ToolError
from pra.model import StoredObject
from pra.proc import Scope
from pra.storage.spool import Attempt

VOLUME_BYTES = 256 << 20
TAKEN_BYTES = 64 << 20
"""Limit of one member that is given to ``taken``."""
_UNDER_WAY = 2
_REPORT_EVERY = 16 << 20
_LAST_WORDS = 30.0  # seconds a process may take to say why it closed its pipe


def nothing(_: str) -> bool:
    """Diverts or copies no member."""
    return False


def ignore(_: str, __: bytes) -> None:
    """Takes a member and makes nothing of it."""


class Cutter:
    """Cuts tar streams into volumes ``<prefix>-0001.tar.zst[.age]`` that are sealed, added to ``attempt``.

    One sealing process is started when the first volume begins, and lives until `finish` or `abort`.

    Args:
        scope: Owns the sealing process.
        recipients: age recipients; none of them: no encryption.
        volume_bytes: A volume takes whole members up to this many bytes; a larger member has one of its own.
        threads: Of the compressor; 0 compresses on the thread that reads.
        prefix: ``base``, or ``tblspc-<oid>``.
        divert: By name: True for a file that goes to ``taken`` instead of into a volume.
        copy: By name: True for a file that goes into a volume and to ``taken`` as well.
        taken: Called on the thread of `feed` with a file's name and bytes, at most `TAKEN_BYTES`.
        report: Called with ("read", bytes so far, 0).
    """

    def __init__(
        self,
        attempt: Attempt,
        *,
        scope: Scope,
        recipients: Sequence[str],
        volume_bytes: int = VOLUME_BYTES,
        threads: int = 2,
        prefix: str = "base",
        divert: Callable[[str], bool] = nothing,
        copy: Callable[[str], bool] = nothing,
        taken: Callable[[str, bytes], None] = ignore,
        report: Report = no_report,
    ) -> None:
        self._names = _names(prefix, encrypted=bool(recipients))
        self._sealing = _Sealing(attempt, scope, recipients, threads)
        self._volume_bytes = volume_bytes
        self._divert, self._copy, self._taken = divert, copy, taken
        self._report = report
        self._read = 0
        self._reported = 0
        self._volume: _Volume | None = None

    def feed(self, source: BinaryIO | int) -> None:
        """Read one tar stream to its end; several may follow one another.

        A file that has a descriptor is read through it, so nothing may have been read from it before.
        Waits while the spool is full. It is the caller's to notice that the writer of the stream failed:
        look at that first, since a stream that ends early is only what follows from it.

        Raises:
            IntegrityError: It is no tar archive, or ends early.
            SpaceError: The spool's disk is full. StorageError: No publisher is left, or the attempt is over.
            ToolError: The sealing process ended, or the scope was closed.
        """
        stream = open_source(source)
        while (member := read_member(stream.take)) is not None:
            self._sealing.check()
            is_file = member.type is MemberType.FILE
            data: bytes | None = None
            if is_file and (self._divert(member.name) or self._copy(member.name)):
                data = self._content(stream.take, member)
                self._taken(member.name, data[: member.size])
            if not (is_file and self._divert(member.name)):
                volume = self._room_for(member)
                with self._sealing.last_words():
                    write_all(volume.sink, member.head if data is None else member.head + data)
                    if data is None:
                        stream.move(member.padded, volume.sink)
                volume.bytes += len(member.head) + member.padded
            self._count(len(member.head) + member.padded)
        stream.drain()

    def _content(self, take: Callable[[int], bytes], member: Member) -> bytes:
        if member.size > TAKEN_BYTES:
            raise IntegrityError(
                f"{member.name} has {member.size} bytes; at most {TAKEN_BYTES} can be taken apart",
                op="read base backup",
            )
        return take(padded(member.size))

    def _room_for(self, member: Member) -> _Volume:
        """The volume that takes the member: the open one, unless that would grow too large."""
        size = len(member.head) + member.padded
        if self._volume is not None and self._volume.bytes + size > self._volume_bytes:
            self._end_volume()
        if self._volume is None:
            self._volume = self._sealing.begin(next(self._names))
        return self._volume

    def _end_volume(self) -> None:
        if self._volume is not None:
            volume, self._volume = self._volume, None
            self._sealing.end(volume)

    def _count(self, count: int) -> None:
        self._read += count
        if self._read - self._reported >= _REPORT_EVERY:
            self._reported = self._read
            self._report("read", self._read, 0)

    def finish(self) -> list[StoredObject]:
        """Wait for every volume; they are in the attempt then, and returned in order of name.

        Raises: as `feed`.
        """
        self._end_volume()
        self._report("read", self._read, 0)
        return self._sealing.finish()

    def abort(self) -> None:
        """End the sealing process and forget what it was doing. End the attempt first. Never raises."""
        if self._volume is not None:
            with contextlib.suppress(OSError):
                os.close(self._volume.sink)
            self._volume = None
        self._sealing.abort()


def _names(prefix: str, *, encrypted: bool) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"{prefix}-{number:04d}.tar.zst{'.age' if encrypted else ''}"


class _Volume:
    """A volume that is being filled: ``sink`` is the write end of its pipe."""

    def __init__(self, path: Path, sink: int) -> None:
        self.path = path
        self.sink = sink
        self.bytes = 0


class _Sealing:
    """The process that seals, and the thread that hears from it and adds what it made to the attempt."""

    def __init__(self, attempt: Attempt, scope: Scope, recipients: Sequence[str], threads: int) -> None:
        self._attempt = attempt
        self._scope = scope
        self._setup = {"recipients": list(recipients), "threads": threads}
        self._changed = threading.Condition()
        self._under_way = 0
        self._failure: BaseException | None = None
        self._objects: list[StoredObject] = []
        self._beside: Beside | None = None
        self._thread: threading.Thread | None = None

    def begin(self, name: str) -> _Volume:
        """Open a volume; waits while two are under way."""
        beside = self._started()
        with self._changed:
            self._changed.wait_for(lambda: self._under_way < _UNDER_WAY or self._failure is not None)
        self.check()
        path = self._attempt.path(name)
        source, sink = make_pipe()
        try:
            beside.say({"volume": str(path)}, source)
        except BaseException:
            os.close(sink)
            raise
        finally:
            os.close(source)
        with self._changed:
            self._under_way += 1
        return _Volume(path, sink)

    def end(self, volume: _Volume) -> None:
        try:
            with self.last_words():
                write_all(volume.sink, END)
        finally:
            os.close(volume.sink)
        self._started().say({"end": str(volume.path), "bytes": volume.bytes + len(END)})

    def _started(self) -> Beside:
        if self._beside is None:
            self._beside = Beside(self._scope, "pra.engines.sealer", op="seal volume")
            self._beside.say(self._setup)
            self._thread = threading.Thread(target=self._hear, args=(self._beside,), daemon=True)
            self._thread.start()
        return self._beside

    def _hear(self, beside: Beside) -> None:
        try:
            while True:
                stored = StoredObject(**beside.hear()["stored"])
                self._attempt.add(stored)
                with self._changed:
                    self._objects.append(stored)
                    self._under_way -= 1
                    self._changed.notify_all()
        except BaseException as error:  # raised on the caller's thread by check()
            with self._changed:
                if self._failure is None:
                    self._failure = error
                self._changed.notify_all()

    def check(self) -> None:
        """Raise what went wrong, as soon as it has."""
        if isinstance(self._failure, PraError):
            raise self._failure
        if self._failure is not None:
            raise PraError(
                f"unexpected {type(self._failure).__name__} while sealing", op="seal volume"
            ) from self._failure

    @contextlib.contextmanager
    def last_words(self) -> Iterator[None]:
        """Turn a pipe that broke into the reason that the process gave."""
        try:
            yield
        except BrokenPipeError:
            with self._changed:
                self._changed.wait_for(lambda: self._failure is not None, _LAST_WORDS)
            self.check()
            raise ToolError(
                "the sealing process closed its pipe and said nothing", op="seal volume", transient=True
            ) from None

    def finish(self) -> list[StoredObject]:
        with self._changed:
            self._changed.wait_for(lambda: self._under_way == 0 or self._failure is not None)
        self.check()
        if self._beside is not None and self._thread is not None:
            self._beside.close()
            self._thread.join()
        return sorted(self._objects, key=lambda stored: (len(stored.name), stored.name))

    def abort(self) -> None:
        with self._changed:
            if self._failure is None:
                self._failure = ToolError("the base backup was abandoned", op="seal volume")
            self._changed.notify_all()
        if self._beside is not None and self._thread is not None:
            self._beside.kill()
            self._thread.join()
