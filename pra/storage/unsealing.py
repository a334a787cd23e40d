"""Stored object in, plaintext out. See :mod:`pra.storage.pipe`."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

import pyrage
import zstandard

from pra.errors import DecryptError, IntegrityError, PraError, SettingsError
from pra.model import StoredObject
from pra.storage import age
from pra.storage.handover import Handover, Stopped

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 20
_DEPTH = 4
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# Above this size a key that does not fit is reported without reading on to see whether the bytes are whole.
_DIAGNOSE_BYTES = 1 << 30


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
    with (
        unseal_pieces(source, expected, identities=identities) as pieces,
        io.BufferedReader(_Plaintext(pieces), CHUNK) as plaintext,
    ):
        yield plaintext
        pieces.wanted = not plaintext.closed


@contextmanager
def unseal_pieces(source: BinaryIO, expected: StoredObject, *, identities: Sequence[str]) -> Iterator[Pieces]:
    """As `unseal`; yields the plaintext in pieces of at most 1 MiB, which are copied no more.

    One thread decrypts, another decompresses, and whoever takes the pieces hashes: no step waits for
    another, so that a single object keeps more than one processor busy.
    """
    for text in identities:
        _check_identity(text)
    sealed, plain = Handover(_DEPTH), Handover(_DEPTH)
    stored = _Stored(source, expected)
    threads = [
        threading.Thread(target=target, args=args, name=name, daemon=True)
        for name, target, args in (
            ("decrypt", _unseal_into, (sealed, stored, identities)),
            ("decompress", _decompress_into, (plain, sealed, expected.name)),
        )
    ]
    for thread in threads:
        thread.start()
    try:
        pieces = Pieces(plain, expected)
        yield pieces
        if pieces.wanted:
            for _ in pieces:
                pass
    finally:
        plain.stop()
        sealed.stop()
        for thread in threads:
            thread.join()


def verify_stored(source: BinaryIO, expected: StoredObject) -> None:
    """Compare size and SHA-256 of what is stored with what was sealed. Reads to the end.

    Raises:
        IntegrityError: They differ; names the object, what was expected and what was observed.
    """
    stored = _Stored(source, expected)
    stored.drain()
    stored.compare()


class _Stored:
    """The stored bytes, hashed and counted on their way."""

    def __init__(self, source: BinaryIO, expected: StoredObject) -> None:
        self.expected = expected
        self._source = source
        self._hash = hashlib.sha256()
        self._count = 0
        self._ahead = memoryview(b"")

    def peek(self, size: int) -> bytes:
        while len(self._ahead) < size and (piece := self._read()):
            self._ahead = memoryview(bytes(self._ahead) + piece)
        return bytes(self._ahead[:size])

    def read(self, size: int = CHUNK) -> bytes:
        if not self._ahead:
            data = self._read()
            if len(data) <= size:
                return data
            self._ahead = memoryview(data)
        piece, self._ahead = self._ahead[:size], self._ahead[size:]
        return bytes(piece)

    def _read(self) -> bytes:
        # One byte too many is damage enough: what goes on for ever is not read for ever.
        if self._count > self.expected.bytes:
            return b""
        piece = self._source.read(CHUNK)
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


def _unseal_into(queue: Handover, stored: _Stored, identities: Sequence[str]) -> None:
    """Decrypt into ``queue``; it ends only if the stored bytes are those expected."""
    try:
        refusal = _decrypt_into(queue, stored, identities)
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


def _decrypt_into(queue: Handover, stored: _Stored, identities: Sequence[str]) -> PraError | None:
    """The reason why the stored bytes cannot be opened, or None."""
    name = stored.expected.name
    if not stored.peek(len(age.MAGIC)).startswith(age.MAGIC):
        if not stored.peek(len(_ZSTD_MAGIC)).startswith(_ZSTD_MAGIC):
            return IntegrityError(f"{name} is neither an age file nor a zstd frame", op="unseal")
        while piece := stored.read():
            queue.put(piece)
        return None
    if not identities:
        return DecryptError(f"{name} is encrypted and there is no age identity", op="unseal", hint=_KEY_HINT)
    try:
        decryptor = age.Decryptor(age.open_header(stored.read, identities))
        while piece := stored.read():
            queue.put(decryptor.update(piece))
        queue.put(decryptor.finish())
    except age.NoKey:
        return DecryptError(f"no age identity given here opens {name}", op="unseal", hint=_KEY_HINT)
    except age.AgeError as error:
        return DecryptError(f"{name} cannot be decrypted: {error}", op="unseal")
    return None


def _decompress_into(plain: Handover, sealed: Handover, name: str) -> None:
    """Decompress into ``plain``; it ends only if ``sealed`` came to its end, and nothing lies behind."""
    reader = zstandard.ZstdDecompressor().stream_reader(
        cast("BinaryIO", sealed), read_size=CHUNK, read_across_frames=True
    )
    try:
        try:
            while piece := reader.read(CHUNK):
                plain.put(piece)
        except zstandard.ZstdError as error:
            _take_rest(sealed)  # damage to the stored bytes is the better explanation
            raise IntegrityError(f"{name} cannot be decompressed: {error}", op="unseal") from None
        if _take_rest(sealed):
            raise IntegrityError(f"{name} goes on after the end of its zstd frame", op="unseal")
        plain.finish()
    except Stopped:
        plain.finish()
    except BaseException as error:
        plain.fail(error)


def _take_rest(sealed: Handover) -> bool:
    """Take what is left, which raises what the other thread found; whether there was anything."""
    anything = False
    while sealed.read():
        anything = True
    return anything


class Pieces(Iterator[bytes]):
    """The plaintext of one object, piece by piece; the last is kept back until all has been compared.

    Attributes:
        wanted: Read on to the end, for the comparison, where the taker stopped before.
    """

    def __init__(self, plain: Handover, expected: StoredObject) -> None:
        self.wanted = True
        self._plain = plain
        self._expected = expected
        self._hash = hashlib.sha256()
        self._count = 0
        self._next: bytes | None = None  # None: nothing was read yet
        self._failure: BaseException | None = None

    def __next__(self) -> bytes:
        if self._failure is not None:
            raise self._failure
        try:
            piece = self._advance()
        except BaseException as error:
            self._failure = error
            raise
        if not piece:
            raise StopIteration
        return piece

    def _advance(self) -> bytes:
        piece = self._read() if self._next is None else self._next
        self._next = self._read() if piece else b""
        if not self._next:
            expected = self._expected
            size, sha256 = expected.plain_bytes, expected.plain_sha256
            _compare("plain", expected.name, size, sha256, self._count, self._hash)
        return piece

    def _read(self) -> bytes:
        piece = self._plain.read()
        self._hash.update(piece)
        self._count += len(piece)
        return piece


class _Plaintext(io.RawIOBase):
    """Pieces as a file."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._now = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        self._now = self._now or memoryview(next(self._pieces, b""))
        target = memoryview(buffer).cast("B")
        size = min(len(target), len(self._now))
        target[:size] = self._now[:size]
        self._now = self._now[size:]
        return size


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


def _check_identity(text: str) -> None:
    try:
        pyrage.x25519.Identity.from_str(text.strip())
    except pyrage.IdentityError:
        raise SettingsError(
            "an age identity cannot be read",
            op="unseal",
            hint="It is one line that begins with AGE-SECRET-KEY-1.",
        ) from None
