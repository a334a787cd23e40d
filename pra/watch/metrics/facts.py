"""What metrics are made of: evidence, backups and incidents as the few numbers that count. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pra.drill.record import DRILL, FAILOVER
from pra.evidence_record import VERIFICATION, EvidenceRecord
from pra.model import Verdict

RESTORE = "restore"
PROVING = frozenset({VERIFICATION, RESTORE, DRILL, FAILOVER})
"""Records of a database that was brought back, or should have been."""
_YEAR = 366 * 86400.0
"""A measured duration beyond it, in seconds, is no measurement."""


@dataclass(frozen=True)
class Fact:
    """One believable record of evidence. Durations in seconds; None where the record has none.

    Attributes:
        verdict: Empty where it has none, as of an interrupted drill.
        rto: From the disaster (or the start) until the restored service answered.
        rpo: What was, or would have been, lost.
        proven: Until every check had passed.
        bytes: Of the backup. read_bytes: Of everything that was read to restore.
        environment: ``sandbox`` or ``durable``.
        disaster: The time counts from a disaster, not from the start of the work.
    """

    sequence: int
    sha256: str
    kind: str
    at: datetime
    verdict: str = ""
    backup_id: str = ""
    repository: str = ""
    scenario: str = ""
    rto: float | None = None
    rpo: float | None = None
    proven: float | None = None
    bytes: int | None = None
    read_bytes: int | None = None
    environment: str = ""
    disaster: bool = False

    @property
    def decided(self) -> bool:
        """It ended with a verdict."""
        return self.verdict in set(Verdict)

    def within(self, rto_seconds: float) -> bool:
        """The database was brought back, and in time: what failed was not, however fast."""
        return self.verdict != Verdict.FAIL and self.rto is not None and self.rto <= rto_seconds


def fact_of(record: EvidenceRecord) -> Fact:
    """What a believable record says.

    Raises:
        KeyError, TypeError, ValueError: Its measurements are none, although it is signed.
    """
    body = record.body
    if record.kind not in PROVING:
        return Fact(record.sequence, record.sha256, record.kind, record.at, verdict=_text(body, "verdict"))
    backup = body.get("backup") or {}
    size = _count(backup.get("bytes"))
    return Fact(
        sequence=record.sequence,
        sha256=record.sha256,
        kind=record.kind,
        at=record.at,
        verdict=_text(body, "verdict"),
        backup_id=_text(body, "backup_id") or _text(backup, "backup_id"),
        repository=_text(body, "repository") or _text(backup, "repository"),
        scenario=_text(body, "scenario"),
        rto=_objective(body, "rto"),
        rpo=_objective(body, "rpo"),
        proven=_seconds(body.get("proof_milliseconds", body.get("proven_milliseconds"))),
        bytes=size,
        read_bytes=_read_bytes(body, size),
        environment=_text(body, "environment"),
        disaster="disaster_at" in body or record.kind in (DRILL, FAILOVER),
    )


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""


def _objective(body: Mapping[str, Any], name: str) -> float | None:
    found = body.get(name)
    if found is None:
        return _seconds(body.get(f"{name}_milliseconds"))
    return _seconds(found["actual_milliseconds"])


def _seconds(milliseconds: Any) -> float | None:
    """Raises TypeError, ValueError for what no clock has measured."""
    if milliseconds is None:
        return None
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        raise TypeError("a duration that is no number")
    if not 0 <= milliseconds / 1000 <= _YEAR:
        raise ValueError("a duration that cannot be")
    return float(milliseconds) / 1000


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _read_bytes(body: Mapping[str, Any], size: int | None) -> int | None:
    """The chain and its WAL; for a dump, the backup."""
    recovery = body.get("recovery")
    if not isinstance(recovery, Mapping):
        return size
    parts = (_count(recovery.get("backup_bytes")), _count(recovery.get("wal_bytes")))
    return sum(part or 0 for part in parts) or None


@dataclass(frozen=True)
class Backup:
    """One backup in one repository, as listed. ``seconds`` and ``bytes`` where its manifest was read.

    Attributes:
        at: The moment in its id: when it was begun.
        seconds: From there until it was published here.
    """

    backup_id: str
    at: datetime
    published_at: datetime
    seconds: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Incident:
    """Something that was critical for a while.

    Attributes:
        severity: ``P1``, ``P2`` or ``P3``.
        target: Empty for this host.
        closed_at: None while it lasts.
    """

    severity: str
    name: str
    target: str
    opened_at: datetime
    closed_at: datetime | None = None

    def lasted(self, until: datetime) -> timedelta:
        return max((self.closed_at or until) - self.opened_at, timedelta(0))


RESOLVE_WITHIN: Mapping[str, timedelta] = {
    "P1": timedelta(minutes=15),
    "P2": timedelta(hours=1),
    "P3": timedelta(days=1),
}
"""Until when an incident is to be resolved, by severity."""
