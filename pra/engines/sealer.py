"""A process that compresses, encrypts and hashes the volumes of `pra.engines.tarcut`.

What it hears and says, one JSON line each (see `pra.engines.beside`)::

    {"recipients": […], "threads": n}           once
    {"volume": path} and a pipe's read end        for each volume
    {"end": path, "bytes": n}                     the volume is whole: so many bytes went into its pipe
    ← {"stored": {…}}  or  {"error": {…}}

A pipe also ends when its writer dies, so a volume only becomes a file once its size was confirmed. Two
volumes may be under way: the next one begins while the last one's rest is still being compressed.
"""

from __future__ import annotations

import io
import os
import queue
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, cast

from pra.engines.beside import Channel, error_document
from pra.errors import IntegrityError, PraError
from pra.storage.sealing import seal


class _Plain:
    """A volume's bytes as they come out of its pipe; the end counts only when it was confirmed."""

    def __init__(self, fd: int) -> None:
        self._raw = io.FileIO(fd, "rb")
        self._count = 0
        self.confirmed: queue.SimpleQueue[int] = queue.SimpleQueue()

    def readinto(self, buffer: bytearray | memoryview) -> int:
        count = self._raw.readinto(buffer)
        if not count:
            self._end()
        self._count += count
        return count

    def read(self, size: int) -> bytes:
        data = self._raw.read(size)
        if not data:
            self._end()
        self._count += len(data)
        return data

    def _end(self) -> None:
        if self.confirmed.get() != self._count:
            raise IntegrityError("a volume's bytes were lost on their way", op="seal volume", transient=True)

    def close(self) -> None:
        self._raw.close()


class _Sealer:
    def __init__(self, channel: Channel, recipients: Sequence[str], threads: int) -> None:
        self._channel = channel
        self._recipients = recipients
        self._threads = threads
        self._open: dict[str, _Plain] = {}

    def begin(self, path: str, fd: int) -> None:
        plain = self._open[path] = _Plain(fd)
        threading.Thread(target=self._seal, args=(plain, Path(path)), daemon=True).start()

    def end(self, path: str, count: int) -> None:
        self._open.pop(path).confirmed.put(count)

    def _seal(self, plain: _Plain, path: Path) -> None:
        answer: dict[str, object]
        try:
            stored = seal(
                cast(BinaryIO, plain),
                path,
                recipients=self._recipients,
                threads=self._threads,
                durable=False,
            )
            answer = {"stored": asdict(stored)}
        except PraError as error:
            answer = {"error": error_document(error)}
        except Exception as error:
            failure = PraError(f"unexpected {type(error).__name__} while sealing", op="seal volume")
            answer = {"error": error_document(failure)}
        # The writer finds out by its pipe breaking, then by the answer.
        self._channel_say_and_close(answer, plain)

    def _channel_say_and_close(self, answer: dict[str, object], plain: _Plain) -> None:
        try:
            self._channel.say(answer)
        except OSError:
            os._exit(1)  # whoever asked has gone
        finally:
            plain.close()


def main() -> int:
    channel = Channel(socket.socket(fileno=os.dup(sys.stdin.fileno())))
    heard = channel.hear()
    if heard is None:
        return 0
    setup = heard[0]
    sealer = _Sealer(channel, setup["recipients"], setup["threads"])
    while (heard := channel.hear()) is not None:
        document, fd = heard
        if fd is not None:
            sealer.begin(document["volume"], fd)
        else:
            sealer.end(document["end"], document["bytes"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
