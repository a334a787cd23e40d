"""Approval by a second key: a one-time challenge, the approver's signed answer, and when it is believed.

Whoever runs a failover cannot approve it: the answer is signed with a key that no work pool holds. Challenge
and answer are canonical JSON in base64url; neither is a secret, so both may travel through a terminal, a chat
or a Prefect form. The challenge carries the whole plan: the approver's machine shows what it signs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pra.document import canonical, parse, sign_document, verify_document
from pra.errors import IntegrityError, SignatureError, UsageError
from pra.signing import Keyring, Signer, parse_public_key
from pra.timing import Clock, from_iso, to_iso, utc_now

CHALLENGE, ANSWER = "pra/challenge/1", "pra/approval/1"
FENCE = "challenge"
"""What marks a challenge in a page of Markdown: the info string of its code block."""
_NONCE_BYTES = 32
_LARGEST = 64 << 10
_WIDTH = 100
_OP = "approve"


@dataclass(frozen=True)
class Challenge:
    """What is to be approved, once.

    Attributes:
        plan: What will be done, as the procedure wrote it down; ``plan_sha256`` is of its canonical form.
        lines: The same for people, with what is expected to be lost: shown, and signed with the rest.
        nonce: 32 random bytes in hexadecimal.
    """

    target: str
    failover: str
    plan: Mapping[str, Any]
    plan_sha256: str
    nonce: str
    made_at: datetime
    expires_at: datetime
    lines: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "schema": CHALLENGE,
            "target": self.target,
            "failover": self.failover,
            "plan": dict(self.plan),
            "plan_sha256": self.plan_sha256,
            "nonce": self.nonce,
            "made_at": to_iso(self.made_at),
            "expires_at": to_iso(self.expires_at),
            "lines": list(self.lines),
        }

    @property
    def sha256(self) -> str:
        return hashlib.sha256(canonical(self.as_json())).hexdigest()

    def text(self) -> str:
        """As it is shown, in lines that a terminal takes."""
        return _encode(canonical(self.as_json()))


@dataclass(frozen=True)
class Approval:
    """A believed answer: who agreed, when, to which challenge."""

    key_id: str
    at: datetime
    nonce: str


def digest(plan: Mapping[str, Any]) -> str:
    """SHA-256 of a plan in canonical JSON."""
    return hashlib.sha256(canonical(dict(plan))).hexdigest()


def make_challenge(
    target: str,
    failover: str,
    plan: Mapping[str, Any],
    *,
    lines: Sequence[str] = (),
    lives: timedelta = timedelta(hours=1),
    clock: Clock = utc_now,
) -> Challenge:
    """A fresh one, good for ``lives``."""
    now = clock()
    return Challenge(
        target, failover, dict(plan), digest(plan), secrets.token_hex(_NONCE_BYTES), now, now + lives,
        tuple(lines),
    )  # fmt: skip


def read_challenge(text: str) -> Challenge:
    """Read a challenge as it was shown; its plan must be the one it names.

    Raises:
        UsageError: It is none.
    """
    document = _decode(text, "challenge")
    return challenge_of(document)


def find_challenge(page: str) -> Challenge:
    """The challenge in a page of Markdown.

    Raises:
        UsageError: There is none.
    """
    found = re.search(rf"^```{FENCE}\s*$(.*?)^```", page, re.MULTILINE | re.DOTALL)
    if found is None:
        raise _unreadable("challenge")
    return read_challenge(found[1])


def challenge_of(document: Mapping[str, Any]) -> Challenge:
    """The same from its JSON form."""
    try:
        if document["schema"] != CHALLENGE:
            raise ValueError("another schema")
        found = Challenge(
            target=str(document["target"]),
            failover=str(document["failover"]),
            plan=dict(document["plan"]),
            plan_sha256=str(document["plan_sha256"]),
            nonce=str(document["nonce"]),
            made_at=from_iso(document["made_at"]),
            expires_at=from_iso(document["expires_at"]),
            lines=tuple(str(line) for line in document["lines"]),
        )
        if len(bytes.fromhex(found.nonce)) != _NONCE_BYTES or digest(found.plan) != found.plan_sha256:
            raise ValueError("nonce or plan do not fit")
    except (KeyError, TypeError, ValueError, IntegrityError):
        raise _unreadable("challenge") from None
    return found


def answer(challenge: Challenge, signer: Signer, *, clock: Clock = utc_now) -> str:
    """Sign a challenge with the approver's own key.

    Raises:
        UsageError: It has expired.
    """
    if clock() >= challenge.expires_at:
        raise _expired(challenge)
    document = {
        "schema": ANSWER,
        "target": challenge.target,
        "failover": challenge.failover,
        "challenge_sha256": challenge.sha256,
        "nonce": challenge.nonce,
        "plan_sha256": challenge.plan_sha256,
        "at": to_iso(clock()),
    }
    return _encode(sign_document(document, signer))


def check_answer(
    text: str,
    challenge: Challenge,
    approvers: Sequence[str],
    *,
    plan_sha256: str,
    used: Collection[str] = (),
    clock: Clock = utc_now,
) -> Approval:
    """Believe an answer, or say why not.

    Args:
        approvers: Public keys that may approve.
        plan_sha256: Of the plan as it is now: what was approved must still be what will be done.
        used: Nonces that were answered before.

    Raises:
        UsageError: It is no answer at all, it has expired, or the plan is another by now.
        SignatureError: Another key than an approver's, another challenge's answer, or an altered or used one.
    """
    document = _decode(text, "answer")
    if document.get("schema") != ANSWER:
        raise _unreadable("answer")
    keyring = Keyring(parse_public_key(key) for key in approvers)
    try:
        verify_document(canonical(document), document, keyring, what="answer", at=None)
    except IntegrityError as error:
        hint = "It must be signed by one of the target's failover.approvers."
        raise SignatureError(error.message, op=_OP, hint=hint) from None
    if document.get("nonce") in used:
        raise SignatureError("the answer was used before", op=_OP, hint="Answer the challenge shown now.")
    if document.get("nonce") != challenge.nonce or document.get("challenge_sha256") != challenge.sha256:
        raise SignatureError(
            f"the answer belongs to another challenge (failover {str(document.get('failover'))[:40]})",
            op=_OP,
            hint="Answer the challenge shown now.",
        )
    if clock() >= challenge.expires_at:
        raise _expired(challenge)
    if plan_sha256 != challenge.plan_sha256:
        raise UsageError(
            "the plan is no longer the one that was approved",
            op=_OP,
            hint="Run it again: the new plan gets a challenge of its own.",
        )
    return Approval(str(document["key_id"]), from_iso(str(document["at"])), challenge.nonce)


def check_approvers(approvers: Sequence[str], keyring: Keyring) -> None:
    """Refuse an approver who could start what he approves.

    Raises:
        UsageError: One of the keys also signs backups or evidence here.
    """
    signing = {key.key_id for key in keyring}
    for text in approvers:
        if parse_public_key(text).key_id in signing:
            raise UsageError(
                "an approver's key also signs backups or evidence",
                op=_OP,
                hint="Make one for approving alone, on the approver's own machine: pra key approver",
            )


def _expired(challenge: Challenge) -> UsageError:
    return UsageError(
        f"the challenge expired on {to_iso(challenge.expires_at)}",
        op=_OP,
        hint="Run the failover again with --resume: it shows a new one.",
    )


def _unreadable(what: str) -> UsageError:
    return UsageError(
        f"this is no {what}",
        op=f"read {what}",
        hint=f"Copy the whole {what}, from its first to its last line.",
    )


def _encode(data: bytes) -> str:
    text = base64.urlsafe_b64encode(data).decode()
    return "\n".join(text[start : start + _WIDTH] for start in range(0, len(text), _WIDTH))


def _decode(text: str, what: str) -> dict[str, Any]:
    """Strict but for white space, which terminals and mails add."""
    joined = "".join(text.split())
    try:
        if not joined or len(joined) > _LARGEST:
            raise ValueError("nothing, or too much")
        data = base64.b64decode(joined.encode("ascii"), altchars=b"-_", validate=True)
        return parse(data, what=what)
    except (binascii.Error, ValueError, IntegrityError):
        raise _unreadable(what) from None
