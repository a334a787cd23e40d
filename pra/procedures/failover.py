"""The failover, for the real day: a lost server is replaced, and what replaces it is protected again.

plan → approve → fence → recover → start → checks → switch → announce → re-protect

Nothing is touched before a second person has agreed, nothing is recovered before the old server is fenced.
Each step's end is a signed record in the target's repositories; an interrupted failover goes on behind the
last one. It is not finished, and not green, before the recovered server is protected again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pra.approval import check_approvers
from pra.drill.record import FAILOVER, DrillRecord, Event, Intervention
from pra.errors import PraError, RestoreError, ToolError, UsageError
from pra.evidence_body import account_and_host
from pra.evidence_record import EvidenceRecord
from pra.failover import conclude as concluding
from pra.failover import journal as journals
from pra.failover import protect as protecting
from pra.failover import reach, recovering
from pra.failover.commands import refuse_if_alive, run_command
from pra.failover.deciding import approve, challenge_now, make_plan, place
from pra.failover.journal import STEPS, Journal
from pra.failover.plan import Order, failover_of
from pra.failover.protect import Unprotected
from pra.failover.recovered import check_serving
from pra.failover.server import await_answer, is_ours
from pra.failover.state import Aborted, Failover, Hands, alone, begin
from pra.model import Status, Verdict
from pra.procedures.context import Context
from pra.restored import CheckSet

__all__ = [
    "PHASES", "Aborted", "ChecksFailed", "FailoverReport", "Order", "Unprotected", "announce", "approve",
    "challenge_now", "check", "conclude", "fence", "make_plan", "open_failover", "protect", "recover", "run",
    "start", "switch",
]  # fmt: skip

PHASES = STEPS


@dataclass(frozen=True)
class FailoverReport:
    """The outcome: the record as it was written, and where. ``finished``: nothing is left to resume."""

    record: DrillRecord
    evidence: EvidenceRecord

    @property
    def verdict(self) -> Verdict | str:
        return self.record.verdict

    @property
    def finished(self) -> bool:
        return bool(self.record.facts["finished"])


class ChecksFailed(PraError):
    """The recovered server answered a question wrongly: whether it serves all the same is for people."""


@contextmanager
def open_failover(context: Context, order: Order) -> Iterator[Failover]:
    """A new failover, or the one that was interrupted; nobody else has it meanwhile.

    Raises:
        UsageError: None is configured; an approver's key signs here; one must be resumed; none can be.
        SettingsError: There is no key to sign the records with.
        BusyError: Another failover of the target is under way.
        IntegrityError: The records of the interrupted one cannot be believed.
    """
    how = failover_of(context)
    _ = context.signer  # what cannot be recorded could not be resumed: better said now
    check_approvers(how.approvers, context.keyring)
    if order.old_is_off not in ("", context.target.name):
        raise _mistyped(order.old_is_off, context.target.name)
    with alone(context):
        yield begin(context, order, journals.resume(context) if order.resume else _fresh(context, order))


def _fresh(context: Context, order: Order) -> Journal:
    """A journal of its own. One that was begun and touched nothing yet is put aside, on record."""
    old = journals.find_unfinished(context)
    if old is not None:
        if "fence" in old.done:
            raise UsageError(
                f"a failover of {context.target.name} was interrupted behind its fence",
                op="failover",
                hint=f"Go on with it: pra failover {context.target.name} --resume",
            )
        conclude(begin(context, order, old), "superseded")
    return journals.new_journal(context)


# -- the old server ------------------------------------------------------------------------------------


def fence(this: Failover, hands: Hands) -> None:
    """See to it that the old server takes no write any more: silence alone is no proof.

    Raises:
        ToolError: The configured command failed. UsageError: Nobody typed that it is off.
        RestoreError: It still answers.
    """
    if this.is_done("fence"):
        return
    how, old = this.how, this.context.server
    with this.step("fence", waiting=how.fence is None) as step:
        if how.fence is not None:
            run_command(
                this.context.scope, how.fence, op="fence old server", limit=how.fence_timeout, env=this.env
            )
            said = "by command"
        else:
            typed = this.order.old_is_off or hands.old_is_off(this.target, old.place)
            if typed.strip() != this.target:
                raise _mistyped(typed, this.target)
            now, who = this.context.clock(), this.context.operator or account_and_host()
            step.interventions.append(Intervention(now, who, f"typed {this.target}", "the old server is off"))
            said = "an operator typed that it is off"
        refuse_if_alive(old, f"although it was fenced ({said})")
        step.events.append(Event("fenced", this.context.clock(), said))


def _mistyped(typed: str, target: str) -> UsageError:
    return UsageError(
        f"{typed.strip()[:40]!r} is not the target's name: nobody said that the old server is off",
        op="fence",
        hint=f"See that it is off, then type {target}, or set failover.fence to a command that makes sure.",
    )


# -- what replaces it ----------------------------------------------------------------------------------


def recover(this: Failover) -> None:
    """Bring the data back into the new directory, or promote the standby.

    Raises:
        RestoreError: The old server answers again. PraError: It cannot be recovered; run it again.
    """
    if this.is_done("recover"):
        return
    assert this.plan is not None
    if this.plan.way == "restore" or this.context.server.place != this.server.place:
        refuse_if_alive(this.context.server, "before anything was recovered")
    this.journal.begin("recover")
    with this.step("recover") as step:
        if this.plan.way == "standby":
            recovering.promote_standby(this, step)
        else:
            recovering.restore(this, step)
        step.events.append(Event("recovered", this.context.clock()))


def start(this: Failover) -> None:
    """Start the recovered server and see that it is the one that answers.

    Raises:
        ToolError, RestoreError: It does not start or answer, or another one does.
    """
    if this.is_done("start"):
        return
    with this.step("start") as step:
        facts = this.journal.facts("recover")
        directory = None if facts.get("promoted") else this.how.directory
        if directory is not None:
            where = place(this, int(facts["major"]))
            if not where.running():
                where.start()
        await_answer(this.server, this.how.start_timeout.total_seconds(), this.context.scope)
        if not is_ours(this.server, str(facts["system_id"]), directory):
            raise RestoreError(
                f"another server answers at {this.server.place}",
                op="start recovered server",
                hint="Correct failover.dsn: it must lead to the server on failover.directory.",
            )
        step.events.append(Event("started", this.context.clock(), f"answers at {this.server.place}"))


def check(this: Failover, checks: CheckSet) -> None:
    """Ask everything of the server that is to serve.

    Raises:
        ChecksFailed: An answer was wrong, and nobody typed the target's name to go on all the same.
    """
    if this.is_done("checks"):
        return
    with this.step("checks") as step:
        results, step.required = check_serving(this, checks)
        wrong = [result for result in results if result.status is Status.FAILED]
        if wrong and this.order.despite_checks != this.target:
            this.halted = results
            raise ChecksFailed(
                f"{len(wrong)} checks failed: {', '.join(result.name for result in wrong)}",
                op="check recovered server",
                hint=f"Look at them. To go on all the same: pra failover {this.target} --resume "
                f"--despite-checks {this.target}",
            )
        step.checks += results
        if wrong:
            now, who = this.context.clock(), this.context.operator or account_and_host()
            step.interventions.append(Intervention(now, who, f"typed {this.target}", "despite failed checks"))
        step.events.append(Event("proven" if not wrong else "answered", this.context.clock()))


# -- the service ---------------------------------------------------------------------------------------


def switch(this: Failover) -> None:
    """Send the applications there. Raises as `pra.failover.reach.switch`."""
    if this.is_done("switch"):
        return
    with this.step("switch") as step:
        reach.switch(this, step)


def announce(this: Failover) -> None:
    """Tell whoever has to know; once, and without stopping for it."""
    if this.is_done("announce"):
        return
    interrupted = "announce" in this.journal.begun
    if this.how.announce is not None and not interrupted:
        this.journal.begin("announce")
    with this.step("announce") as step:
        if this.how.announce is None:
            return
        if interrupted:
            step.deviations.append("The announcement was interrupted: whether it was made is not known.")
            return
        try:
            run_command(
                this.context.scope, this.how.announce, op="announce", limit=this.how.announce_timeout,
                env=this.env,
            )  # fmt: skip
        except ToolError as error:
            step.deviations.append(f"It was not announced: {error.message}.")
        else:
            step.events.append(Event("announced", this.context.clock()))


def protect(this: Failover, checks: CheckSet, hands: Hands) -> None:
    """New slot, streamer, first full backup, its verification.

    Raises:
        Unprotected: Not yet; the failover stays open.
    """
    if this.is_done("re-protect"):
        return
    with this.step("re-protect") as step:
        protecting.protect(this, checks, hands, step)


def conclude(this: Failover, outcome: str = "") -> FailoverReport:
    """Judge, and leave the one record of it all."""
    record = concluding.record(this, outcome)
    return FailoverReport(record, this.context.evidence.append(FAILOVER, record.as_json()))


def run(context: Context, checks: CheckSet, order: Order, hands: Hands) -> FailoverReport:
    """Drive the whole procedure.

    Raises:
        PraError: It stopped; what was finished is recorded, and ``resume`` goes on from there.
    """
    with open_failover(context, order) as this:
        try:
            make_plan(this)
            approve(this, hands)
        except Aborted:
            return conclude(this, "aborted")
        fence(this, hands)
        recover(this)
        start(this)
        try:
            check(this, checks)
            switch(this)
            announce(this)
            protect(this, checks, hands)
        except (ChecksFailed, Unprotected) as error:
            this.open = f"{error.message} {error.hint}".strip()
        return conclude(this)
