"""The values that travel between rooms. Frozen; no behaviour beyond what follows from the fields."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from pra.errors import UsageError

Engine = Literal["logical", "physical"]
Kind = Literal["full", "incremental"]
NAME = re.compile(r"[a-z0-9-]{1,40}")
BACKUP_ID = re.compile(r"\d{8}T\d{6}Z-(full|incremental)-[0-9a-f]{4,8}")


def new_backup_id(moment: datetime, kind: Kind) -> str:
    """An id that sorts by time: ``20261122T070955Z-full-3f9c``."""
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}-{kind}-{secrets.token_hex(2)}"


def backup_moment(backup_id: str) -> datetime:
    """The second at which the id was made.

    Raises:
        UsageError: The text is not a backup id.
    """
    if not BACKUP_ID.fullmatch(backup_id):
        raise UsageError(
            f"not a backup id: {backup_id!r}", op="read backup id", hint="List them with: pra backups"
        )
    return datetime.strptime(backup_id.split("-", 1)[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


class Status(StrEnum):
    """What became of one check."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"  # should have run and did not
    NOT_APPLICABLE = "not_applicable"  # ruled out beforehand, with the reason


class Verdict(StrEnum):
    PASS = "PASS"
    PARTIAL = "PARTIAL"
    FAIL = "FAIL"

    @property
    def exit_code(self) -> int:
        return {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.PARTIAL: 2}[self]


@dataclass(frozen=True)
class CheckResult:
    """One question about a restored database, and its answer.

    ``expected``, ``observed`` and ``reason`` are short sentences or counts: never row values.
    ``details`` names what differs, one line each, bounded by the check.
    """

    name: str
    status: Status
    expected: str = ""
    observed: str = ""
    reason: str = ""
    seconds: float = 0.0
    details: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "status": self.status.value,
            "expected": self.expected,
            "observed": self.observed,
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
            "details": list(self.details),
        }


def verdict_of(results: Sequence[CheckResult], *, required: Sequence[str] = ()) -> Verdict:
    """FAIL if anything failed or nothing passed; PARTIAL if something was skipped; else PASS.

    ``required`` names checks that must be present: a missing one counts as skipped, so that a plan
    that forgot its most important question can never be green.
    """
    statuses = [r.status for r in results]
    if Status.FAILED in statuses or Status.PASSED not in statuses:
        return Verdict.FAIL
    if Status.SKIPPED in statuses or set(required) - {r.name for r in results}:
        return Verdict.PARTIAL
    return Verdict.PASS


@dataclass(frozen=True)
class StoredObject:
    """One object of a backup, as it lies in a repository.

    Attributes:
        name: File name below ``objects/``.
        bytes: Size as stored (compressed, encrypted).
        sha256: Hex digest of the stored bytes.
        plain_bytes: Size before compression and encryption.
        plain_sha256: Hex digest before compression and encryption.
    """

    name: str
    bytes: int
    sha256: str
    plain_bytes: int
    plain_sha256: str


@dataclass(frozen=True)
class PublishResult:
    """What became of one repository in one run. ``error`` is empty when ``ok``."""

    name: str
    ok: bool
    error: str = ""
    hint: str = ""
    bytes: int = 0
    seconds: float = 0.0
