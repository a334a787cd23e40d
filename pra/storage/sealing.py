"""Plaintext in, stored object out. See :mod:`pra.storage.pipe`."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyrage
import zstandard

from pra.errors import SettingsError, SpaceError, StorageError
from pra.model import StoredObject
from pra.storage.files import sync
from pra.storage.handover import Handover, Stopped

CHUNK = 1 << 20
_DEPTH = 4
# What is compressed already still gets a frame, so that every object opens the same way. At this
# level that costs little more than a copy.
_FRAME_ONLY = -50


def seal(
    source: BinaryIO | Iterable[bytes],
    destination: Path,
    *,
    recipients: Sequence[str],
    level: int = 1,
    compress: bool = True,
    durable: bool = True,
    threads: int = 0,
) -> StoredObject:
    """Compress and encrypt ``source`` into the new file ``destination``, 0600, whole or not at all.

    Args:
        source: A binary file, or chunks of any size.
        destination: Its name becomes the object's name.
        recipients: age X25519 recipients (``age1…``). None of them: no encryption.
        level: zstd level.
        compress: False where the bytes are compressed already: they get a frame, and no effort.
        durable: Sync the file and its directory. A spool file need not be: storing it syncs it.
        threads: That compress beside this one; 0: none, which costs the least in all.

    Raises:
        SettingsError: A recipient cannot be read.
        SpaceError: The disk of ``destination`` is full.
        StorageError: It cannot be written for another reason.
        Exception: Whatever reading ``source`` raised.
    """
    keys = [_recipient(text) for text in recipients]
    sink = _Sink(destination)
    try:
        plain_bytes, plain_sha256 = _sealed(
            source,
            sink,
            keys,
            zstandard.ZstdCompressor(
                level=level if compress else _FRAME_ONLY, write_checksum=True, threads=threads
            ),
        )
        sink.commit(durable=durable)
    finally:
        sink.close()
    return StoredObject(destination.name, sink.bytes, sink.hexdigest(), plain_bytes, plain_sha256)


class _Sink:
    """Hashes, counts and writes into a temporary file, which becomes ``destination`` when committed."""

    def __init__(self, destination: Path) -> None:
        self.bytes = 0
        self.failure: BaseException | None = None
        self._destination = destination
        self._temporary = destination.with_name(f".tmp-{destination.name}")
        self._hash = hashlib.sha256()
        self._pieces: list[bytes] = []
        self._gathered = 0
        with self._errors():
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._file = io.FileIO(os.open(self._temporary, flags, 0o600), "wb")

    def write(self, piece: bytes) -> int:
        # age writes 64 KiB at a time; a hash and a system call for each would cost more.
        self._pieces.append(piece)
        self._gathered += len(piece)
        if self._gathered >= CHUNK:
            self.flush()
        return len(piece)

    def flush(self) -> None:
        chunk = memoryview(b"".join(self._pieces))
        self._pieces, self._gathered = [], 0
        self._hash.update(chunk)
        self.bytes += len(chunk)
        try:
            with self._errors():
                while chunk:
                    chunk = chunk[self._file.write(chunk) :]
        except BaseException as error:
            self.failure = error  # pyrage would turn it into text
            raise

    def commit(self, *, durable: bool) -> None:
        with self._errors():
            if durable:
                os.fsync(self._file.fileno())
            self._temporary.replace(self._destination)
            if durable:
                sync(self._destination.parent)

    def close(self) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            fact = f"{self._destination.name}: {(error.strerror or str(error)).lower()}"
            folder = self._destination.parent
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                hint = f"Free space below {folder}, or set PRA_STATE_DIR to a larger disk."
                raise SpaceError(fact, op="seal", hint=hint) from error
            hint = f"Check that {folder} exists and can be written."
            raise StorageError(fact, op="seal", hint=hint, transient=False) from error


def _sealed(
    source: BinaryIO | Iterable[bytes],
    sink: _Sink,
    keys: list[pyrage.x25519.Recipient],
    zstd: zstandard.ZstdCompressor,
) -> tuple[int, str]:
    """Size and SHA-256 of what was read."""
    queue = Handover(_DEPTH)
    failures: list[BaseException] = []

    def encrypt() -> None:
        try:
            if keys:
                pyrage.encrypt_io(queue, sink, keys)
            else:
                while chunk := queue.read():
                    sink.write(chunk)
            sink.flush()
        except BaseException as error:
            failures.append(sink.failure or error)
        finally:
            queue.stop()

    thread = threading.Thread(target=encrypt, name="seal", daemon=True)
    thread.start()
    try:
        count, digest = _compress_into(queue, source, zstd)
        queue.finish()
    except Stopped:
        count, digest = 0, ""  # the thread's failure says why
    except BaseException as error:
        queue.fail(error)
        raise
    finally:
        thread.join()
    if failures:
        raise failures[0]
    return count, digest


def _compress_into(
    queue: Handover, source: BinaryIO | Iterable[bytes], zstd: zstandard.ZstdCompressor
) -> tuple[int, str]:
    compressor = zstd.compressobj()
    digest, count = hashlib.sha256(), 0
    for chunk in _chunks(source):
        digest.update(chunk)
        count += len(chunk)
        queue.put(compressor.compress(chunk))
    queue.put(compressor.flush())
    return count, digest.hexdigest()


def _chunks(source: BinaryIO | Iterable[bytes]) -> Iterator[bytes | memoryview]:
    read: Callable[[int], bytes] | None = getattr(source, "read", None)
    if read is not None:
        while chunk := read(CHUNK):
            yield chunk
        return
    for piece in source:
        for start in range(0, len(piece), CHUNK):
            yield memoryview(piece)[start : start + CHUNK]


def _recipient(text: str) -> pyrage.x25519.Recipient:
    try:
        return pyrage.x25519.Recipient.from_str(text.strip())
    except pyrage.RecipientError:
        raise SettingsError(
            f"not an age recipient: {text[:16]!r}…",
            op="seal",
            hint="Write the recipient (age1…) that pra key make prints under [encryption] recipients.",
        ) from None
