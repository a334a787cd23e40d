"""Signatures: who may vouch for a document, and until when.

Ed25519 (RFC 8032) by default; HMAC-SHA-256 (RFC 2104) where one shared secret is preferred. A public key is
written ``ed25519:<base64>``; a key is named by the first 16 hex digits of the SHA-256 of its public half
(for HMAC: of the key behind a fixed label, so that the name tells nothing about a MAC).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pra.errors import SettingsError, SignatureError
from pra.timing import from_iso, to_iso

Alg = Literal["ed25519", "hmac-sha256"]
ALGS: tuple[Alg, ...] = ("ed25519", "hmac-sha256")
_KEY_BYTES = 32
_HMAC_LABEL = b"pra/hmac-key-id/1\0"


def decode_base64(text: str) -> bytes:
    """Strict base64: one text for one value.

    Raises:
        ValueError: Anything but the canonical encoding.
    """
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise ValueError("not canonical base64")
    return raw


def key_id_of(alg: Alg, material: bytes) -> str:
    """Name a key by its public half (Ed25519) or its labelled secret (HMAC): 16 hex digits."""
    labelled = material if alg == "ed25519" else _HMAC_LABEL + material
    return hashlib.sha256(labelled).hexdigest()[:16]


@dataclass(frozen=True)
class TrustedKey:
    """A key whose signatures are accepted.

    Attributes:
        material: The public key (Ed25519) or the shared secret (HMAC); never shown.
        retired_at: From this moment on it vouches for nothing new. None: still in use.
    """

    alg: Alg
    material: bytes = field(repr=False)
    retired_at: datetime | None = None

    @property
    def key_id(self) -> str:
        return key_id_of(self.alg, self.material)

    def text(self) -> str:
        """As it is written in settings. An HMAC key is only named: its material is a secret."""
        shown = base64.b64encode(self.material).decode() if self.alg == "ed25519" else self.key_id
        suffix = f" retired {to_iso(self.retired_at)}" if self.retired_at else ""
        return f"{self.alg}:{shown}{suffix}"


def parse_public_key(text: str) -> TrustedKey:
    """Read ``ed25519:<base64>``, optionally followed by ``retired <moment>``.

    Raises:
        SettingsError: Another form, or an HMAC key, which is a secret and has no public half.
    """
    words = text.split()
    alg, _, encoded = words[0].partition(":") if words else ("", "", "")
    op = "read trusted key"
    if alg == "hmac-sha256":
        raise SettingsError(
            "an hmac-sha256 key cannot be listed as a trusted public key",
            op=op,
            hint="Share the key file itself (signing.key_file), or use ed25519.",
        )
    try:
        if alg != "ed25519" or len(words) not in (1, 3) or words[1:2] not in ([], ["retired"]):
            raise ValueError("unknown form")
        material = decode_base64(encoded)
        if len(material) != _KEY_BYTES:
            raise ValueError("wrong length")
        retired_at = from_iso(words[2]) if len(words) == 3 else None
    except ValueError as error:
        raise SettingsError(
            "a trusted key is not of the form ed25519:<base64>",
            op=op,
            hint="Copy signing_public_key as printed by: pra key make --json",
        ) from error
    return TrustedKey("ed25519", material, retired_at)


class Signer:
    """Holds one private key and signs with it. Its text form never shows the key.

    Args:
        alg: ``ed25519`` or ``hmac-sha256``.
        secret: 32 bytes: the Ed25519 seed or the HMAC key.
    """

    def __init__(self, alg: Alg, secret: bytes) -> None:
        if len(secret) != _KEY_BYTES:
            raise SettingsError(
                f"a signing key has {_KEY_BYTES} bytes, this one {len(secret)}", op="load signing key"
            )
        self.alg: Alg = alg
        self._secret = secret
        self.trusted = TrustedKey(alg, _public(secret) if alg == "ed25519" else secret)
        self.key_id = self.trusted.key_id

    @classmethod
    def generate(cls, alg: Alg = "ed25519") -> Signer:
        return cls(alg, secrets.token_bytes(_KEY_BYTES))

    @property
    def public_key(self) -> str:
        """``ed25519:<base64>``; empty for HMAC, which has no public half."""
        return self.trusted.text() if self.alg == "ed25519" else ""

    def secret_text(self) -> str:
        """The private key as its file holds it. For the key file alone."""
        return f"{self.alg}-secret:{base64.b64encode(self._secret).decode()}"

    def sign(self, data: bytes) -> str:
        """Sign and return the signature in base64."""
        if self.alg == "ed25519":
            raw = Ed25519PrivateKey.from_private_bytes(self._secret).sign(data)
        else:
            raw = hmac.digest(self._secret, data, "sha256")
        return base64.b64encode(raw).decode()

    def __repr__(self) -> str:
        return f"Signer(alg={self.alg!r}, key_id={self.key_id!r})"


class Keyring:
    """The keys that are trusted, retired ones included. Iterates over them."""

    def __init__(self, keys: Iterable[TrustedKey]) -> None:
        self._keys: dict[str, TrustedKey] = {}
        for key in keys:
            known = self._keys.get(key.key_id, key)
            # A key that is retired anywhere is retired: the earliest word counts.
            moments = [k.retired_at for k in (known, key) if k.retired_at]
            self._keys[key.key_id] = replace(key, retired_at=min(moments, default=None))

    def __iter__(self) -> Iterator[TrustedKey]:
        return iter(self._keys.values())

    def __len__(self) -> int:
        return len(self._keys)

    def verify(
        self, data: bytes, alg: str, key_id: str, signature: str, *, at: datetime | None = None
    ) -> TrustedKey:
        """Check that a trusted key signed exactly these bytes.

        The document says itself when it was signed, so retirement stops honest mistakes and late use of
        an old key; whoever steals a retired key can still date a document back. A key known to be stolen
        belongs out of the list altogether.

        Args:
            at: When the document says it was signed; a retired key vouches only for what came before.

        Raises:
            SignatureError: Missing signature, unknown key, retired key, or other bytes than were signed.
        """
        if not signature or not key_id:
            raise _refused("the document is not signed")
        key = self._keys.get(key_id)
        if key is None:
            raise _refused(
                f"signed by an unknown key, {key_id[:40]!r}",
                hint="If that key is yours, add its public half to signing.trusted.",
            )
        if alg != key.alg:
            raise _refused(f"key {key_id} is for {key.alg}, but the document names {alg[:40]!r}")
        if not _matches(key, data, signature):
            raise _refused(f"the signature by key {key_id} does not match the content")
        if key.retired_at and (at is None or at >= key.retired_at):
            raise _refused(
                f"signed by a retired key, {key_id}, after its retirement on {to_iso(key.retired_at)}",
                hint="Find out who still holds the old key; rotate again if nobody should.",
            )
        return key


def _public(secret: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def _matches(key: TrustedKey, data: bytes, signature: str) -> bool:
    try:
        raw = decode_base64(signature)
    except ValueError:
        return False
    if key.alg == "hmac-sha256":
        return hmac.compare_digest(hmac.digest(key.material, data, "sha256"), raw)
    try:
        Ed25519PublicKey.from_public_bytes(key.material).verify(raw, data)
    except InvalidSignature:
        return False
    return True


def _refused(message: str, *, hint: str = "") -> SignatureError:
    return SignatureError(
        message,
        op="verify signature",
        hint=hint or "Do not restore from it; take another backup or another repository's copy.",
    )
