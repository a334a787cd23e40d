"""A process beside us, spoken to over a socket: one JSON line each way, descriptors sent along.

Compressing and encrypting hold the interpreter's lock now and then; in a process of their own they cost the
threads that talk to repositories nothing. Bytes go through a pipe or a file that the other end is
given, so that they never pass through this interpreter. Secrets go over the socket: they appear in no
argument list and no environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Buffer, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pra import errors
from pra.errors import PraError, ToolError
from pra.proc import Scope

Document = Mapping[str, Any]
_ROOM = 1 << 18
_MAX_FDS = 16
# glibc gives large blocks back to the kernel at once and faults them in anew for the next one.
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(64 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}


@dataclass(frozen=True)
class Heard:
    """A document, the descriptor that came with it (the hearer's to close), and the bytes after it."""

    document: dict[str, Any]
    fd: int | None = None
    data: bytes = b""


class Channel:
    """JSON documents, some with a descriptor or bytes, over a stream socket. Hearing is for one thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._buffer = bytearray()
        self._fds: deque[int] = deque()

    def say(self, document: Document, fd: int | None = None, data: Buffer | None = None) -> None:
        """Send a document and, with it, a descriptor, which stays the caller's to close, or bytes.

        Raises:
            OSError: The other end has gone.
        """
        size = 0 if data is None else len(memoryview(data))
        line = json.dumps({**document, "_fd": fd is not None, "_bytes": size}).encode() + b"\n"
        with self._lock:
            sent = socket.send_fds(self._sock, [line], [] if fd is None else [fd])
            self._sock.sendall(line[sent:])
            if data is not None:
                self._sock.sendall(data)

    def hear(self) -> Heard | None:
        """The next one; None when the other end has gone."""
        while (end := self._buffer.find(b"\n")) < 0:
            if not self._receive():
                return None
        document = json.loads(self._buffer[:end])
        del self._buffer[: end + 1]
        size = document.pop("_bytes")
        while len(self._buffer) < size:
            if not self._receive():
                return None
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return Heard(document, self._fds.popleft() if document.pop("_fd") else None, data)

    def _receive(self) -> bool:
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, _ROOM, _MAX_FDS)
        except OSError:  # reset, or closed under us by close()
            return False
        self._fds += fds
        self._buffer += data
        return bool(data)

    def close(self) -> None:
        # Closing alone would not wake a thread that is reading.
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        while self._fds:
            os.close(self._fds.popleft())


class Beside:
    """A Python module running as a process of ``scope``, with a channel as its standard input."""

    def __init__(self, scope: Scope, module: str, *, op: str, secrets: Sequence[str] = ()) -> None:
        self._scope = scope
        self._op = op
        ours, theirs = socket.socketpair()
        try:
            self._process = scope.start(
                (sys.executable, "-m", module),
                op=op,
                env={"PYTHONPATH": str(Path(__file__).parents[2]), **_MEMORY},
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                secrets=secrets,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._channel = Channel(ours)

    def say(self, document: Document, fd: int | None = None) -> None:
        """Raises ToolError when it has gone."""
        try:
            self._channel.say(document, fd)
        except OSError:
            raise self.gone() from None

    def hear(self) -> Heard:
        """What it says next.

        Raises:
            ToolError: It ended, or the scope was closed.
            PraError: It says an error: as it was raised over there.
        """
        heard = self._channel.hear()
        if heard is None:
            raise self.gone()
        if (failure := heard.document.get("error")) is not None:
            raise error_from(failure)
        return heard

    def gone(self) -> PraError:
        """Why nobody answers any more."""
        if self._scope.closed:
            return ToolError("the work was stopped", op=self._op)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.popen.wait(5)
        last_words = (self._process.stderr().strip().splitlines() or ["it wrote no message"])[-1][-300:]
        return ToolError(
            f"the process beside this one ended ({_how(self._process.popen.returncode)}): {last_words}",
            stderr=self._process.stderr(),
            returncode=self._process.popen.returncode,
            op=self._op,
            hint="Look whether this machine ran out of memory, then run it again.",
            transient=True,
        )

    def close(self) -> None:
        """Let it end by itself if it is idle; it is ended within a second otherwise. Safe to call twice."""
        self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.popen.wait(1)
        self.kill()

    def kill(self) -> None:
        """End it at once. Safe to call twice."""
        self._process.end(grace=1, first=signal.SIGKILL)
        self._channel.close()
        self._scope.forget(self._process)


def _how(returncode: int | None) -> str:
    if returncode is None:
        return "it closed its channel"
    return f"signal {-returncode}" if returncode < 0 else f"exit {returncode}"


def error_document(error: PraError) -> dict[str, object]:
    """An error on its way to another process."""
    return {
        "kind": type(error).__name__,
        "message": error.message,
        "op": error.op,
        "hint": error.hint,
        "transient": error.transient,
    }


def error_from(document: Document) -> PraError:
    """The error that `error_document` was made of."""
    fields = dict(document)
    kind: type[PraError] = getattr(errors, fields.pop("kind"))
    return kind(fields.pop("message"), **fields)
