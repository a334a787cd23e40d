"""A process that cuts a tar stream into volumes and seals them, for `pra.engines.tarcut`.

What it hears and says, one JSON line each (see `pra.engines.beside`)::

    {"recipients": […], "threads": n, "volume_bytes": n, "folder": …, "prefix": …}     once
    {"feed": true} and the descriptor of a tar stream
    ← {"ask": name}                       for a file that no relation lies in
    {"divert": bool, "copy": bool}
    ← {"taken": name} and its bytes
    ← {"read": n}                         bytes so far, now and then
    ← {"stored": {…}}                     a volume is whole
    {"added": name}                       the spool has taken it
    ← {"fed": n}                          the stream has ended, every volume of it was said; or {"error": {…}}

The next volume begins while the last one's rest is still being compressed; no third one before the spool
took the first.
"""

from __future__ import annotations

import os
import queue
import re
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, cast

from pra.engines.beside import Channel, error_document
from pra.engines.plumbing import read_exactly, widen
from pra.engines.tarstream import END, Member, MemberType, padded, read_member
from pra.errors import IntegrityError, PraError
from pra.model import StoredObject
from pra.storage.sealing import seal

TAKEN_BYTES = 1 << 30
"""Limit of one member that is sent back: the largest WAL segment there can be, or a very long file list."""
_UNDER_WAY = 2
_REPORT_EVERY = 16 << 20
_RELATION = re.compile(r"(base|PG_\w+)/.+")
_OP = "read base backup"


class _Stream:
    """A tar stream, one member ahead; what is diverted never shows.

    Attributes:
        member: The next one that belongs into a volume; None at the end of the archive.
        data: Its content and padding, if they were read already.
        read: Bytes so far.
    """

    def __init__(self, fd: int, desk: _Desk) -> None:
        self.fd = fd
        self.member: Member | None = None
        self.data: bytes | None = None
        self.read = 0
        self._desk = desk
        self._reported = 0
        widen(fd)
        self.advance()

    def take(self, size: int) -> bytes:
        data = read_exactly(self.fd, size)
        self.count(size)
        return data

    def count(self, size: int) -> None:
        self.read += size
        if self.read - self._reported >= _REPORT_EVERY:
            self._reported = self.read
            self._desk.say({"read": self.read})

    def advance(self) -> None:
        """Go on to the next member. The bytes of this one must have been read."""
        while True:
            self.data = None
            self.member = member = read_member(self.take)
            if member is None or member.type is not MemberType.FILE or _RELATION.fullmatch(member.name):
                return
            divert, copy = self._desk.ask(member.name)
            if not (divert or copy):
                return
            data = self._taken(member)
            if not divert:
                self.data = data
                return

    def _taken(self, member: Member) -> bytes:
        if member.size > TAKEN_BYTES:
            raise IntegrityError(
                f"{member.name} has {member.size} bytes; at most {TAKEN_BYTES} can be taken apart", op=_OP
            )
        data = self.take(padded(member.size))
        self._desk.say({"taken": member.name}, memoryview(data)[: member.size])
        return data

    def drain(self) -> None:
        while data := os.read(self.fd, 1 << 20):
            self.count(len(data))


class _Volume:
    """Whole members, up to ``limit`` bytes, as a file that `seal` reads; a larger member is one by itself.

    ``over`` is set once no more is taken from the stream: the next volume may begin.
    """

    def __init__(self, stream: _Stream, limit: int) -> None:
        self.over = threading.Event()
        self._stream = stream
        self._limit = limit
        self._bytes = 0
        self._ready = memoryview(b"")
        self._left = 0
        self._begin()

    def _begin(self) -> None:
        """Take the stream's member, or end."""
        member, data = self._stream.member, self._stream.data
        size = 0 if member is None else len(member.head) + member.padded
        if member is None or (self._bytes and self._bytes + size > self._limit):
            self._ready = memoryview(END)
            self.over.set()
            return
        self._bytes += size
        self._ready = memoryview(member.head if data is None else member.head + data)
        self._left = member.padded if data is None else 0

    def readinto(self, buffer: memoryview) -> int:
        if not self._ready and not self._left and not self.over.is_set():
            self._stream.advance()
            self._begin()
        if self._ready:
            count = min(len(buffer), len(self._ready))
            buffer[:count] = self._ready[:count]
            self._ready = self._ready[count:]
            return count
        if not self._left:
            return 0
        count = os.readv(self._stream.fd, [buffer[: self._left]])
        if not count:
            read_exactly(self._stream.fd, 1)  # says that the stream ended early
        self._left -= count
        self._stream.count(count)
        return count


class _Desk:
    """What is said to, and heard from, the process that asked."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._answers: queue.SimpleQueue[tuple[bool, bool]] = queue.SimpleQueue()
        self.room = threading.Semaphore(_UNDER_WAY)

    def say(self, document: dict[str, Any], data: memoryview | None = None) -> None:
        try:
            self._channel.say(document, data=data)
        except OSError:
            os._exit(1)  # whoever asked has gone

    def ask(self, name: str) -> tuple[bool, bool]:
        self.say({"ask": name})
        return self._answers.get()

    def listen(self, feed: Callable[[int], None]) -> None:
        """Hear until the other end closes; what there is to feed is done on a thread of its own."""
        while (heard := self._channel.hear()) is not None:
            if heard.fd is not None:
                threading.Thread(target=feed, args=(heard.fd,), daemon=True).start()
            elif "added" in heard.document:
                self.room.release()
            else:
                self._answers.put((heard.document["divert"], heard.document["copy"]))


class _Cutting:
    def __init__(self, desk: _Desk, setup: dict[str, Any]) -> None:
        self._desk = desk
        self._setup = setup
        self._suffix = ".tar.zst.age" if setup["recipients"] else ".tar.zst"
        self._number = 0
        self._failures: list[BaseException] = []

    def feed(self, fd: int) -> None:
        try:
            self._desk.say({"fed": self._cut(fd)})
        except BaseException as error:
            self._desk.say({"error": error_document(_explained(error))})
        finally:
            os.close(fd)

    def _cut(self, fd: int) -> int:
        stream = _Stream(fd, self._desk)
        threads: list[threading.Thread] = []
        while stream.member is not None and not self._failures:
            self._desk.room.acquire()
            self._number += 1
            name = f"{self._setup['prefix']}-{self._number:04d}{self._suffix}"
            volume = _Volume(stream, self._setup["volume_bytes"])
            thread = threading.Thread(target=self._seal, args=(volume, name), daemon=True)
            thread.start()
            threads.append(thread)
            volume.over.wait()
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]
        stream.drain()
        return stream.read

    def _seal(self, volume: _Volume, name: str) -> None:
        try:
            stored: StoredObject = seal(
                cast(BinaryIO, volume),
                Path(self._setup["folder"]) / name,
                recipients=self._setup["recipients"],
                threads=self._setup["threads"],
                durable=False,
            )
            self._desk.say({"stored": asdict(stored)})
        except BaseException as error:  # raised by _cut()
            self._failures.append(error)
        finally:
            volume.over.set()


def _explained(error: BaseException) -> PraError:
    if isinstance(error, PraError):
        return error
    return PraError(f"unexpected {type(error).__name__} while sealing: {error}", op="seal volume")


def main() -> int:
    channel = Channel(socket.socket(fileno=os.dup(sys.stdin.fileno())))
    if (heard := channel.hear()) is not None:
        desk = _Desk(channel)
        desk.listen(_Cutting(desk, heard.document).feed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
