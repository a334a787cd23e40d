"""Pipes and descriptors: bytes moved inside the kernel where it can (Linux), read and written elsewhere."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
from typing import BinaryIO, Protocol

from pra.errors import IntegrityError

PIPE_BYTES = 1 << 20
"""What an unprivileged process may ask for; the default of 64 KiB costs a switch of tasks for each."""
_CHUNK = 1 << 20
_SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", None)


def make_pipe() -> tuple[int, int]:
    """A wide pipe: its read end and its write end, neither inherited."""
    source, sink = os.pipe()
    widen(sink)
    return source, sink


def widen(fd: int) -> None:
    """Let a pipe hold more. It works as it is where that is refused, or where it is no pipe."""
    if _SET_PIPE_SIZE is not None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, _SET_PIPE_SIZE, PIPE_BYTES)


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Raises OSError, BrokenPipeError when the reader has gone."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Source(Protocol):
    """A stream of bytes of which parts are looked at and parts are passed on."""

    def take(self, size: int) -> bytes:
        """Exactly so many bytes. Raises IntegrityError when it ends before."""
        ...

    def move(self, size: int, sink: int) -> None:
        """Pass exactly so many bytes on to a descriptor. Raises as `take`; OSError of the sink."""
        ...

    def drain(self) -> None:
        """Read to the end."""
        ...


def open_source(source: BinaryIO | int) -> Source:
    """Read ``source`` through its descriptor if it has one, else through its ``read``."""
    if isinstance(source, int):
        return _Descriptor(source)
    try:
        return _Descriptor(source.fileno())
    except (OSError, AttributeError, io.UnsupportedOperation):
        return _File(source)


def _ended() -> IntegrityError:
    return IntegrityError(
        "the tar stream ended before its end",
        op="read base backup",
        hint="See what the program that writes it reported, then run it again.",
        transient=True,
    )


class _Descriptor:
    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._splice = hasattr(os, "splice")
        widen(fd)

    def take(self, size: int) -> bytes:
        data = os.read(self._fd, size)
        if len(data) == size:
            return data
        gathered = bytearray(data)
        while len(gathered) < size:
            piece = os.read(self._fd, min(size - len(gathered), _CHUNK))
            if not piece:
                raise _ended()
            gathered += piece
        return bytes(gathered)

    def move(self, size: int, sink: int) -> None:
        while size:
            moved = self._spliced(size, sink) if self._splice else None
            if moved is None:
                data = os.read(self._fd, min(size, _CHUNK))
                write_all(sink, data)
                moved = len(data)
            if not moved:
                raise _ended()
            size -= moved

    def _spliced(self, size: int, sink: int) -> int | None:
        """None where the kernel cannot do it between these two."""
        try:
            return os.splice(self._fd, sink, min(size, _CHUNK))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            self._splice = False
            return None

    def drain(self) -> None:
        while os.read(self._fd, _CHUNK):
            pass


class _File:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def take(self, size: int) -> bytes:
        gathered = bytearray()
        while len(gathered) < size:
            piece = self._file.read(size - len(gathered))
            if not piece:
                raise _ended()
            gathered += piece
        return bytes(gathered)

    def move(self, size: int, sink: int) -> None:
        while size:
            piece = self._file.read(min(size, _CHUNK))
            if not piece:
                raise _ended()
            write_all(sink, piece)
            size -= len(piece)

    def drain(self) -> None:
        while self._file.read(_CHUNK):
            pass
