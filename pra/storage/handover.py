"""A bounded stream of bytes from one thread to another."""

from __future__ import annotations

import threading
from collections import deque


class Stopped(Exception):
    """The other side has gone; what it gave as its reason is known there."""


class Handover:
    """One thread puts chunks, another reads bytes. At most ``depth`` chunks wait in between.

    Both sides must end what they began: the giver calls :meth:`finish` or :meth:`fail`, the taker
    reads to the end or calls :meth:`stop`. Then neither can be left waiting for the other.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._chunks: deque[bytes | bytearray] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._failure: BaseException | None = None
        self._stopped = False
        self._rest = memoryview(b"")

    def put(self, chunk: bytes | bytearray) -> None:
        """Hand over a chunk; waits while the taker is behind.

        Raises:
            Stopped: The taker wants no more.
        """
        if not chunk:
            return
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._chunks) < self._depth)
            if self._stopped:
                raise Stopped
            self._chunks.append(chunk)
            self._changed.notify_all()

    def finish(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def fail(self, failure: BaseException) -> None:
        """End the stream with an exception, which every later :meth:`read` raises."""
        with self._changed:
            self._failure = failure
            self._ended = True
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._chunks.clear()
            self._changed.notify_all()

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, as soon as there are any; empty at the end.

        Raises:
            BaseException: What the giver failed with. Chunks put before that are not returned.
        """
        if not self._rest:
            self._rest = memoryview(self._next())
        if size < 0 or size >= len(self._rest):
            piece, self._rest = self._rest, memoryview(b"")
            return piece.obj if len(piece.obj) == len(piece) else bytes(piece)  # type: ignore[return-value,arg-type]
        piece, self._rest = self._rest[:size], self._rest[size:]
        return bytes(piece)

    def _next(self) -> bytes | bytearray:
        with self._changed:
            self._changed.wait_for(lambda: self._chunks or self._ended)
            if self._failure is not None:
                raise self._failure
            if not self._chunks:
                return b""
            chunk = self._chunks.popleft()
            self._changed.notify_all()
            return chunk
