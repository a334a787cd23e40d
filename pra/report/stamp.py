"""What the evidence says of the record that a report shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from pra.evidence_record import EvidenceRecord


@dataclass(frozen=True)
class Stamp:
    """The record's place in the chain, and its signature.

    Attributes:
        sha256: Of the stored bytes. previous_sha256: of the record before.
        repository: Where it was written or read.
        problem: Why it cannot be believed; empty when signature, place and form are right.
    """

    sequence: int
    key: str
    sha256: str
    previous_sha256: str
    key_id: str
    alg: str
    signed_at: datetime
    repository: str = ""
    problem: str = ""

    @classmethod
    def of(cls, record: EvidenceRecord) -> Self:
        return cls(
            sequence=record.sequence,
            key=record.key,
            sha256=record.sha256,
            previous_sha256=record.previous_sha256,
            key_id=record.key_id,
            alg=record.alg,
            signed_at=record.at,
            repository=record.repository,
            problem=record.problem,
        )
