"""The age file format, version 1, for X25519 recipients: https://age-encryption.org/v1

``pyrage`` calls back into the interpreter for every 64 KiB it writes and every 8 KiB it reads, and holds the
interpreter's lock in between. The payload is plain ChaCha20-Poly1305, which OpenSSL does two to three times
as fast over buffers of ours; only the header is more than that. Tests hold both directions against
``pyrage``. Recipients and identities are read by ``pyrage``, which checks them.

A file is a header of text lines, which wraps a file key for every recipient and ends in a MAC, then a nonce
of 16 bytes, then chunks of 64 KiB, each sealed under a counter and a mark on the last one (STREAM).
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"age-encryption.org/v1\n"
CHUNK = 64 << 10
TAG = 16
_LABEL = b"age-encryption.org/v1/X25519"
_LINE = 64
_HEADER_LIMIT = 1 << 20
_GATHERED = 16
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


class AgeError(Exception):
    """It is no age file, or not whole. The text is one lowercase fact."""


class NoKey(AgeError):
    """No identity opens it."""


@dataclass(frozen=True)
class _Stanza:
    kind: str
    arguments: tuple[str, ...]
    body: bytes


def key_bytes(text: str) -> bytes:
    """The 32 bytes of an X25519 recipient or identity that ``pyrage`` has accepted (its checksum is not
    looked at again)."""
    letters = text.strip().lower().rpartition("1")[2][:-6]
    bits = 0
    for letter in letters:
        bits = bits << 5 | _BECH32.index(letter)
    return (bits >> len(letters) * 5 % 8).to_bytes(32, "big")


# -- header --------------------------------------------------------------------------------------


def make_header(recipients: Sequence[str]) -> tuple[bytes, bytes]:
    """A header for a new file, nonce included, and the key of its payload."""
    file_key, nonce = os.urandom(16), os.urandom(16)
    header = MAGIC
    for text in recipients:
        public = key_bytes(text)
        ephemeral = X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes_raw()
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
        wrapped = ChaCha20Poly1305(_derived(shared, share + public, _LABEL)).encrypt(
            bytes(12), file_key, None
        )
        header += b"-> X25519 " + _base64(share) + b"\n" + _base64(wrapped) + b"\n"
    header += b"---"
    mac = _mac(file_key, header)
    return header + b" " + _base64(mac.finalize()) + b"\n" + nonce, _derived(file_key, nonce, b"payload")


def open_header(read: Callable[[int], bytes], identities: Sequence[str]) -> bytes:
    """Read a header, nonce included, and return the key of the payload that follows.

    Args:
        read: Returns exactly as many bytes as asked for, or fewer at the end.

    Raises:
        NoKey: It is for others. AgeError: It is damaged.
    """
    stanzas, signed, mac = _parse(_Lines(read))
    for text in identities:
        private = X25519PrivateKey.from_private_bytes(key_bytes(text))
        for stanza in stanzas:
            if (file_key := _unwrapped(stanza, private)) is None:
                continue
            try:
                _mac(file_key, signed).verify(mac)
            except InvalidSignature:
                raise AgeError("its header was changed") from None
            nonce = read(16)
            if len(nonce) != 16:
                raise AgeError("it ends within its header")
            return _derived(file_key, nonce, b"payload")
    raise NoKey("no identity opens it")


class _Lines:
    """Lines read byte by byte, since the payload begins right behind the last one."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.seen = bytearray()

    def next(self) -> bytes:
        start = len(self.seen)
        while byte := self._read(1):
            self.seen += byte
            if byte == b"\n":
                return bytes(self.seen[start:-1])
            if len(self.seen) > _HEADER_LIMIT:
                raise AgeError("its header has no end")
        raise AgeError("it ends within its header")


def _parse(lines: _Lines) -> tuple[list[_Stanza], bytes, bytes]:
    """The stanzas, the bytes the MAC is of, and the MAC."""
    if lines.next() + b"\n" != MAGIC:
        raise AgeError("it is no age file")
    stanzas: list[_Stanza] = []
    while True:
        start = len(lines.seen)
        line = lines.next()
        if line.startswith(b"--- "):
            return stanzas, bytes(lines.seen[: start + 3]), _unbase64(line[4:])
        words = line.decode("ascii", "replace").split(" ")
        if words[0] != "->" or len(words) < 2:
            raise AgeError("its header cannot be read")
        body = b""
        while len(piece := lines.next()) == _LINE:
            body += piece
        stanzas.append(_Stanza(words[1], tuple(words[2:]), _unbase64(body + piece)))


def _unwrapped(stanza: _Stanza, private: X25519PrivateKey) -> bytes | None:
    if stanza.kind != "X25519" or len(stanza.arguments) != 1 or len(stanza.body) != 16 + TAG:
        return None
    share = _unbase64(stanza.arguments[0].encode())
    if len(share) != 32:
        raise AgeError("its header cannot be read")
    public = private.public_key().public_bytes_raw()
    try:
        shared = private.exchange(X25519PublicKey.from_public_bytes(share))
        return ChaCha20Poly1305(_derived(shared, share + public, _LABEL)).decrypt(
            bytes(12), stanza.body, None
        )
    except (InvalidTag, ValueError):  # ValueError: a share of low order
        return None


def _derived(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt, info).derive(secret)


def _mac(file_key: bytes, header: bytes) -> hmac.HMAC:
    mac = hmac.HMAC(_derived(file_key, b"", b"header"), hashes.SHA256())
    mac.update(header)
    return mac


def _base64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _unbase64(data: bytes) -> bytes:
    try:
        return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except binascii.Error:
        raise AgeError("its header cannot be read") from None


# -- payload -------------------------------------------------------------------------------------


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


class Encryptor:
    """Seals a payload piece by piece into a buffer of its own, which is handed to ``write`` when it is full.

    What ``write`` is given is overwritten afterwards. The last full chunk is held back until it is known
    whether it ends the payload.
    """

    def __init__(self, key: bytes, write: Callable[[memoryview], object]) -> None:
        self._cipher = ChaCha20Poly1305(key)
        self._write = write
        self._number = 0
        self._held = bytearray()
        self._out = memoryview(bytearray(_GATHERED * (CHUNK + TAG)))
        self._filled = 0

    def update(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        if self._held:
            missing = CHUNK - len(self._held)
            self._held += view[:missing]
            view = view[missing:]
            if not view:
                return
            self._seal(self._held, last=False)
        while len(view) > CHUNK:
            self._seal(view[:CHUNK], last=False)
            view = view[CHUNK:]
        self._held = bytearray(view)

    def finish(self) -> None:
        """Seal what is left as the last chunk, and hand over everything."""
        self._seal(self._held, last=True)
        self._flush()

    def _seal(self, piece: bytearray | memoryview, *, last: bool) -> None:
        if self._filled + len(piece) + TAG > len(self._out):
            self._flush()
        end = self._filled + len(piece) + TAG
        self._cipher.encrypt_into(_nonce(self._number, last=last), piece, None, self._out[self._filled : end])
        self._filled = end
        self._number += 1

    def _flush(self) -> None:
        if self._filled:
            self._write(self._out[: self._filled])
        self._filled = 0


class Decryptor:
    """Opens a payload piece by piece."""

    def __init__(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(key)
        self._number = 0
        self._held = bytearray()

    def update(self, data: bytes) -> bytearray:
        """What can be opened now: all but the last chunk, which only the end tells apart.

        Raises:
            AgeError: It was changed.
        """
        whole = CHUNK + TAG
        view = memoryview(data)
        ready = max(0, -(-(len(self._held) + len(view)) // whole) - 1)
        out = bytearray(ready * CHUNK)
        opened = memoryview(out)
        for _ in range(ready):
            piece: memoryview | bytearray
            if self._held:
                missing = whole - len(self._held)
                self._held += view[:missing]
                piece, self._held, view = self._held, bytearray(), view[missing:]
            else:
                piece, view = view[:whole], view[whole:]
            self._open(piece, opened[:CHUNK], last=False)
            opened = opened[CHUNK:]
        self._held += view
        return out

    def finish(self) -> bytearray:
        """The last chunk. Raises AgeError when it was changed, or is not the last one."""
        if len(self._held) < TAG or (len(self._held) == TAG and self._number):
            raise AgeError("it ends too early")
        out = bytearray(len(self._held) - TAG)
        self._open(self._held, memoryview(out), last=True)
        return out

    def _open(self, piece: memoryview | bytearray, into: memoryview, *, last: bool) -> None:
        try:
            self._cipher.decrypt_into(_nonce(self._number, last=last), piece, None, into)
        except InvalidTag:
            raise AgeError("its bytes were changed, or it ends too early") from None
        self._number += 1
