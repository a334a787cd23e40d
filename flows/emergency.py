"""The real day: ``failover`` replaces a lost server, the guarded ``restore`` puts one beside it."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from tasks import emergency as step
from tasks import report, work
from tasks import restore as restoring
from tasks.report import Ended
from tasks.step import Handle

THREADS: Any = ThreadPoolTaskRunner(max_workers=2)


@flow(name="failover", flow_run_name="{target}", task_runner=THREADS, persist_result=False, **report.HOOKS)
def failover(
    target: str,
    moment: str = "latest",
    backup: str = "",
    repository: str = "",
    disaster_at: str = "",
    resume: bool = False,
) -> Ended:
    """Replace a lost server: plan, approve, fence, recover, check, switch, announce, protect again.

    Nothing is touched before an approver has signed the challenge that the run shows while it is paused, with
    a key of his own: pra approve and the run's id. Ends as Completed once the recovered server is protected
    again; until then Partial, and it goes on with resume. Aborted when the answer was no.

    Args:
        target: The database that was lost: a name below [targets] in pra.toml with a [failover] section.
        moment: Where recovery ends: latest, a time in UTC, name:RESTORE-POINT, lsn:… or xid:….
        backup: Start from this backup and no other. Left empty: the newest that leads there.
        repository: Read it from here and nowhere else. Left empty: where least is lost.
        disaster_at: When the service was lost (UTC); RTO and RPO count from it. Left empty: now.
        resume: Go on with the failover that was interrupted, wherever it ran.
    """
    with (
        work.work_on(target) as this,
        report.drill_shown(target) as shown,
        step.failing_over(
            this, moment=moment, backup=backup, repository=repository, disaster_at=disaster_at, resume=resume
        ) as under_way,
    ):
        step.carry_out(step.plan, under_way)
        outcome = ""
        try:
            step.approve(under_way)
        except step.Aborted:
            outcome = "aborted"
        if not outcome:
            step.fence(under_way)
            step.carry_out(step.recover, under_way)
            step.carry_out(step.start, under_way)
            with step.until_halted(under_way):
                step.carry_out(step.check, under_way)
                step.carry_out(step.switch, under_way)
                step.carry_out(step.announce, under_way)
                step.carry_out(step.protect, under_way)
        done = step.conclude.submit(under_way, outcome).result()
        shown.append(done.held)
    return report.drill_ended(done.held)


@flow(name="restore", flow_run_name="{target}", task_runner=THREADS, persist_result=False, **report.HOOKS)
def restore(target: str, into: str, repository: str = "", choose_minutes: int = 60) -> Ended:
    """Restore into a new folder on the worker's machine, beside everything that is there.

    The run pauses and offers the moments there are. Nothing that exists is ever written over: a folder that
    is not empty is refused, and so is a database. Ends as Completed, Partial or Fail, as its checks say.

    Args:
        target: Whose backup: a name below [targets] in pra.toml.
        into: The new folder, an absolute path on the worker's machine; does not exist yet, or is empty.
        repository: Read it from here and nowhere else. Left empty: the first that leads there.
        choose_minutes: How long to wait for the choice.
    """
    with work.work_on(target) as this:
        destination = restoring.place_of(this, into)
        chosen = restoring.choose(this, repository, minutes=choose_minutes)
        done = restoring.restore.submit(this, repository, chosen, Handle(destination)).result()
    report.show_proofs(target, [done.held], kind="restore")
    return report.proofs_ended([done.held])
