"""The full disaster-recovery drill, on a rehearsal environment of its own.

prepare → baseline → inject → detect → approve → recover → switch → checks → report → teardown

Times are our own clock's; waiting for a human is a phase apart and counts in the RTO all the same, as it does
on the real day. Whatever happens the environment is gone at the end; if this process is killed, the next
start finds its folder, removes it and writes into the evidence that the drill was interrupted.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from pra import ephemeral
from pra.drill import evidence_of_intrusion, faults, judge, recoveries
from pra.drill.record import DRILL, INTERRUPTED, DrillRecord, Intervention, record_of
from pra.drill.rehearsal import Rehearsal
from pra.drill.state import Aborted, Answer, Approve, Drill, Order
from pra.drill.writer import TABLE
from pra.engines.recovery import IMMEDIATE
from pra.errors import PraError, UsageError
from pra.evidence_body import common
from pra.evidence_record import EvidenceRecord
from pra.keys import key_sheet, load_identities, load_keyring
from pra.keysheet import RepositoryAccess
from pra.messages import mark
from pra.model import CheckResult, Status, Verdict
from pra.postgres.connect import Server, one_value, postgres_errors
from pra.postgres.sandbox import sandbox_account, sandbox_root
from pra.postgres.service_server import own_folder
from pra.proc import Scope
from pra.procedures.bring_back import Wanted, bring_back
from pra.procedures.capacity import check_free
from pra.procedures.context import Context
from pra.procedures.physical_plan import server_bytes
from pra.restored import CheckSet
from pra.settings import Settings
from pra.timing import from_iso
from pra.watch import probes

PHASES = (
    "prepare", "baseline", "inject", "detect", "approve", "recover", "switch", "checks", "report",
)  # fmt: skip
PREFIX = "drill-"
BASELINE_SECONDS = 4.0
"""Long enough that a recovery that stops three seconds early is seen to."""
DETECT_SECONDS = 60.0
SERVICE_SECONDS = 60.0
STEADY_SECONDS = 1.0
SLOW_SECONDS = 8.0
"""A sabotaged drill gets this RTO, and is held up for as long."""
_LARGEST_TABLES = 5
_EARLIER = 5
_LOOK = 500
"""How many records are looked through for the trend; each is an object to be read."""
_LARGEST = """
SELECT n.nspname || '.' || c.relname
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname !~ '^(pg_|information_schema)'
   AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
 ORDER BY pg_relation_size(c.oid) DESC LIMIT %s
"""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DrillReport:
    """The outcome: the record as it was written, and where.

    Attributes:
        earlier: The last drills of the same scenario before it, newest first: the trend.
    """

    record: DrillRecord
    evidence: EvidenceRecord
    earlier: tuple[DrillRecord, ...] = ()

    @property
    def verdict(self) -> Verdict | str:
        return self.record.verdict


# -- the environment ------------------------------------------------------------------------------------


@contextmanager
def open_drill(context: Context, order: Order) -> Iterator[Drill]:
    """The environment of one drill, empty; everything in it is gone on leaving.

    Raises:
        UsageError: The target's backups cannot be recovered to a moment.
        SettingsError: There is no key to sign the record with.
    """
    _ = context.signer  # a drill that cannot be recorded proves nothing: better said now
    if context.target.engine != "physical":
        raise UsageError(
            f"{context.target.name} is backed up logically: a drill recovers to a moment, which dumps cannot",
            op="rehearse",
            hint='Set engine = "physical" for the target, or name one that has it.',
        )
    root = sandbox_root(context.settings.sandbox.dir, context.state_dir)
    clean_up(context.settings, root)
    account = sandbox_account(context.settings.sandbox.account)
    with ExitStack() as stack:
        home = stack.enter_context(ephemeral.ephemeral(root, PREFIX))
        home.chmod(0o711)  # the servers' account has to get to its folders
        stack.callback(context.scope.close)  # before the folder goes
        rehearsal = Rehearsal(
            home, context.scope, stack, context.target, context.settings, account, clock=context.clock
        )
        drill = Drill(context, order, stack, rehearsal, context.clock())
        drill.facts |= common(context.settings, context.target, operator=order.operator)
        drill.note("start")
        yield drill


def clean_up(settings: Settings, root: Path) -> list[Path]:
    """Remove what drills that were killed left behind, and write into the evidence that they were.

    Their processes ended with them: see `pra.deadman`.
    """

    def remember(folder: Path) -> None:
        try:
            found = json.loads((folder / "drill.json").read_text())
            target = settings.targets[found["target"]]
        except (OSError, ValueError, KeyError):
            _log.warning("%s: a drill of a target that is not configured here was interrupted", folder.name)
            return
        try:
            with Scope() as scope:
                context = Context(settings, target, scope)
                context.evidence.append(DRILL, _interrupted(found, context).as_json())
        except PraError as error:
            _log.error("the interrupted drill of %s could not be recorded: %s", target.name, error)

    return ephemeral.sweep(root, PREFIX, remember)


def _interrupted(found: dict[str, Any], context: Context) -> DrillRecord:
    return DrillRecord(
        kind=DRILL,
        target=context.target.name,
        verdict=INTERRUPTED,
        started_at=from_iso(found["started_at"]),
        ended_at=context.clock(),
        scenario=found["scenario"],
        intensity=found["intensity"],
        deviations=(f"The drill was killed in its phase {found['phase']}; nothing of it was left.",),
        facts=common(context.settings, context.target),
    )


# -- the phases -----------------------------------------------------------------------------------------


def prepare(this: Drill) -> None:
    """Restore a primary from the target's backup, give it a service, a streamer and a first backup.

    Raises:
        PraError: The rehearsal cannot be set up; that says nothing about a disaster.
    """
    with this.phase("prepare"):
        _restore_primary(this)
        rehearsal = this.rehearsal
        assert rehearsal.primary is not None
        rehearsal.primary.start()
        rehearsal.tables = _tables(this)
        rehearsal.configure(SLOW_SECONDS if this.order.sabotage == "slow" else None)
        this.baseline = probes.read_baseline(rehearsal.server, rehearsal.tables)
        rehearsal.open_service()
        rehearsal.start_streamer()
        if this.order.sabotage == "missing-row":
            _lose_a_row(this)
        this.backup_id = rehearsal.back_up(full=True).backup_id
        if "rot" in this.method.faults:
            this.backup_id = rehearsal.back_up(full=True).backup_id
        if this.method.recovery == "sheet":
            this.sheet = _print_sheet(this)
        rehearsal.wait_shipped()


def _restore_primary(this: Drill) -> None:
    context, order = this.context, this.order
    names = (order.repository,) if order.repository else tuple(context.repositories)
    backup_id = None if order.backup == "newest" else order.backup
    wanted = Wanted(names, IMMEDIATE, backup_id, proof=False, tablespaces=None)
    rehearsal = this.rehearsal
    home = rehearsal.home / "primary"
    own_folder(home, rehearsal.account)
    with bring_back(context, wanted, home / "data") as brought:
        manifest = brought.planned.plan.manifest
        # Another server, and two repositories with two backups each at most: said before minutes are spent.
        check_free(rehearsal.home, server_bytes(brought.planned.chain) + 4 * manifest.bytes)
        assert brought.session.tools is not None
        rehearsal.tools = brought.session.tools
        rehearsal.role, rehearsal.database = manifest.server.bootstrap_role, manifest.database
        this.event(
            "rehearsal made",
            context.clock(),
            f"from {manifest.backup_id} in {brought.session.choice.repository}",
        )
        this.deviations += [f"Passed over for the rehearsal: {one}." for one in brought.passed_over]
    rehearsal.primary = rehearsal.place("primary")


def _tables(this: Drill) -> tuple[str, ...]:
    """The critical tables that are there; where none is named, the largest ones with a primary key."""
    named = this.context.target.critical_tables
    with this.rehearsal.server.connect() as connection, postgres_errors("look for tables"):
        if named:
            full = [name if "." in name else f"public.{name}" for name in named]
            return tuple(
                name for name in full if one_value(connection, "SELECT to_regclass(%s)", probes.quoted(name))
            )
        rows = connection.execute(
            _LARGEST,
            (_LARGEST_TABLES,),
        ).fetchall()
    return tuple(str(row[0]) for row in rows)


def _lose_a_row(this: Drill) -> None:
    """Sabotage: the backup will lack a row that was committed."""
    _until(lambda: len(this.rehearsal.committed()) > 5, 10.0)
    with this.rehearsal.server.connect() as connection:
        connection.execute(f"DELETE FROM {TABLE} WHERE n = (SELECT min(n) FROM {TABLE})".encode())


def _print_sheet(this: Drill) -> str:
    """The recovery sheet as an operator would have printed it, before the disaster."""
    settings = this.rehearsal.settings
    assert settings is not None
    return key_sheet(
        identities=load_identities(settings.encryption, settings.state_dir),
        public_keys=[key.text() for key in load_keyring(settings.signing, settings.state_dir) if key.text()],
        repositories=[RepositoryAccess(each.name, each.url) for each in settings.repositories.values()],
        targets=[this.rehearsal.name],
        made_at=this.context.clock(),
    )


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


def conclude(this: Drill, verdict: Verdict | str | None = None) -> DrillReport:
    """Judge, plan the way back, and leave the evidence in the target's own repositories."""
    with this.phase("report"):
        _plan_way_back(this)
        outcome = verdict if verdict is not None else judge.verdict(this)
        record = judge.record(this, outcome)
    record = replace(record, steps=tuple(this.steps), ended_at=this.context.clock())
    stored = this.context.evidence.append(DRILL, record.as_json())
    return DrillReport(record, stored, earlier(this.context, record, stored))


def earlier(context: Context, record: DrillRecord, stored: EvidenceRecord) -> tuple[DrillRecord, ...]:
    """The records of the same kind and scenario before this one, newest first. Never raises."""
    found: list[DrillRecord] = []
    try:
        for other in islice(context.evidence.records(), _LOOK):
            same = other.kind == record.kind and other.body.get("scenario") == record.scenario
            if same and not other.problem and other.sequence < stored.sequence:
                found.append(record_of(other.kind, other.body))
            if len(found) == _EARLIER:
                break
    except (PraError, KeyError, TypeError, ValueError) as error:
        _log.warning("the trend is not shown: %s", error)
    return tuple(found)


def _plan_way_back(this: Drill) -> None:
    """What an operator would have to do next on the real day."""
    if this.method.recovery == "beside":
        this.afterwards += [mark("Take a full backup now: the repaired table is in no backup yet.")]
        return
    this.afterwards += [
        mark("Keep the old server fenced until its disk has been looked at: nothing may write to it."),
        mark("Re-protect the recovered server: new slot and streamer, a full backup, a first verification."),
        mark(
            "Fail back in a maintenance window: a base backup of the recovered server on the old host, "
            "streaming until it has caught up, then a planned switch."
        ),
    ]


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


def _until(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.05)
