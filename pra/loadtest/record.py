"""What a load test leaves: one frozen document, kept as evidence and rendered as the report.

Names, counts and times only: no value of any row is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pra import evidence_fields as fields
from pra.drill.record import Step
from pra.loadtest.forecast import Forecast
from pra.loadtest.hardware import Hardware
from pra.loadtest.measures import ApiLoad, Load, Round
from pra.model import CheckResult, Verdict
from pra.timing import Objective, from_iso, to_iso

LOAD_TEST = "load-test"
_HOW = "the slowest restore with the settings of a server one keeps, planner statistics included"
Reason = Literal["index", "statistics", "scan", "unknown"]
Beside = Literal["copy", "record", "nothing"]


@dataclass(frozen=True)
class Slow:
    """A query that takes much longer on the restored database than on what it is compared with.

    Attributes:
        seconds, reference: Medians.
        reason: What was found: an index or statistics that are missing, a table read from end to end.
        names: Of that index, or of those tables.
    """

    name: str
    seconds: float
    reference: float
    reason: Reason
    names: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "median_microseconds": round(self.seconds * 1e6),
            "reference_microseconds": round(self.reference * 1e6),
            "reason": self.reason,
            "names": list(self.names),
        }


@dataclass(frozen=True)
class Tested:
    """Which backup was restored; ``age_seconds`` when the test began."""

    backup_id: str
    repository: str
    manifest_sha256: str
    bytes: int
    raw_bytes: int
    age_seconds: float

    def as_json(self) -> dict[str, Any]:
        return {
            "backup_id": self.backup_id,
            "repository": self.repository,
            "manifest_sha256": self.manifest_sha256,
            "bytes": self.bytes,
            "raw_bytes": self.raw_bytes,
            "age_milliseconds": round(self.age_seconds * 1000),
        }


@dataclass(frozen=True)
class LoadTestRecord:
    """One load test.

    Attributes:
        major: Of the PostgreSQL that the restored database ran on.
        rto: The objective against the slowest restore with durable settings.
        interval_seconds: How often a backup is due.
        restored, original: The same load on the restored database, and on what it is compared with.
        beside: What ``original`` is: a copy of the original made for this, the record of an earlier load
            test on the same hardware, or nothing. ``beside_note`` says more in one sentence.
        shipped: The queries are those of AKIG's application; else they were made from the critical tables.
        deviations: What went another way than planned.
        facts: The common part of a record.
    """

    target: str
    verdict: Verdict | str
    started_at: datetime
    ended_at: datetime
    engine: str
    hardware: Hardware
    major: int = 0
    tested: Tested | None = None
    rounds: tuple[Round, ...] = ()
    rto: Objective | None = None
    interval_seconds: float = 0.0
    restored: Load | None = None
    original: Load | None = None
    beside: Beside = "nothing"
    beside_note: str = ""
    shipped: bool = False
    slow: tuple[Slow, ...] = ()
    api: ApiLoad | None = None
    forecast: Forecast | None = None
    steps: tuple[Step, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    deviations: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The body of its evidence. Durations are whole milliseconds or microseconds, as named."""
        return {
            **self.facts,
            "target": self.target,
            "verdict": str(self.verdict),
            "started_at": to_iso(self.started_at),
            "ended_at": to_iso(self.ended_at),
            "engine": self.engine,
            "hardware": self.hardware.as_json(),
            "postgres_major": self.major,
            "backup": self.tested.as_json() if self.tested else None,
            "rounds": [each.as_json() for each in self.rounds],
            "rto": fields.objective_json(self.rto, _HOW),
            "interval_milliseconds": round(self.interval_seconds * 1000),
            "restored": self.restored.as_json() if self.restored else None,
            "original": self.original.as_json() if self.original else None,
            "beside": self.beside,
            "beside_note": self.beside_note,
            "queries": "shipped" if self.shipped else "generated",
            "slow": [each.as_json() for each in self.slow],
            "api": self.api.as_json() if self.api else None,
            "forecast": self.forecast.as_json() if self.forecast else None,
            "phases": [step.as_json() for step in self.steps],
            "checks": fields.checks_json(self.checks),
            "deviations": list(self.deviations),
        }


_OWN = (
    "target", "verdict", "started_at", "ended_at", "engine", "hardware", "postgres_major", "backup", "rounds",
    "rto", "interval_milliseconds", "restored", "original", "beside", "beside_note", "queries", "slow", "api",
    "forecast", "phases", "checks", "deviations",
)  # fmt: skip


def load_test_of(body: Mapping[str, Any]) -> LoadTestRecord:
    """Read the body of a stored record back.

    Raises:
        KeyError, TypeError, ValueError: It is none.
    """
    return LoadTestRecord(
        target=body["target"],
        verdict=fields.verdict_of(body["verdict"]),
        started_at=from_iso(body["started_at"]),
        ended_at=from_iso(body["ended_at"]),
        engine=body["engine"],
        hardware=Hardware.from_json(body["hardware"]),
        major=body["postgres_major"],
        tested=_tested(body["backup"]),
        rounds=tuple(Round.from_json(each) for each in body["rounds"]),
        rto=fields.objective_of("RTO", body["rto"]),
        interval_seconds=body["interval_milliseconds"] / 1000,
        restored=_load(body["restored"]),
        original=_load(body["original"]),
        beside=body["beside"],
        beside_note=body["beside_note"],
        shipped=body["queries"] == "shipped",
        slow=tuple(_slow(each) for each in body["slow"]),
        api=ApiLoad.from_json(body["api"]) if body["api"] else None,
        forecast=Forecast.from_json(body["forecast"]) if body["forecast"] else None,
        steps=tuple(Step.from_json(each) for each in body["phases"]),
        checks=fields.checks_of(body["checks"]),
        deviations=tuple(body["deviations"]),
        facts={key: value for key, value in body.items() if key not in _OWN},
    )


def _load(found: Mapping[str, Any] | None) -> Load | None:
    return Load.from_json(found) if found else None


def _tested(found: Mapping[str, Any] | None) -> Tested | None:
    if not found:
        return None
    return Tested(
        found["backup_id"],
        found["repository"],
        found["manifest_sha256"],
        found["bytes"],
        found["raw_bytes"],
        found["age_milliseconds"] / 1000,
    )


def _slow(found: Mapping[str, Any]) -> Slow:
    return Slow(
        found["name"],
        found["median_microseconds"] / 1e6,
        found["reference_microseconds"] / 1e6,
        found["reason"],
        tuple(found["names"]),
    )
