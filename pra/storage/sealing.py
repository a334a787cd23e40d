"""Plaintext in, stored object out. See :mod:`pra.storage.pipe`."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

import pyrage
import zstandard

from pra.errors import SettingsError, SpaceError, StorageError
from pra.model import StoredObject
from pra.storage import age
from pra.storage.files import sync
from pra.storage.handover import Handover, Stopped

CHUNK = 1 << 20
BLOCK = 2 << 20
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
        threads: That compress blocks side by side, a zstd frame each. Up to 1: one frame, compressed here.

    Raises:
        SettingsError: A recipient cannot be read.
        SpaceError: The disk of ``destination`` is full.
        StorageError: It cannot be written for another reason.
        Exception: Whatever reading ``source`` raised.
    """
    for text in recipients:
        _check_recipient(text)
    sink = _Sink(destination)
    try:
        plain_bytes, plain_sha256 = _sealed(
            source, sink, recipients, level if compress else _FRAME_ONLY, threads
        )
        sink.commit(durable=durable)
    finally:
        sink.close()
    return StoredObject(destination.name, sink.bytes, sink.hexdigest(), plain_bytes, plain_sha256)


class _Sink:
    """Hashes, counts and writes into a temporary file, which becomes ``destination`` when committed."""

    def __init__(self, destination: Path) -> None:
        self.bytes = 0
        self._destination = destination
        self._temporary = destination.with_name(f".tmp-{destination.name}")
        self._hash = hashlib.sha256()
        with self._errors():
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._file = io.FileIO(os.open(self._temporary, flags, 0o600), "wb")

    def write(self, piece: bytes | memoryview) -> None:
        chunk = memoryview(piece)
        self._hash.update(chunk)
        self.bytes += len(chunk)
        with self._errors():
            while chunk:
                chunk = chunk[self._file.write(chunk) :]

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
    source: BinaryIO | Iterable[bytes], sink: _Sink, recipients: Sequence[str], level: int, threads: int
) -> tuple[int, str]:
    """Size and SHA-256 of what was read."""
    queue = Handover(_DEPTH)
    failures: list[BaseException] = []

    def encrypt() -> None:
        try:
            _encrypt(queue, sink, recipients)
        except BaseException as error:
            failures.append(error)
        finally:
            queue.stop()

    thread = threading.Thread(target=encrypt, name="seal", daemon=True)
    thread.start()
    try:
        if threads > 1:
            count, digest = _compress_blocks(queue, source, level, threads)
        else:
            count, digest = _compress(queue, source, level)
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


def _encrypt(queue: Handover, sink: _Sink, recipients: Sequence[str]) -> None:
    if not recipients:
        while chunk := queue.read():
            sink.write(chunk)
        return
    header, key = age.make_header(recipients)
    sink.write(header)
    encryptor = age.Encryptor(key, sink.write)
    while chunk := queue.read():
        encryptor.update(chunk)
    encryptor.finish()


def _compress(queue: Handover, source: BinaryIO | Iterable[bytes], level: int) -> tuple[int, str]:
    """One frame, compressed by the thread that reads."""
    zstd = zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj()
    digest, count = hashlib.sha256(), 0
    for chunk in _chunks(source):
        digest.update(chunk)
        count += len(chunk)
        queue.put(zstd.compress(chunk))
    queue.put(zstd.flush())
    return count, digest.hexdigest()


def _compress_blocks(
    queue: Handover, source: BinaryIO | Iterable[bytes], level: int, threads: int
) -> tuple[int, str]:
    """A frame for each block, several compressed side by side.

    zstd's own threads cost a quarter more processor time for the same bytes, and wait for one another.
    """
    free: SimpleQueue[bytearray] = SimpleQueue()
    idle: SimpleQueue[zstandard.ZstdCompressor] = SimpleQueue()
    under_way = threads + 2
    for _ in range(under_way):
        free.put(bytearray(BLOCK))
    for _ in range(threads):
        idle.put(zstandard.ZstdCompressor(level=level, write_checksum=True))

    def compress(block: memoryview) -> bytes:
        zstd = idle.get()
        try:
            return zstd.compress(block)
        finally:
            idle.put(zstd)
            free.put(block.obj)  # type: ignore[arg-type]  # the bytearray it is a view of

    digest, count = hashlib.sha256(), 0
    waiting: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="compress") as pool:
        for block in _blocks(source, free):
            waiting.append(pool.submit(compress, block))
            digest.update(block)
            count += len(block)
            while waiting and (len(waiting) == under_way or waiting[0].done()):
                queue.put(waiting.popleft().result())
        if not count:
            waiting.append(pool.submit(compress, memoryview(bytearray())))
        for future in waiting:
            queue.put(future.result())
    return count, digest.hexdigest()


def _blocks(source: BinaryIO | Iterable[bytes], free: SimpleQueue[bytearray]) -> Iterator[memoryview]:
    """Full blocks, the last one excepted, each in a buffer out of ``free``, to which it must return."""
    readinto: Callable[[memoryview], int] | None = getattr(source, "readinto", None)
    rest = memoryview(b"")
    chunks = iter(()) if readinto is not None else _chunks(source)
    while True:
        buffer = free.get()
        view, filled = memoryview(buffer), 0
        while filled < BLOCK:
            if readinto is not None:
                count = readinto(view[filled:])
            else:
                rest = rest or memoryview(next(chunks, b""))
                count = min(len(rest), BLOCK - filled)
                view[filled : filled + count] = rest[:count]
                rest = rest[count:]
            if not count:
                break
            filled += count
        if filled:
            yield view[:filled]
        if filled < BLOCK:
            return


def _chunks(source: BinaryIO | Iterable[bytes]) -> Iterator[bytes | memoryview]:
    read: Callable[[int], bytes] | None = getattr(source, "read", None)
    if read is not None:
        while chunk := read(CHUNK):
            yield chunk
        return
    for piece in source:
        for start in range(0, len(piece), CHUNK):
            yield memoryview(piece)[start : start + CHUNK]


def _check_recipient(text: str) -> None:
    try:
        pyrage.x25519.Recipient.from_str(text.strip())
    except pyrage.RecipientError:
        raise SettingsError(
            f"not an age recipient: {text[:16]!r}…",
            op="seal",
            hint="Write the recipient (age1…) that pra key make prints under [encryption] recipients.",
        ) from None
