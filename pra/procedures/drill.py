"""The full disaster-recovery drill, on a rehearsal environment of its own.

prepare → baseline → inject → detect → approve → recover → switch → checks → report → teardown

Times are our own clock's; waiting for a human is a phase apart and counts in the RTO all the same, as it does
on the real day. Whatever happens the environment is gone at the end; if this process is killed, the next
start finds its folder, removes it and writes into the evidence that the drill was interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from pra.drill import evidence_of_intrusion, faults, judge, recoveries
from pra.drill.concluding import DrillReport, conclude
from pra.drill.environment import clean_up, open_drill
from pra.drill.preparing import SLOW_SECONDS, prepare
from pra.drill.record import Intervention
from pra.drill.rehearsal import Rehearsal
from pra.drill.state import Aborted, Answer, Approve, Drill, Order
from pra.errors import PraError
from pra.model import CheckResult, Status, Verdict
from pra.postgres.connect import Server, one_value
from pra.procedures.context import Context
from pra.restored import CheckSet
from pra.watch import probes

PHASES = (
    "prepare", "baseline", "inject", "detect", "approve", "recover", "switch", "checks", "report",
)  # fmt: skip
BASELINE_SECONDS = 4.0
"""Long enough that a recovery that stops three seconds early is seen to."""
DETECT_SECONDS = 60.0
SERVICE_SECONDS = 60.0
STEADY_SECONDS = 1.0


def baseline(this: Drill) -> None:
    """See that all is well, for some seconds, before anything is broken."""
    with this.phase("baseline"):
        since = this.context.clock()
        time.sleep(BASELINE_SECONDS)
        this.rehearsal.wait_shipped()
        this.results.append(judge.steady(this, since))


def inject(this: Drill) -> None:
    """Break it."""
    with this.phase("inject"):
        for fault in this.method.faults:
            this.injected.append(_inject(this, fault))
        for one in this.injected:
            this.event("disaster" if one is this.injected[0] else "fault", one.at, one.what)


def _inject(this: Drill, fault: str) -> faults.Injected:
    rehearsal = this.rehearsal
    if fault == "values":
        return faults.wrong_values(rehearsal, this.order.intensity)
    if fault == "pages":
        return faults.damage_pages(rehearsal, this.injected[-1].table)
    if fault == "rot":
        return faults.rot(rehearsal, this.backup_id)
    simple: dict[str, Callable[[Rehearsal], faults.Injected]] = {
        "kill": faults.kill,
        "site": faults.lose_site,
        "drop": faults.drop,
        "intruder": faults.intrude,
    }
    return simple[fault](rehearsal)


def detect(this: Drill) -> None:
    """Let the status checks notice it."""
    with this.phase("detect"):
        server, known = _old_server(this), this.baseline
        assert known is not None
        deadline = time.monotonic() + DETECT_SECONDS
        question = this.method.detection
        while time.monotonic() < deadline and not this.context.scope.closed:
            wrong = probes.ask(question, server, known)
            if wrong is not None:
                this.detected, this.detected_at = wrong, this.context.clock()
                this.event("detected", this.detected_at, wrong)
                break
            time.sleep(0.2)
        this.results.append(judge.detection(this))


def _old_server(this: Drill) -> Server:
    return this.rehearsal.server


def approve(this: Drill, ask: Approve) -> None:
    """Ask a human whether to recover.

    Raises:
        Aborted: The answer was no.
    """
    with this.phase("approve", waiting=True):
        answer = ask(this)
    record_answer(this, answer)


def record_answer(this: Drill, answer: Answer) -> None:
    """Write the decision down.

    Raises:
        Aborted: It was no.
    """
    now = this.context.clock()
    this.interventions.append(Intervention(now, answer.by, answer.decision, answer.comment))
    this.event("approved" if answer.decision != "abort" else "aborted", now, answer.comment)
    if answer.decision == "abort":
        raise Aborted("the drill was aborted at the approval", op="approve")


def recover(this: Drill) -> None:
    """Bring the data back, as the scenario's runbook does, with the settings of a server one keeps.

    Raises:
        PraError: It could not be recovered: that is the drill's answer, and a FAIL.
    """
    with this.phase("recover"):
        start = time.monotonic()
        if this.order.sabotage == "slow":
            time.sleep(SLOW_SECONDS)
        recoveries.RECOVERIES[this.method.recovery](this)
        this.recovering = time.monotonic() - start
        this.event("recovered", this.context.clock())


def switch(this: Drill) -> None:
    """Send the service to the recovered server, and wait for its first good answer."""
    with this.phase("switch"):
        rehearsal = this.rehearsal
        if this.order.sabotage == "api-error":
            rehearsal.broken.touch()
        began = this.context.clock()
        if rehearsal.restored is not None:
            with rehearsal.restored.server().connect() as connection:
                started = one_value(
                    connection, "SELECT extract(epoch FROM pg_postmaster_start_time())::float8"
                )
            this.restored_started = float(started)
            rehearsal.point(rehearsal.restored.server(rehearsal.database))
        if this.order.sabotage == "switch-nowhere":
            rehearsal.close_service()
        if rehearsal.writer is None:
            rehearsal.start_writer()
        _await_service(this, began)


def _await_service(this: Drill, began: datetime) -> None:
    probe = this.rehearsal.probe
    assert probe is not None
    seconds = SERVICE_SECONDS if this.order.sabotage is None else SERVICE_SECONDS / 10
    found = probe.wait(began, seconds, started_after=max(0.0, this.restored_started - 0.001))
    if found is None:
        last = probe.last()
        this.service_complaint = last.what or "the old server answers" if last else "nothing was heard"
        return
    this.service_at = found.at
    this.event("service", found.at, "every endpoint answers again")


def check(this: Drill, checks: CheckSet) -> None:
    """Ask everything of the server that now serves; count the rows; ask whether the harm is undone."""
    with this.phase("checks"):
        rehearsal = this.rehearsal
        server = rehearsal.server
        if this.brought is not None:
            assert rehearsal.restored is not None
            server = rehearsal.restored.server(rehearsal.database)
            found, required = this.brought.check(server, checks)
            this.results += found
            this.required += required
        this.results.append(judge.sentinels(this, server))
        this.results.append(judge.hypothesis_after(this, server))
        if this.scenario.name == "intrusion":
            evidence_of_intrusion.compare(this)
        if this.scenario.name == "bad-backup":
            _cost_of_rot(this)
        time.sleep(STEADY_SECONDS)
        this.results.append(judge.service(this))
        this.results += [judge.objective_check(each) for each in judge.objectives(this)]
        this.proven_at = this.context.clock()
        this.event("proven" if judge.verdict(this) is Verdict.PASS else "answered", this.proven_at)


def _cost_of_rot(this: Drill) -> None:
    """What it cost that the newest backup was rotten."""
    assert this.brought is not None
    expected, used = "the rotten backup is passed over", this.brought.planned.plan.manifest
    noticed = any(this.backup_id in line for line in this.brought.passed_over)
    passed = Status.PASSED if noticed and used.backup_id != this.backup_id else Status.FAILED
    observed = f"{used.backup_id} was used" if noticed else "nobody noticed"
    this.results.append(CheckResult("rot noticed", passed, expected, observed))
    assert this.rows is not None
    older = (this.disaster_at - used.taken_at).total_seconds()
    this.findings.append(
        f"The newest backup, {this.backup_id}, was rotten. With the WAL behind the one before it "
        f"{this.rows.lost} rows were lost; without WAL it would be everything of the last {older:.0f} s."
    )


# -- all of it ------------------------------------------------------------------------------------------


def automatically(this: Drill) -> Answer:
    """Nobody is asked."""
    return Answer("automatic", "", "")


def run(context: Context, checks: CheckSet, order: Order, ask: Approve = automatically) -> DrillReport:
    """Drive the whole drill.

    Raises:
        PraError: The rehearsal could not be set up, or its record not be written. What fails from the fault
        on
            is the drill's answer: FAIL.
    """
    with open_drill(context, order) as this:
        prepare(this)
        baseline(this)
        try:
            inject(this)
            detect(this)
            approve(this, ask)
            recover(this)
            switch(this)
            check(this, checks)
        except Aborted:
            return conclude(this, "aborted")
        except PraError as error:
            if context.scope.closed:
                raise
            failed(this, error)
        return conclude(this)


def failed(this: Drill, error: PraError) -> None:
    """A step that could not be carried out after the fault: the drill has its answer."""
    step = this.steps[-1].name if this.steps else error.op
    this.results.append(
        CheckResult(step, Status.FAILED, "the step is carried out", error.message, error.hint)
    )


__all__ = [
    "PHASES", "DrillReport", "approve", "automatically", "baseline", "check", "clean_up", "conclude",
    "detect", "failed", "inject", "open_drill", "prepare", "record_answer", "recover", "run", "switch",
]  # fmt: skip
