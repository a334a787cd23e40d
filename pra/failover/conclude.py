"""From a failover's journal to its verdict and its one record."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pra.drill.record import FAILOVER, Backup, DrillRecord, Event
from pra.evidence_body import common
from pra.failover.protect import NAME, unprotected
from pra.failover.state import Failover
from pra.model import CheckResult, Status, verdict_of
from pra.timing import Objective, format_duration, from_iso, to_iso

REQUIRED = ("service", "rto", "rpo", NAME)
"""Answers without which no failover passes."""
BEFORE = "The service was lost, or had to be given up."
AFTER = "The recovered server answers in its place, is proven, and is protected again."


def record(this: Failover, outcome: str = "") -> DrillRecord:
    """All that is known.

    Args:
        outcome: Instead of a verdict: ``aborted``.
    """
    steps = this.journal.in_order()
    results = [*(check for step in steps for check in step.checks), *this.halted]
    if not outcome:
        results += [*_objective_checks(this), *([unprotected(this.open)] if this.open else [])]
    required = (*REQUIRED, *(name for step in steps for name in step.required))
    rto, rpo = objectives(this)
    events = [event for step in steps for event in step.events]
    return DrillRecord(
        kind=FAILOVER,
        target=this.target,
        verdict=outcome or verdict_of(results, required=required),
        started_at=this.journal.started_at,
        ended_at=this.context.clock(),
        title="",
        severity="critical",
        hypothesis=(BEFORE, AFTER),
        backup=_backup(this),
        steps=tuple(step.as_step() for step in steps),
        events=tuple(sorted([Event("disaster", this.disaster_at, _declared(this)), *events], key=_at)),
        rto=None if outcome else rto,
        rpo=None if outcome else rpo,
        rto_how="from the disaster until the recovered server answered where the applications look for it",
        rpo_how="from the disaster back to the commit of the last transaction that came back",
        recover_seconds=_seconds(this, "recover"),
        service_seconds=_since_disaster(this, service_at(this)),
        proven_seconds=_since_disaster(this, _proven_at(this)),
        checks=tuple(results),
        interventions=(*(one for step in steps for one in step.interventions), *this.decided),
        deviations=tuple(line for step in steps for line in step.deviations),
        findings=tuple(_findings(results)),
        afterwards=() if outcome else _afterwards(this),
        facts=_facts(this, outcome),
    )


def _facts(this: Failover, outcome: str) -> dict[str, Any]:
    context, facts = this.context, this.journal.facts("recover")
    return {
        **common(context.settings, context.target, operator=context.operator),
        "failover": this.journal.failover,
        "plan": this.plan.as_json() if this.plan is not None else None,
        "plan_sha256": this.journal.plan_sha256,
        "disaster_at": to_iso(this.disaster_at),
        "finished": bool(outcome) or not this.open,
        "isolation": {"network_namespace": False, "account": None},
        "recovery": {
            "last_commit": facts.get("last_commit"),
            "timeline": facts.get("timeline"),
            "reached": facts.get("reached"),
        },
    }


def objectives(this: Failover) -> tuple[Objective, Objective]:
    """RTO: disaster → the service answers. RPO: last commit that came back → disaster."""
    target, came_back = this.context.target, _came_back(this)
    lost = None if came_back is None else max((this.disaster_at - came_back).total_seconds(), 0.0)
    return (
        Objective("RTO", target.rto.total_seconds(), _since_disaster(this, service_at(this))),
        Objective("RPO", target.rpo.total_seconds(), lost),
    )


def _objective_checks(this: Failover) -> list[CheckResult]:
    found = []
    for objective in objectives(this):
        expected = f"at most {format_duration(objective.target_seconds)}"
        name = objective.name.lower()
        if objective.seconds is None:
            found.append(CheckResult(name, Status.SKIPPED, expected, "not measured"))
            continue
        status = Status.PASSED if objective.met else Status.FAILED
        found.append(CheckResult(name, status, expected, format_duration(objective.seconds)))
    return found


def service_at(this: Failover) -> datetime | None:
    """When the service answered again."""
    step = this.journal.done.get("switch")
    events = step.events if step is not None else []
    return next((event.at for event in events if event.name == "service"), None)


def _came_back(this: Failover) -> datetime | None:
    facts = this.journal.facts("recover")
    text = facts.get("last_commit") or facts.get("taken_at")
    return from_iso(text) if isinstance(text, str) else None


def _proven_at(this: Failover) -> datetime | None:
    """The later of the two: the service answers, and every check was answered well."""
    service, step = service_at(this), this.journal.done.get("checks")
    if service is None or step is None or any(c.status is Status.FAILED for c in step.checks):
        return None
    return max(service, step.started_at + timedelta(seconds=step.seconds))


def _since_disaster(this: Failover, moment: datetime | None) -> float | None:
    return None if moment is None else max((moment - this.disaster_at).total_seconds(), 0.0)


def _seconds(this: Failover, name: str) -> float | None:
    step = this.journal.done.get(name)
    return None if step is None else step.seconds


def _backup(this: Failover) -> Backup | None:
    facts = this.journal.facts("recover")
    if not facts or facts.get("promoted"):
        return None
    return Backup(
        backup_id=facts["backup_id"],
        repository=facts["repository"],
        manifest_sha256=facts["manifest_sha256"],
        bytes=facts["bytes"],
        age_seconds=(this.disaster_at - from_iso(facts["taken_at"])).total_seconds(),
        passed_over=tuple(facts["passed_over"]),
    )


def _findings(results: list[CheckResult]) -> list[str]:
    return [
        f"{c.name}: expected {c.expected or '?'}; observed {c.observed or c.reason or '?'}"
        for c in results
        if c.status is Status.FAILED
    ]


def _declared(this: Failover) -> str:
    if this.declared_at is not None:
        return "its moment was declared by the operator"
    return "nobody declared its moment: the failover's start is taken"


def _at(event: Event) -> datetime:
    return event.at


def _afterwards(this: Failover) -> tuple[str, ...]:
    """The way back, and what must not be forgotten."""
    how, target = this.how, this.context.target
    first = (f"Go on until it is protected again: pra failover {this.target} --resume",) if this.open else ()
    address = (
        (f"Set targets.{this.target}.dsn in pra.toml to {how.serving}, for backups and streamer.",)
        if how.serving != target.dsn
        else ()
    )
    return (
        *first,
        *address,
        "Keep the old server fenced until its disk has been looked at: nothing may write to it.",
        "Restart the recovered server in a quiet hour: settings that kept it alone end then.",
        "Fail back only in a maintenance window: a base backup of the recovered server on the old host, "
        "streaming until it has caught up, then a planned switch.",
    )
