"""What a drill or a failover leaves: one frozen document, kept as evidence and rendered as the report.

Names, counts and times only: no value of any row is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from pra import evidence_fields as fields
from pra.model import CheckResult, Verdict
from pra.timing import Objective, from_iso, to_iso

DRILL, FAILOVER = "drill", "failover"
INTERRUPTED = "interrupted"
"""Written by the next start for a drill whose process was killed."""


@dataclass(frozen=True)
class Step:
    """One phase on our own clock.

    Attributes:
        waiting: It waited for a human; the report shows such time apart.
    """

    name: str
    started_at: datetime
    seconds: float
    waiting: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "started_at": to_iso(self.started_at),
            "milliseconds": round(self.seconds * 1000),
            "waiting": self.waiting,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        return cls(
            found["name"], from_iso(found["started_at"]), found["milliseconds"] / 1000, found["waiting"]
        )


@dataclass(frozen=True)
class Event:
    """Something that happened at one moment: ``disaster``, ``detected``, ``approved``, ``service`` …"""

    name: str
    at: datetime
    what: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "at": to_iso(self.at), "what": self.what}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        return cls(found["name"], from_iso(found["at"]), found["what"])


@dataclass(frozen=True)
class Intervention:
    """What a human decided or did.

    Attributes:
        by: Who, as far as it is known: an account, or the key that signed.
        decision: ``proceed``, ``abort``, ``automatic`` (nobody was asked), or what was typed.
    """

    at: datetime
    by: str
    decision: str
    comment: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"at": to_iso(self.at), "by": self.by, "decision": self.decision, "comment": self.comment}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        return cls(from_iso(found["at"]), found["by"], found["decision"], found["comment"])


@dataclass(frozen=True)
class Backup:
    """The backup that the recovery began from; ``age_seconds`` at the disaster."""

    backup_id: str
    repository: str
    manifest_sha256: str
    bytes: int
    age_seconds: float
    signature: str = "valid"
    passed_over: tuple[str, ...] = ()
    """Newer backups that could not be used, one sentence each."""

    def as_json(self) -> dict[str, Any]:
        return {
            "backup_id": self.backup_id,
            "repository": self.repository,
            "manifest_sha256": self.manifest_sha256,
            "bytes": self.bytes,
            "age_milliseconds": round(self.age_seconds * 1000),
            "signature": self.signature,
            "passed_over": list(self.passed_over),
        }


@dataclass(frozen=True)
class Rows:
    """Numbered rows that were committed while it happened, counted outside the database.

    Attributes:
        committed: That the database acknowledged before it was lost.
        lost: Of those, how many did not come back.
        missing: Of those, how many should have: they were committed before the moment recovered to.
    """

    committed: int
    lost: int
    missing: int

    def as_json(self) -> dict[str, Any]:
        return {"committed": self.committed, "lost": self.lost, "missing": self.missing}


@dataclass(frozen=True)
class DrillRecord:
    """One drill or failover.

    Attributes:
        scenario: Its name; empty for a failover.
        hypothesis: What was held true before, and what was to be true afterwards; one sentence each.
        rto, rpo: Objective and what was measured; ``rto_how``, ``rpo_how`` say how, in one sentence each.
        detect_seconds: From the disaster to the check that noticed it. recover_seconds: The recovery's own.
        service_seconds: Disaster → the service answers (the RTO). proven_seconds: → every check has passed.
        rows: None where nobody counted.
        deviations: What went another way than planned. findings: What is to be mended.
        afterwards: The way back.
        facts: The common part of a record: id, operator, versions, configuration, isolation.
    """

    kind: str
    target: str
    verdict: Verdict | str
    started_at: datetime
    ended_at: datetime
    scenario: str = ""
    title: str = ""
    severity: str = ""
    intensity: str = ""
    hypothesis: tuple[str, str] = ("", "")
    backup: Backup | None = None
    steps: tuple[Step, ...] = ()
    events: tuple[Event, ...] = ()
    rto: Objective | None = None
    rpo: Objective | None = None
    rto_how: str = ""
    rpo_how: str = ""
    detect_seconds: float | None = None
    recover_seconds: float | None = None
    service_seconds: float | None = None
    proven_seconds: float | None = None
    rows: Rows | None = None
    checks: tuple[CheckResult, ...] = ()
    interventions: tuple[Intervention, ...] = ()
    deviations: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    afterwards: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The body of its evidence. Durations are whole milliseconds."""
        return {
            **self.facts,
            "target": self.target,
            "verdict": str(self.verdict),
            "started_at": to_iso(self.started_at),
            "ended_at": to_iso(self.ended_at),
            "scenario": self.scenario,
            "title": self.title,
            "severity": self.severity,
            "intensity": self.intensity,
            "hypothesis": {"before": self.hypothesis[0], "after": self.hypothesis[1]},
            "backup": self.backup.as_json() if self.backup else None,
            "phases": [step.as_json() for step in self.steps],
            "events": [event.as_json() for event in self.events],
            "rto": fields.objective_json(self.rto, self.rto_how),
            "rpo": fields.objective_json(self.rpo, self.rpo_how),
            "detect_milliseconds": fields.milliseconds(self.detect_seconds),
            "recover_milliseconds": fields.milliseconds(self.recover_seconds),
            "service_milliseconds": fields.milliseconds(self.service_seconds),
            "proven_milliseconds": fields.milliseconds(self.proven_seconds),
            "rows": self.rows.as_json() if self.rows else None,
            "checks": fields.checks_json(self.checks),
            "interventions": [one.as_json() for one in self.interventions],
            "deviations": list(self.deviations),
            "findings": list(self.findings),
            "afterwards": list(self.afterwards),
        }


_OWN = (
    "target", "verdict", "started_at", "ended_at", "scenario", "title", "severity", "intensity", "hypothesis",
    "backup", "phases", "events", "rto", "rpo", "detect_milliseconds", "recover_milliseconds",
    "service_milliseconds", "proven_milliseconds", "rows", "checks", "interventions", "deviations",
    "findings", "afterwards",
)  # fmt: skip


def record_of(kind: str, body: Mapping[str, Any]) -> DrillRecord:
    """Read the body of a stored record back.

    Raises:
        KeyError, TypeError, ValueError: It is none.
    """
    backup, rows = body["backup"], body["rows"]
    return DrillRecord(
        kind=kind,
        target=body["target"],
        verdict=fields.verdict_of(body["verdict"]),
        started_at=from_iso(body["started_at"]),
        ended_at=from_iso(body["ended_at"]),
        scenario=body["scenario"],
        title=body["title"],
        severity=body["severity"],
        intensity=body["intensity"],
        hypothesis=(body["hypothesis"]["before"], body["hypothesis"]["after"]),
        backup=_backup(backup) if backup else None,
        steps=tuple(Step.from_json(each) for each in body["phases"]),
        events=tuple(Event.from_json(each) for each in body["events"]),
        rto=fields.objective_of("RTO", body["rto"]),
        rpo=fields.objective_of("RPO", body["rpo"]),
        rto_how=(body["rto"] or {}).get("how", ""),
        rpo_how=(body["rpo"] or {}).get("how", ""),
        detect_seconds=fields.seconds(body["detect_milliseconds"]),
        recover_seconds=fields.seconds(body["recover_milliseconds"]),
        service_seconds=fields.seconds(body["service_milliseconds"]),
        proven_seconds=fields.seconds(body["proven_milliseconds"]),
        rows=Rows(rows["committed"], rows["lost"], rows["missing"]) if rows else None,
        checks=fields.checks_of(body["checks"]),
        interventions=tuple(Intervention.from_json(each) for each in body["interventions"]),
        deviations=tuple(body["deviations"]),
        findings=tuple(body["findings"]),
        afterwards=tuple(body["afterwards"]),
        facts={key: value for key, value in body.items() if key not in _OWN},
    )


def _backup(found: Mapping[str, Any]) -> Backup:
    return Backup(
        found["backup_id"],
        found["repository"],
        found["manifest_sha256"],
        found["bytes"],
        found["age_milliseconds"] / 1000,
        found["signature"],
        tuple(found["passed_over"]),
    )
