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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pra import errors
from pra.errors import PraError, ToolError
from pra.proc import Scope

Document = Mapping[str, Any]
_ROOM = 1 << 16
_MAX_FDS = 16


class Channel:
    """JSON documents, each with a descriptor or without, over a stream socket. Reading is for one thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._buffer = b""
        self._fds: deque[int] = deque()

    def say(self, document: Document, fd: int | None = None) -> None:
        """Send a document and, with it, a descriptor, which stays the caller's to close.

        Raises:
            OSError: The other end has gone.
        """
        data = json.dumps({**document, "_fd": fd is not None}).encode() + b"\n"
        with self._lock:
            sent = socket.send_fds(self._sock, [data], [] if fd is None else [fd])
            self._sock.sendall(data[sent:])

    def hear(self) -> tuple[dict[str, Any], int | None] | None:
        """The next document and its descriptor, the caller's to close; None: the other end has gone."""
        while b"\n" not in self._buffer:
            try:
                data, fds, _, _ = socket.recv_fds(self._sock, _ROOM, _MAX_FDS)
            except OSError:  # reset, or closed under us by close()
                return None
            self._fds += fds
            if not data:
                return None
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        document = json.loads(line)
        return document, self._fds.popleft() if document.pop("_fd") else None

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
                env={"PYTHONPATH": str(Path(__file__).parents[2])},
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

    def hear(self) -> dict[str, Any]:
        """Its next answer.

        Raises:
            ToolError: It ended, or the scope was closed.
            PraError: The answer is an error: as it was raised over there.
        """
        heard = self._channel.hear()
        if heard is None:
            raise self.gone()
        answer = heard[0]
        if (failure := answer.get("error")) is not None:
            raise error_from(failure)
        return answer

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
