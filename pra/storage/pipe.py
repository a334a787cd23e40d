"""Bytes on their way into a repository and back: read → zstd → age → hash → file, and the reverse.

What is stored is one zstd frame, inside one age file unless there are no recipients. So
``age -d | zstd -d`` recovers it without this software. One thread reads and compresses, another
encrypts, hashes and writes, and likewise on the way back; what waits between them is bounded.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import pyrage
import zstandard

from pra.errors import DecryptError, IntegrityError, PraError, SettingsError, SpaceError, StorageError
from pra.model import StoredObject
from pra.storage.files import sync
from pra.storage.handover import Handover, Stopped

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 20
_DEPTH = 4
_AGE_MAGIC = b"age-encryption.org/v1\n"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# What is compressed already still gets a frame, so that every object opens the same way. At this
# level that costs little more than a copy.
_FRAME_ONLY = -50
# Above this size a key that does not fit is reported without reading on to see whether the bytes are whole.
_DIAGNOSE_BYTES = 1 << 30


def seal(
    source: BinaryIO | Iterable[bytes],
    destination: Path,
    *,
    recipients: Sequence[str],
    level: int = 1,
    compress: bool = True,
    durable: bool = True,
) -> StoredObject:
    """Compress and encrypt ``source`` into the new file ``destination``, 0600, whole or not at all.

    Args:
        source: A binary file, or chunks of any size.
        destination: Its name becomes the object's name.
        recipients: age X25519 recipients (``age1…``). None of them: no encryption.
        level: zstd level.
        compress: False where the bytes are compressed already: they get a frame, and no effort.
        durable: Sync the file and its directory. A spool file need not be: storing it syncs it.

    Raises:
        SettingsError: A recipient cannot be read.
        SpaceError: The disk of ``destination`` is full.
        StorageError: It cannot be written for another reason.
        Exception: Whatever reading ``source`` raised.
    """
    keys = [_recipient(text) for text in recipients]
    sink = _Sink(destination)
    try:
        plain_bytes, plain_sha256 = _sealed(source, sink, keys, level if compress else _FRAME_ONLY)
        sink.commit(durable=durable)
    finally:
        sink.close()
    return StoredObject(destination.name, sink.bytes, sink.hexdigest(), plain_bytes, plain_sha256)


@contextmanager
def unseal(source: BinaryIO, expected: StoredObject, *, identities: Sequence[str]) -> Iterator[BinaryIO]:
    """Decrypt and decompress ``source``; yields the plaintext as a binary file.

    The last chunk is handed out only after size and SHA-256, stored and plain, have been compared:
    nobody gets to the end of a damaged object. Leaving the context reads what is left for the same
    comparison, unless the reader closed the file or raised.

    Args:
        identities: age X25519 identities (``AGE-SECRET-KEY-1…``); not needed for an object that was
            stored without encryption.

    Raises:
        IntegrityError: While reading: the bytes are not those that were sealed.
        DecryptError: While reading: they are, and no identity opens them.
        StorageError: While reading: the source failed.
    """
    keys = [_identity(text) for text in identities]
    queue = Handover(_DEPTH)
    stored = _Stored(source, expected)
    thread = threading.Thread(target=_unseal_into, args=(queue, stored, keys), name="unseal", daemon=True)
    thread.start()
    try:
        with io.BufferedReader(_Plaintext(queue, expected), CHUNK) as plaintext:
            yield plaintext
            if not plaintext.closed:
                while plaintext.read(CHUNK):
                    pass
    finally:
        queue.stop()
        thread.join()


def verify_stored(source: BinaryIO, expected: StoredObject) -> None:
    """Compare size and SHA-256 of what is stored with what was sealed. Reads to the end.

    Raises:
        IntegrityError: They differ; names the object, what was expected and what was observed.
    """
    stored = _Stored(source, expected)
    stored.drain()
    stored.compare()


# -- sealing -----------------------------------------------------------------------------------


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
    source: BinaryIO | Iterable[bytes], sink: _Sink, keys: list[pyrage.x25519.Recipient], level: int
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
        count, digest = _compress_into(queue, source, level)
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


def _compress_into(queue: Handover, source: BinaryIO | Iterable[bytes], level: int) -> tuple[int, str]:
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj()
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


# -- unsealing ---------------------------------------------------------------------------------


class _Stored:
    """The stored bytes, hashed and counted on their way."""

    def __init__(self, source: BinaryIO, expected: StoredObject) -> None:
        self.expected = expected
        self.failure: BaseException | None = None
        self._source = source
        self._hash = hashlib.sha256()
        self._count = 0
        self._ahead = memoryview(b"")

    def peek(self, size: int) -> bytes:
        while len(self._ahead) < size and (piece := self._read()):
            self._ahead = memoryview(bytes(self._ahead) + piece)
        return bytes(self._ahead[:size])

    def read(self, size: int = CHUNK) -> bytes:
        # age asks for 8 KiB at a time; a hash and a system call for each would cost more.
        if not self._ahead:
            self._ahead = memoryview(self._read())
        piece, self._ahead = self._ahead[:size], self._ahead[size:]
        return bytes(piece)

    def _read(self) -> bytes:
        # One byte too many is damage enough: what goes on for ever is not read for ever.
        if self._count > self.expected.bytes:
            return b""
        try:
            piece = self._source.read(CHUNK)
        except BaseException as error:
            self.failure = error  # pyrage would turn it into text
            raise
        self._hash.update(piece)
        self._count += len(piece)
        return piece

    def drain(self) -> None:
        while self._read():
            pass

    def compare(self) -> None:
        _compare(
            "stored", self.expected.name, self.expected.bytes, self.expected.sha256, self._count, self._hash
        )


def _unseal_into(queue: Handover, stored: _Stored, keys: list[pyrage.x25519.Identity]) -> None:
    """Decrypt into ``queue``; it ends only if the stored bytes are those expected."""
    try:
        refusal = _decrypt_into(queue, stored, keys)
        if refusal is None or stored.expected.bytes <= _DIAGNOSE_BYTES:
            stored.drain()
            stored.compare()
        if refusal is not None:
            raise refusal
        queue.finish()
    except Stopped:
        queue.finish()
    except BaseException as error:
        queue.fail(error)


def _decrypt_into(queue: Handover, stored: _Stored, keys: list[pyrage.x25519.Identity]) -> PraError | None:
    """The reason why the stored bytes cannot be opened, or None."""
    name = stored.expected.name
    if not stored.peek(len(_AGE_MAGIC)).startswith(_AGE_MAGIC):
        if not stored.peek(len(_ZSTD_MAGIC)).startswith(_ZSTD_MAGIC):
            return IntegrityError(f"{name} is neither an age file nor a zstd frame", op="unseal")
        while piece := stored.read():
            queue.put(piece)
        return None
    if not keys:
        return DecryptError(f"{name} is encrypted and there is no age identity", op="unseal", hint=_KEY_HINT)
    taker = _Taker(queue)
    try:
        pyrage.decrypt_io(stored, taker, keys)
    except (pyrage.DecryptError, OSError) as error:
        if taker.stopped:
            raise Stopped from None
        if stored.failure is not None:
            raise stored.failure from None
        if "matching keys" in str(error):
            return DecryptError(f"no age identity given here opens {name}", op="unseal", hint=_KEY_HINT)
        return DecryptError(f"{name} cannot be decrypted: {str(error).splitlines()[0].lower()}", op="unseal")
    taker.flush()
    return None


class _Taker:
    """What age writes the plaintext to, 8 KiB at a time; handed over in larger chunks."""

    def __init__(self, queue: Handover) -> None:
        self.stopped = False
        self._queue = queue
        self._gathered = bytearray()

    def write(self, piece: bytes) -> int:
        self._gathered += piece
        if len(self._gathered) >= CHUNK:
            self.flush()
        return len(piece)

    def flush(self) -> None:
        chunk, self._gathered = bytes(self._gathered), bytearray()
        try:
            self._queue.put(chunk)
        except Stopped:
            self.stopped = True  # pyrage would turn it into text
            raise


class _Plaintext(io.RawIOBase):
    """Decompresses, hashes, and keeps the last chunk back until everything has been compared."""

    def __init__(self, queue: Handover, expected: StoredObject) -> None:
        self._queue = queue
        self._expected = expected
        self._reader = zstandard.ZstdDecompressor().stream_reader(cast("BinaryIO", queue), read_size=CHUNK)
        self._hash = hashlib.sha256()
        self._count = 0
        self._now = memoryview(b"")
        self._next: bytes | None = None  # None: nothing was read yet
        self._failure: BaseException | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        if self._failure is not None:
            raise self._failure
        try:
            if not self._now:
                self._advance()
        except BaseException as error:
            self._failure = error
            raise
        target = memoryview(buffer).cast("B")
        size = min(len(target), len(self._now))
        target[:size] = self._now[:size]
        self._now = self._now[size:]
        return size

    def _advance(self) -> None:
        if self._next is None:
            self._next = self._decompressed()
        if self._next:
            self._now = memoryview(self._next)
            self._next = self._decompressed()
        if not self._next:
            self._compare()

    def _decompressed(self) -> bytes:
        try:
            chunk = self._reader.read(CHUNK)
        except zstandard.ZstdError as error:
            self._finish_reading()  # damage to the stored bytes is the better explanation
            fact = f"{self._expected.name} cannot be decompressed: {error}"
            raise IntegrityError(fact, op="unseal") from None
        self._hash.update(chunk)
        self._count += len(chunk)
        return chunk

    def _compare(self) -> None:
        if self._finish_reading():
            raise IntegrityError(
                f"{self._expected.name} goes on after the end of its zstd frame", op="unseal"
            )
        expected = self._expected
        _compare("plain", expected.name, expected.plain_bytes, expected.plain_sha256, self._count, self._hash)

    def _finish_reading(self) -> bool:
        """Take what is left, which raises what the other thread found; whether there was anything."""
        anything = False
        while self._queue.read():
            anything = True
        return anything


_KEY_HINT = (
    "Give the age identity that belongs to one of the backup's recipients: identity_file under [encryption], "
    "or the one on the recovery sheet."
)


def _compare(what: str, name: str, size: int, sha256: str, count: int, digest: hashlib._Hash) -> None:
    if (count, digest.hexdigest()) != (size, sha256):
        seen = f"{count} bytes" if count <= size else f"more than {size} bytes"
        raise IntegrityError(
            f"{what} bytes of {name} are not those that were sealed: "
            f"expected {size} bytes, sha256 {sha256}; observed {seen}, sha256 {digest.hexdigest()}",
            op="compare object",
            hint="Take another backup or another repository's copy, and find out why this one changed.",
        )


def _recipient(text: str) -> pyrage.x25519.Recipient:
    try:
        return pyrage.x25519.Recipient.from_str(text.strip())
    except pyrage.RecipientError:
        raise SettingsError(
            f"not an age recipient: {text[:16]!r}…",
            op="seal",
            hint="Write the recipient (age1…) that pra key make prints under [encryption] recipients.",
        ) from None


def _identity(text: str) -> pyrage.x25519.Identity:
    try:
        return pyrage.x25519.Identity.from_str(text.strip())
    except pyrage.IdentityError:
        raise SettingsError(
            "an age identity cannot be read",
            op="unseal",
            hint="It is one line that begins with AGE-SECRET-KEY-1.",
        ) from None
