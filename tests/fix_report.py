"""Records of drills to render: one that passed, and each way in which one can differ from it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pra.drill.record import (
    DRILL,
    FAILOVER,
    INTERRUPTED,
    Backup,
    DrillRecord,
    Event,
    Intervention,
    Rows,
    Step,
)
from pra.model import CheckResult, Status, Verdict
from pra.report.stamp import Stamp
from pra.timing import Objective

BEGAN = datetime(2026, 6, 6, 9, 0, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>|`x`\n# *y* [z](http://evil.example) &amp; \u202egnp"


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


STAMP = Stamp(
    sequence=1042,
    key="akig/evidence/00001042.json",
    sha256="5d" * 32,
    previous_sha256="a7" * 32,
    key_id="ed25519:7f3c9a1b",
    alg="ed25519",
    signed_at=at(160),
    repository="offsite",
)

CHECKS = (
    CheckResult("fingerprint", Status.PASSED, "41 tables as saved", "41 tables as saved"),
    CheckResult("sentinels", Status.PASSED, "every row committed before the target", "1,240 of 1,240"),
    CheckResult("pages", Status.PASSED, "no damaged page", "0 damaged of 10,214"),
    CheckResult("service.contracts", Status.PASSED, "200 with at least one contract", "200, 20 contracts"),
    CheckResult("amcheck", Status.NOT_APPLICABLE, reason="the extension is not installed"),
)

STEPS = (
    Step("baseline", at(0), 12.4),
    Step("inject", at(12.4), 1.1),
    Step("detect", at(13.5), 8.2),
    Step("approve", at(21.7), 31.0, waiting=True),
    Step("recover", at(52.7), 64.3),
    Step("switch", at(117.0), 1.6),
    Step("checks", at(118.6), 27.0),
    Step("teardown", at(145.6), 3.2),
)

EVENTS = (
    Event("disaster", at(13.5), "the server process was killed and does not restart"),
    Event("detected", at(21.7), "the status check found no answer on the database's port"),
    Event("approved", at(52.7)),
    Event("service", at(118.6), "/api/health answered 200"),
    Event("proven", at(145.6), "every check has passed"),
)


def passed(**changed: Any) -> DrillRecord:
    """Inside both objectives, three of 1,243 rows lost, unless told otherwise."""
    record = DrillRecord(
        kind=DRILL,
        target="akig",
        verdict=Verdict.PASS,
        started_at=at(0),
        ended_at=at(149),
        scenario="database-down",
        title="the server dies and does not come back",
        severity="critical",
        intensity="normal",
        hypothesis=(
            "The service answers, and the newest backup is proven.",
            "The service answers from the newest backup, and no row is missing that was saved.",
        ),
        backup=Backup("20260606T080012Z-full-3f9c", "offsite", "c4" * 32, 941_300_000, 3_601.0),
        steps=STEPS,
        events=EVENTS,
        rto=Objective("RTO", 1800, 105.1),
        rpo=Objective("RPO", 3600, 0.9),
        rto_how="From the kill to the first 200 of /api/health, sampled every 0.2 s.",
        rpo_how="The commit time of the newest row that came back, against the disaster.",
        detect_seconds=8.2,
        recover_seconds=64.3,
        service_seconds=105.1,
        proven_seconds=132.1,
        rows=Rows(1243, 3, 0),
        checks=CHECKS,
        interventions=(Intervention(at(52.7), "amadou", "proceed", "seen by the duty manager"),),
        afterwards=("Stop the rehearsal.", "Start production's own server, which was never touched."),
        facts={
            "id": "drill-20260606-0900",
            "operator": "amadou",
            "versions": {"pra": "0.1.0", "postgresql": "18.1"},
            "configuration_sha256": "be" * 32,
            "isolation": {"network": False, "directory": "0700", "credentials": None},
            "sealed_logs": [{"name": "postgresql.log", "bytes": 8192, "sha256": "e1" * 32}],
        },
    )
    return replace(record, **changed)


def failed() -> DrillRecord:
    """Out of its RPO after a rotten backup was passed over; one check failed."""
    wrong = CheckResult(
        "service.payments",
        Status.FAILED,
        "200 within 2 s",
        "500 after 0.1 s",
        "the application answers with an error",
        details=("/api/payments: 500",),
    )
    backup = replace(
        passed().backup or Backup("", "", "", 0, 0),
        age_seconds=7_215.0,
        passed_over=("20260606T080012Z-full-3f9c in local: the stored bytes are not what was signed",),
    )
    return passed(
        verdict=Verdict.FAIL,
        scenario="bad-backup",
        title="the newest backup is rotten",
        backup=backup,
        rpo=Objective("RPO", 3600, 7_215.0),
        rows=Rows(5_210, 2_904, 2),
        checks=(*CHECKS, wrong),
        proven_seconds=None,
        events=tuple(e for e in EVENTS if e.name != "proven"),
        deviations=("The backup before the newest one was used.",),
        findings=("Find out why the stored bytes changed: local.",),
    )


def partial() -> DrillRecord:
    skipped = CheckResult("amcheck", Status.SKIPPED, "no index damaged", "", "ran out of its time")
    return passed(verdict=Verdict.PARTIAL, checks=(skipped, *CHECKS[:3]), rows=None)


def interrupted() -> DrillRecord:
    """As the next start writes it, hours later: what was done is known, and nothing was measured."""
    return DrillRecord(
        kind=DRILL,
        target="akig",
        verdict=INTERRUPTED,
        started_at=at(0),
        ended_at=at(9000),
        scenario="site-loss",
        steps=STEPS[:3],
        events=EVENTS[:1],
        findings=("The process was killed in: recover.",),
    )


def failover() -> DrillRecord:
    return passed(
        kind=FAILOVER,
        scenario="",
        title="",
        intensity="",
        hypothesis=("", ""),
        rows=None,
        steps=(
            Step("plan", at(0), 2.0),
            Step("approve", at(2), 5_400.0, waiting=True),
            Step("fence", at(5_402), 4.0),
            Step("restore", at(5_406), 640.0),
            Step("re-protect", at(6_046), 95.0),
        ),
        events=(Event("disaster", at(-600), "the host does not answer"), Event("service", at(6_046))),
        rto=Objective("RTO", 1800, 6_646.0),
        service_seconds=6_646.0,
        verdict=Verdict.FAIL,
    )


def crowded() -> DrillRecord:
    """More of everything than a page bears."""
    statuses = (Status.FAILED, Status.SKIPPED, Status.PASSED, Status.PASSED, Status.NOT_APPLICABLE)
    checks = tuple(
        CheckResult(f"check.{i:04d}", statuses[i % 5], "e", "o", "r", details=("d",) * 30)
        for i in range(1000)
    )
    return passed(
        verdict=Verdict.FAIL,
        checks=checks,
        steps=tuple(Step(f"phase {i}", at(i), (1000 + i) / 1000) for i in range(200)),
        events=(*EVENTS, *(Event(f"event {i}", at(i)) for i in range(200))),
        findings=tuple(f"finding {i}" for i in range(200)),
        facts={f"fact{i}": i for i in range(200)},
    )


def hostile() -> DrillRecord:
    """Every text that can come from outside tries to be markup."""
    return passed(
        title=HOSTILE,
        scenario=HOSTILE,
        hypothesis=(HOSTILE, HOSTILE),
        steps=(Step(HOSTILE, at(0), 10.0), Step(HOSTILE, at(10), 1.0, waiting=True)),
        events=(Event("disaster", at(1), HOSTILE), Event(HOSTILE, at(2), HOSTILE)),
        backup=Backup(HOSTILE, HOSTILE, HOSTILE, 1, 1.0, HOSTILE, (HOSTILE,)),
        checks=(CheckResult(HOSTILE, Status.FAILED, HOSTILE, HOSTILE, HOSTILE, details=(HOSTILE,)),),
        interventions=(Intervention(at(3), HOSTILE, HOSTILE, HOSTILE),),
        deviations=(HOSTILE,),
        findings=(HOSTILE,),
        afterwards=(HOSTILE,),
        rto_how=HOSTILE,
        facts={HOSTILE: {HOSTILE: [HOSTILE]}},
    )


def before(count: int = 6) -> tuple[DrillRecord, ...]:
    """Earlier drills, the newest first, a month apart."""
    return tuple(
        passed(
            started_at=at(-i * 30 * 86400),
            service_seconds=100.0 + 20 * i,
            proven_seconds=130.0 + 20 * i,
            verdict=Verdict.FAIL if i == 3 else Verdict.PASS,
            rows=Rows(1000, i, 0),
        )
        for i in range(1, count + 1)
    )


RECORDS = {
    "passed": passed,
    "failed": failed,
    "partial": partial,
    "interrupted": interrupted,
    "failover": failover,
    "crowded": crowded,
    "hostile": hostile,
}
