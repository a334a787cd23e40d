"""Watching: a status pass every five minutes, a scrub every night."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from tasks import report, work
from tasks import watch as step
from tasks.report import Ended

THREADS: Any = ThreadPoolTaskRunner(max_workers=step.AT_ONCE)


@flow(
    name="status", flow_run_name=report.moment_name, task_runner=THREADS, persist_result=False, **step.HOOKS
)
def status() -> Ended:
    """Look at everything: databases, backups, proofs, WAL, the schedule, disks, keys, the application.

    All targets of pra.toml in one run. Ends as Completed when all is well, Warning when something is late or
    could not be looked at, Critical when somebody must act now.
    """
    if newer := report.overtaken():
        return report.skipped(newer)
    with step.looking() as this:
        asked = [step.ask.submit(name, question) for name, question in step.probes(this)]
        done = step.gathered(this, asked)
        step.record.submit(this, done).result()
        return step.ended(this, done)


@flow(name="scrub", flow_run_name="{target}", task_runner=THREADS, persist_result=False, **report.HOOKS)
def scrub(target: str, sample: int = 0, everything: bool = False) -> Ended:
    """Read stored objects and WAL again, the oldest check first, and compare them with what was signed.

    By default a day's share, so that everything is read within a month. Ends as Completed when all is as it
    was published, Partial when something could not be read, Fail when bytes are damaged.

    Args:
        target: The database: a name below [targets] in pra.toml.
        sample: So many objects of each repository. 0: a day's share.
        everything: Every stored object; takes as long as reading all of them does.
    """
    if newer := report.overtaken():
        return report.skipped(newer)
    with work.work_on(target) as this:
        read = [step.reread.submit(this, name, sample, everything) for name in step.repositories(this)]
        return step.scrub_ended(step.conclude.submit(this, step.all_of(read)).result())
