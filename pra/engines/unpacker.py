"""A process that decrypts and unpacks objects for `pra.engines.fetching`.

Decrypting holds the interpreter's lock: threads of one process do not share it out over cores, processes
do. Commands come on stdin, answers go to stdout, both as JSON lines; the identities among them, which
therefore appear in no argument list and no environment::

    {"directory": …, "identities": […]}          once
    {"name": …, "bytes": …, "sha256": …, …}      for each object, then its stored bytes in frames
    ← {} or {"kind": …, "message": …, "op": …, "hint": …, "transient": …}

A frame is four bytes of length and that many bytes; length 0 ends the object. Damage may make an object
longer or shorter than its manifest says, so its own size cannot be what ends it.
"""

from __future__ import annotations

import io
import json
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from pra.disk import disk_errors
from pra.engines.pack import DUMP, unpack
from pra.errors import PraError
from pra.model import StoredObject
from pra.storage.pipe import unseal

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LENGTH = struct.Struct(">I")
_CHUNK = 1 << 20


def receive(raw: BinaryIO, stored: StoredObject, directory: Path, identities: Sequence[str]) -> None:
    """Verify, decrypt and unpack one object into ``directory``.

    Raises:
        IntegrityError: The bytes are not what was signed. DecryptError: No identity opens them.
        SpaceError, PraError: ``directory`` cannot be written.
    """
    with disk_errors("fetch backup", directory), unseal(raw, stored, identities=identities) as plain:
        if DUMP.fullmatch(stored.name):
            unpack(plain, directory / "dump")
            return
        with (directory / stored.name.removesuffix(".age").removesuffix(".zst")).open("xb") as sink:
            while chunk := plain.read(_CHUNK):
                sink.write(chunk)


class Frames(io.RawIOBase):
    """The framed bytes of one object as a file."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._left = 0
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        if not self._left and not self._next():
            return 0
        piece = self._source.read(min(len(view), self._left))
        if not piece:
            raise EOFError("the other end has gone")
        view[: len(piece)] = piece
        self._left -= len(piece)
        return len(piece)

    def _next(self) -> bool:
        if not self._ended:
            self._left = LENGTH.unpack(self._source.read(LENGTH.size))[0]
            self._ended = self._left == 0
        return not self._ended

    def drain(self) -> None:
        """Read on to the end of the object, whatever was made of it."""
        scratch = bytearray(_CHUNK)
        while self.readinto(scratch):
            pass


def main() -> int:
    source, answers = sys.stdin.buffer, sys.stdout.buffer
    setup = json.loads(source.readline())
    for line in iter(source.readline, b""):
        frames = Frames(source)
        answer: dict[str, object] = {}
        try:
            stored = StoredObject(**json.loads(line))
            with io.BufferedReader(frames, _CHUNK) as raw:
                receive(cast(BinaryIO, raw), stored, Path(setup["directory"]), setup["identities"])
        except PraError as error:
            answer = {
                "kind": type(error).__name__,
                "message": error.message,
                "op": error.op,
                "hint": error.hint,
                "transient": error.transient,
            }
        frames.drain()
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
