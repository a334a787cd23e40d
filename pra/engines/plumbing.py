"""Pipes and descriptors."""

from __future__ import annotations

import contextlib
import fcntl
import os

from pra.errors import IntegrityError

PIPE_BYTES = 1 << 20
"""What an unprivileged process may ask for; the default of 64 KiB costs a switch of tasks for each."""
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


def write_all(fd: int, data: bytes) -> None:
    """Raises OSError; BrokenPipeError when the reader has gone."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_exactly(fd: int, size: int) -> bytes:
    """Raises IntegrityError when the stream ends before."""
    data = os.read(fd, size)
    if len(data) == size:
        return data
    gathered = bytearray(data)
    while len(gathered) < size:
        piece = os.read(fd, size - len(gathered))
        if not piece:
            raise IntegrityError(
                "the tar stream ended before its end",
                op="read base backup",
                hint="See what the program that writes it reported, then run it again.",
                transient=True,
            )
        gathered += piece
    return bytes(gathered)
