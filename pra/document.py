"""Signed JSON documents: one canonical form, strict reading.

Canonical means sorted keys, no whitespace, UTF-8, no duplicate keys, no NaN. What is signed is the
canonical form without ``signature``. A stored document must *be* in that form, so that any altered byte is
noticed, even one that would not change the meaning.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pra.errors import IntegrityError, SignatureError
from pra.signing import Keyring, Signer


def canonical(document: dict[str, Any], *, floats: bool = False) -> bytes:
    """The one byte form of a document.

    Args:
        floats: Whether fractions are allowed. Python's shortest form is stable, other languages' may differ.

    Raises:
        IntegrityError: A fraction where none is allowed, NaN, or text that is not Unicode.
    """
    if not floats and _holds_float(document):
        raise IntegrityError("a fraction in a document that allows none", op="write document")
    try:
        text = json.dumps(
            document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        return text.encode("utf-8")
    except ValueError as error:  # NaN, infinity, a lone surrogate
        raise IntegrityError("a value that has no canonical form", op="write document") from error


def parse(data: bytes, *, what: str) -> dict[str, Any]:
    """Read one JSON object, refusing what JSON readers may disagree on.

    Raises:
        IntegrityError: Not UTF-8, not JSON, not an object, a key given twice, or nested beyond reason.
    """
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{what} is not readable JSON", op=f"read {what}", hint="Use another repository's copy."
        ) from error
    if not isinstance(document, dict):
        raise IntegrityError(f"{what} is not a JSON object", op=f"read {what}")
    return document


def sign_document(document: dict[str, Any], signer: Signer, *, floats: bool = False) -> bytes:
    """Add ``key_id``, ``alg`` and ``signature``; return the canonical bytes to store."""
    unsigned = {key: value for key, value in document.items() if key != "signature"}
    unsigned |= {"key_id": signer.key_id, "alg": signer.alg}
    signature = signer.sign(canonical(unsigned, floats=floats))
    return canonical({**unsigned, "signature": signature}, floats=floats)


def verify_document(
    data: bytes,
    document: dict[str, Any],
    keyring: Keyring,
    *,
    what: str,
    at: datetime | None,
    floats: bool = False,
) -> None:
    """Check the signature over the document as it was parsed, unknown fields included.

    Args:
        data: The stored bytes, which must be the canonical form of ``document``.
        at: When the document says it was signed.

    Raises:
        SignatureError: See ``Keyring.verify``.
        IntegrityError: Signed, yet not stored in canonical form.
    """
    unsigned = {key: value for key, value in document.items() if key != "signature"}
    try:
        keyring.verify(
            canonical(unsigned, floats=floats),
            _text(document.get("alg")),
            _text(document.get("key_id")),
            _text(document.get("signature")),
            at=at,
        )
    except SignatureError as error:
        raise SignatureError(f"{what}: {error.message}", op=error.op, hint=error.hint) from error
    if canonical(document, floats=floats) != data:
        raise IntegrityError(
            f"{what} is not stored in canonical form",
            op=f"read {what}",
            hint="Somebody rewrote the file; use another repository's copy.",
        )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, value in pairs:
        if key in document:
            raise ValueError("a key is given twice")
        document[key] = value
    return document


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _holds_float(value: object) -> bool:
    if isinstance(value, dict):
        return any(_holds_float(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_holds_float(item) for item in value)
    return isinstance(value, float)
