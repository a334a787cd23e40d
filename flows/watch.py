"""Watching: a status pass every five minutes, a scrub every night."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from tasks import report
from tasks import watch as step
from tasks.report import Ended

THREADS: Any = ThreadPoolTaskRunner(max_workers=step.AT_ONCE)


@flow(name="status", task_runner=THREADS, persist_result=False, **step.HOOKS)
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
