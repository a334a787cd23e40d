"""One record of evidence: its form, how it is signed, and when it is believed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pra.document import parse, sign_document, verify_document
from pra.errors import IntegrityError, ObjectMissing, PraError, StorageError, UsageError
from pra.keys import Keyring, Signer
from pra.layout import evidence_key
from pra.model import Verdict
from pra.timing import from_iso, to_iso

SCHEMA = "pra/evidence/1"
GENESIS = "0" * 64
"""What the first record names as the one before it."""
VERIFICATION = "verification"
SHOWN = 16
"""How many digits of a digest people are shown."""
_KIND = re.compile(r"[a-z][a-z-]{0,39}")
_HEAD = re.compile(rf"(\d{{1,10}}):([0-9a-f]{{{SHOWN},64}})")


@dataclass(frozen=True)
class EvidenceRecord:
    """One record as it was found or written.

    Attributes:
        sequence: 1, 2, 3 …
        sha256: Of the stored bytes; the next record names it.
        repository: Where this copy was read, or who gave the number.
        problem: Why the record cannot be believed; empty when signature, place and form are right.
        unread: It could not be read at all: the problem is its repository's, for now.
        warnings: What went wrong beside the record itself: copies not made, repositories not reached, forks.
    """

    sequence: int
    key: str
    sha256: str
    previous_sha256: str
    kind: str
    target: str
    at: datetime
    body: Mapping[str, Any] = field(repr=False)
    key_id: str
    alg: str
    repository: str
    problem: str = ""
    unread: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def head(self) -> Head:
        """This record as the head of its chain."""
        return Head(self.sequence, self.sha256)


@dataclass(frozen=True)
class Head:
    """The newest record of a chain, as something outside of it remembers: a cut tail shows against it.

    Attributes:
        sha256: Of the stored bytes; at least its first 16 digits, since that is what people are shown.
        source: Who remembers it, for messages.
    """

    sequence: int
    sha256: str
    source: str = ""

    @property
    def short(self) -> str:
        """``12:0123456789abcdef``, as people are shown it and as ``--head`` takes it."""
        return f"{self.sequence}:{self.sha256[:SHOWN]}"

    def as_json(self) -> dict[str, Any]:
        return {"sequence": self.sequence, "sha256": self.sha256}


def parse_head(text: str) -> Head:
    """Read ``SEQUENCE:SHA256``, the digest whole or its first 16 digits and more.

    Raises:
        UsageError: It has another form.
    """
    match = _HEAD.fullmatch(text.strip().lower())
    if match is None or int(match[1]) == 0:
        raise UsageError(
            f"not an evidence head: {text[:80]!r}",
            op="read evidence head",
            hint="Write its number and its SHA-256 (16 digits or all 64), such as 12:0123456789abcdef.",
        )
    return Head(int(match[1]), match[2])


@dataclass(frozen=True)
class Proof:
    """The latest verification of one backup."""

    at: datetime
    verdict: Verdict
    repository: str
    sequence: int


def compose(
    signer: Signer,
    *,
    target: str,
    sequence: int,
    previous_sha256: str,
    at: datetime,
    kind: str,
    body: Mapping[str, Any],
    forks: Sequence[str] = (),
) -> bytes:
    """The bytes to store.

    Args:
        forks: Numbers under which repositories hold different records, as seen at this moment.

    Raises:
        UsageError: ``kind`` is not a word in lower case.
    """
    if not _KIND.fullmatch(kind):
        raise UsageError(f"not a kind of evidence: {kind!r}", op="append evidence")
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "sequence": sequence,
        "previous_sha256": previous_sha256,
        "at": to_iso(at),
        "kind": kind,
        "target": target,
        "body": dict(body),
    }
    if forks:
        document["forks"] = list(forks)
    return sign_document(document, signer, floats=True)


def read_record(
    data: bytes, keyring: Keyring, *, target: str, sequence: int, repository: str
) -> EvidenceRecord:
    """Read a stored record.

    Raises:
        SignatureError: Unsigned, wrong signature, unknown key, or signed after the key's retirement.
        IntegrityError: Not a record, of another schema, or moved here from another place.
    """
    what = f"evidence {sequence}"
    document = parse(data, what=what)
    if document.get("schema") != SCHEMA:
        raise IntegrityError(f"{what} has another schema", op="read evidence", hint="Upgrade this release.")
    try:
        at, body = from_iso(document["at"]), document["body"]
        if not isinstance(body, dict):
            raise TypeError("body is no object")
        record = EvidenceRecord(
            sequence=sequence,
            key=evidence_key(target, sequence),
            sha256=hashlib.sha256(data).hexdigest(),
            previous_sha256=str(document["previous_sha256"]),
            kind=str(document["kind"]),
            target=str(document["target"]),
            at=at,
            body=body,
            key_id=str(document.get("key_id", "")),
            alg=str(document.get("alg", "")),
            repository=repository,
        )
        found = (document["sequence"], record.target)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{what} has a field missing or wrong", op="read evidence") from error
    verify_document(data, document, keyring, what=what, at=at, floats=True)
    if found != (sequence, target):
        raise IntegrityError(f"{what} of {target} was moved here", op="read evidence")
    return record


def unbelievable(
    sequence: int, *, target: str, repository: str, error: PraError, sha256: str = ""
) -> EvidenceRecord:
    """Stands for a record that is there and cannot be believed."""
    return EvidenceRecord(
        sequence=sequence,
        key=evidence_key(target, sequence),
        sha256=sha256,
        previous_sha256="",
        kind="",
        target=target,
        at=datetime.min.replace(tzinfo=UTC),
        body={},
        key_id="",
        alg="",
        repository=repository,
        problem=error.message,
        unread=isinstance(error, StorageError) and not isinstance(error, ObjectMissing),
    )
