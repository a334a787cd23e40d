"""Re-protect: a recovered server that nobody streams from and nobody backs up is the next disaster.

New slot → streamer, seen alive in every repository → first full backup → its first verification.
"""

from __future__ import annotations

import shlex
import time
from datetime import datetime
from pathlib import Path

from psycopg import sql

from pra.drill.record import Event
from pra.errors import PostgresError, PraError
from pra.failover.commands import run_command
from pra.failover.journal import StepDone
from pra.failover.server import put_into_service
from pra.failover.state import Failover, Hands
from pra.model import CheckResult, Status, Verdict
from pra.postgres.connect import postgres_errors
from pra.postgres.replication import read_replication
from pra.procedures import backup, verify
from pra.procedures.context import Context
from pra.procedures.preflight_physical import require
from pra.restored import CheckSet
from pra.settings import Target
from pra.timing import to_iso
from pra.wal.shipping import look_at_stream

NAME = "re-protected"
_EXPECTED = "a streamer, a full backup in every repository, and its verification"
_OP = "re-protect"


class Unprotected(PraError):
    """Not yet: the failover stays open, and red, until it is resumed and gets through."""


def protect(this: Failover, checks: CheckSet, hands: Hands, step: StepDone) -> None:
    """All of it; what is done already is found done.

    Raises:
        Unprotected: Why it is not; the service goes on meanwhile.
    """
    try:
        _configuration(this, step)
        _slot(this)
        _streamer(this, hands, step)
        backup_id, repository = _first_backup(this, step)
        _first_proof(this, checks, backup_id, repository, step)
    except Unprotected:
        raise
    except PraError as error:
        if this.context.scope.closed:
            raise
        raise Unprotected(error.message, op=error.op or _OP, hint=error.hint) from None


def context_of(this: Failover) -> Context:
    """The target at its new address."""
    old = this.context
    target: Target = old.target.model_copy(update={"dsn": this.how.serving})
    return Context(
        old.settings, target, old.scope, clock=old.clock, report=old.report,
        repositories=old.repositories, operator=old.operator,
    )  # fmt: skip


def _configuration(this: Failover, step: StepDone) -> None:
    directory = this.how.directory
    if this.how.standby is not None or directory is None:
        return
    file = Path(directory) / "postgresql.conf"
    if not file.exists():
        return  # configured elsewhere, by whoever wrote failover.start
    if taken := put_into_service(directory):
        step.deviations.append(
            f"Taken out of {file.name}, in force at the next start: {', '.join(sorted(taken))}."
        )


def _slot(this: Failover) -> None:
    """Made at once, so that the server keeps its WAL from now on, whenever the streamer comes."""
    name = this.context.target.slot
    with this.server.connect() as connection, postgres_errors(_OP):
        facts = read_replication(connection, name)
        require(facts)
        if facts.slot is None:
            connection.execute(
                sql.SQL("SELECT pg_create_physical_replication_slot({}, true)").format(sql.Literal(name))
            )


def streamer_command(this: Failover) -> str:
    """What starts the streamer of the recovered server, as it is typed."""
    target = this.context.target
    if this.how.serving == target.dsn:
        return f"pra wal stream {target.name}"
    variable = f"PRA_TARGETS__{target.name.upper().replace('-', '_')}__DSN"
    return f"{variable}={shlex.quote(this.how.serving)} pra wal stream {target.name}"


def _streamer(this: Failover, hands: Hands, step: StepDone) -> None:
    how, began = this.how, this.context.clock()
    if how.streamer is not None:
        run_command(
            this.context.scope, how.streamer, op="start streamer", limit=how.streamer_timeout, env=this.env
        )
    elif not _is_connected(this):
        hands.say(f"Stop the old server's streamer, then start the new one's: {streamer_command(this)}")
        if how.serving != this.context.target.dsn:
            hands.say(f"And for good, set targets.{this.target}.dsn in pra.toml to: {how.serving}")
    deadline = time.monotonic() + how.protect.total_seconds()
    while missing := _waiting_for(this, began):
        if time.monotonic() > deadline or this.context.scope.closed:
            raise Unprotected(
                f"no streamer: {missing}",
                op=_OP,
                hint=f"Start it with: {streamer_command(this)}; then run the failover again with --resume.",
            )
        time.sleep(0.2)
    step.events.append(Event("streamed", this.context.clock(), "the recovered server's WAL is shipped"))


def _waiting_for(this: Failover, began: datetime) -> str:
    """What of a living streamer is not to be seen yet; empty when it streams into every repository."""
    if not _is_connected(this):
        return f"nobody is connected to slot {this.context.target.slot}"
    for name, storage in this.context.repositories.items():
        vouched = look_at_stream(storage, this.target, this.context.clock).vouched
        if vouched is None or vouched < began:
            return f"{name} has not been reached since {to_iso(began)}"
    return ""


def _is_connected(this: Failover) -> bool:
    try:
        with this.server.connect() as connection:
            slot = read_replication(connection, this.context.target.slot).slot
    except PostgresError:
        return False
    return slot is not None and slot.active


def _first_backup(this: Failover, step: StepDone) -> tuple[str, str]:
    """A full one, in every repository. Returns its id and the first repository."""
    work = context_of(this)
    done = backup.run(work, full=True)
    for result in done.repositories:
        if not result.ok:
            raise Unprotected(
                f"{result.name} did not take the backup: {result.error}", op=_OP, hint=result.hint
            )
    step.facts["backup_id"] = done.backup_id
    step.events.append(Event("backed up", this.context.clock(), done.backup_id))
    return done.backup_id, done.repositories[0].name


def _first_proof(this: Failover, checks: CheckSet, backup_id: str, repository: str, step: StepDone) -> None:
    found = verify.run(context_of(this), checks, which=backup_id, repository=repository)
    step.facts |= {"verification": found.evidence, "verdict": found.verdict.value}
    if found.verdict is Verdict.FAIL:
        wrong = [f"{c.name}: {c.observed or c.reason}" for c in found.checks if c.status is Status.FAILED]
        raise Unprotected(f"the first backup failed its verification: {'; '.join(wrong[:3])}", op=_OP)
    status = Status.PASSED if found.verdict is Verdict.PASS else Status.SKIPPED
    observed = (
        f"{backup_id} is in {len(this.context.repositories)} repositories, verified {found.verdict.value}"
    )
    step.checks.append(
        CheckResult(NAME, status, _EXPECTED, observed, "" if status is Status.PASSED else found.evidence)
    )
    step.events.append(Event("protected", this.context.clock(), f"verified {found.verdict.value}"))


def unprotected(reason: str) -> CheckResult:
    """What stands in its place until then."""
    return CheckResult(NAME, Status.SKIPPED, _EXPECTED, "not yet", reason)


__all__ = ["NAME", "Unprotected", "context_of", "protect", "streamer_command", "unprotected"]
