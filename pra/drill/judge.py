"""From what a drill saw to its answers: was it noticed, is the service back, what was lost, is it proven?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import psycopg

from pra.drill.record import DRILL, Backup, DrillRecord, Rows
from pra.drill.scenarios import Scenario
from pra.drill.state import Drill
from pra.drill.writer import TABLE, Commit
from pra.errors import PraError
from pra.messages import mark
from pra.model import CheckResult, Status, Verdict, verdict_of
from pra.postgres.connect import Server, first_line
from pra.timing import Objective, format_duration, to_iso

REQUIRED = ("hypothesis before", "detected", "service answers", "sentinels", "hypothesis after", "rto", "rpo")
"""Answers without which no drill passes."""
_SAMPLES = 5


def steady(this: Drill, since: datetime) -> CheckResult:
    """Whether all was well before anything was broken."""
    probe = this.rehearsal.probe
    assert probe is not None
    heard = [sample for sample in probe.samples if sample.at >= since]
    bad = [sample for sample in heard if not sample.ok]
    rows = [commit for commit in this.rehearsal.committed() if commit.at >= since]
    expected = "the service answers every time, and rows are committed"
    observed = f"{len(heard) - len(bad)} of {len(heard)} answers well, {len(rows)} rows committed"
    well = len(heard) >= _SAMPLES and not bad and rows
    reason = bad[0].what if bad else "" if well else "too little was heard"
    return CheckResult("hypothesis before", _passed(well), expected, observed, reason)


def detection(this: Drill) -> CheckResult:
    expected = "a status check notices it"
    if this.detected_at is None:
        return CheckResult("detected", Status.FAILED, expected, "nothing was noticed", this.detected)
    seconds = (this.detected_at - this.disaster_at).total_seconds()
    return CheckResult(
        "detected", Status.PASSED, expected, f"after {format_duration(seconds)}: {this.detected}"
    )


def service(this: Drill) -> CheckResult:
    """Whether the service answered again, and still does now that everything was asked."""
    probe = this.rehearsal.probe
    assert probe is not None
    expected = "every endpoint answers 2xx from the recovered server, and goes on to"
    if this.service_at is None:
        return CheckResult(
            "service answers", Status.FAILED, expected, "it does not answer", this.service_complaint
        )
    later = [sample for sample in probe.samples if sample.at >= this.service_at]
    bad = [sample for sample in later if not sample.ok]
    observed = f"{len(later) - len(bad)} of {len(later)} answers well since {to_iso(this.service_at)}"
    return CheckResult("service answers", _passed(not bad), expected, observed, bad[0].what if bad else "")


def sentinels(this: Drill, server: Server) -> CheckResult:
    """Count the numbered rows: all that had to come back must be there. Sets ``rows``, ``lost_seconds``.

    What had to come back: after a loss of the server, whatever WAL was in the repository that was read; after
    a recovery to before a harmful change, whatever was committed before that change; where only one table
    came back, all of them.
    """
    expected = "every row committed before the moment recovered to"
    ended, due = this.ended or this.context.clock(), _due(this)
    old = [commit for commit in this.rehearsal.committed() if commit.at <= ended]
    try:
        with server.connect() as connection:
            there = {int(row[0]) for row in connection.execute(f"SELECT n FROM {TABLE}".encode()).fetchall()}
    except (PraError, psycopg.Error) as error:
        words = error.message if isinstance(error, PraError) else first_line(error)
        return CheckResult("sentinels", Status.FAILED, expected, "not counted", words)
    lost = [commit for commit in old if commit.n not in there]
    missing = [commit for commit in lost if due(commit)]
    this.rows = Rows(len(old), len(lost), len(missing))
    back = [commit.at for commit in old if commit.n in there]
    this.lost_seconds = (old[-1].at - back[-1]).total_seconds() if back else None
    observed = f"{len(old) - len(lost)} of {len(old)} rows came back, {len(lost)} lost"
    if missing:
        reason = f"{len(missing)} rows are missing that should be there, the first is number {missing[0].n}"
        return CheckResult("sentinels", Status.FAILED, expected, observed, reason)
    return CheckResult(
        "sentinels", _passed(bool(old)), expected, observed, "" if old else "none was committed"
    )


def _due(this: Drill) -> Callable[[Commit], bool]:
    """Whether a row had to come back."""
    if this.method.recovery == "beside":
        return lambda commit: True
    if this.method.recovery == "before":
        disaster = this.disaster_at
        return lambda commit: commit.at < disaster
    assert this.brought is not None
    until = this.brought.planned.plan.until
    return lambda commit: commit.lsn <= until


def hypothesis_after(this: Drill, server: Server) -> CheckResult:
    """Whether what was harmed is as it was."""
    expected = "what was harmed is as it was before"
    harm = this.harm
    if harm is None:
        return CheckResult(
            "hypothesis after", Status.PASSED, expected, "nothing was changed but the server lost"
        )
    try:
        with server.connect(statement_seconds=60) as connection:
            row = connection.execute(harm.holds.encode()).fetchone()
    except (PraError, psycopg.Error) as error:
        words = error.message if isinstance(error, PraError) else first_line(error)
        return CheckResult("hypothesis after", Status.FAILED, expected, "it cannot be asked", words)
    well = bool(row and row[0])
    return CheckResult(
        "hypothesis after", _passed(well), expected, "it is" if well else "it is not", harm.what
    )


def objectives(this: Drill) -> tuple[Objective, Objective]:
    """RTO: disaster → the service answers. RPO: last commit of the old world → last one that came back."""
    target = this.rehearsal.rto
    rto = Objective("RTO", target, _since_disaster(this, this.service_at))
    rpo = Objective("RPO", this.context.target.rpo.total_seconds(), this.lost_seconds)
    return rto, rpo


def objective_check(objective: Objective) -> CheckResult:
    expected = f"at most {format_duration(objective.target_seconds)}"
    if objective.seconds is None:
        return CheckResult(objective.name.lower(), Status.FAILED, expected, "not reached")
    return CheckResult(
        objective.name.lower(), _passed(bool(objective.met)), expected, format_duration(objective.seconds)
    )


def _since_disaster(this: Drill, moment: datetime | None) -> float | None:
    if moment is None or not this.injected:
        return None
    return (moment - this.disaster_at).total_seconds()


def record(this: Drill, verdict: Verdict | str) -> DrillRecord:
    """All that is known, for the evidence and the report."""
    scenario: Scenario = this.scenario
    rto, rpo = objectives(this) if this.injected else (None, None)
    return DrillRecord(
        kind=DRILL,
        target=this.context.target.name,
        verdict=verdict,
        started_at=this.started_at,
        ended_at=this.context.clock(),
        scenario=scenario.name,
        title=scenario.title,
        severity=scenario.severity,
        intensity=this.order.intensity,
        hypothesis=(scenario.before, scenario.after),
        backup=_backup(this),
        steps=tuple(this.steps),
        events=tuple(sorted(this.events, key=lambda event: event.at)),
        rto=rto,
        rpo=rpo,
        rto_how=mark("from the fault until every endpoint answered a probe outside, from the new server"),
        rpo_how=mark("from the last row acknowledged by the old server to the last one that came back"),
        detect_seconds=_since_disaster(this, this.detected_at),
        recover_seconds=this.recovering,
        service_seconds=_since_disaster(this, this.service_at),
        proven_seconds=_since_disaster(this, this.proven_at),
        rows=this.rows,
        checks=tuple(this.results),
        interventions=tuple(this.interventions),
        deviations=tuple(this.deviations),
        findings=tuple(this.findings),
        afterwards=tuple(this.afterwards),
        facts=dict(this.facts),
    )


def _backup(this: Drill) -> Backup | None:
    if this.brought is None:
        return None
    choice, manifest = this.brought.session.choice, this.brought.planned.plan.manifest
    disaster = this.disaster_at if this.injected else this.context.clock()
    return Backup(
        manifest.backup_id,
        choice.repository,
        choice.manifest_sha256,
        sum(member.bytes for member in this.brought.planned.chain),
        (disaster - manifest.taken_at).total_seconds(),
        "accepted unverified" if choice.unverified else "valid",
        this.brought.passed_over,
    )


def verdict(this: Drill) -> Verdict:
    return verdict_of(this.results, required=(*REQUIRED, *this.required))


def _passed(well: object) -> Status:
    return Status.PASSED if well else Status.FAILED
