"""The load test: prepare → backup → restore → original → load → api → integrity → report."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from tasks import loadtest as step
from tasks import report, work
from tasks.report import Ended

Rounds = Annotated[int, Field(ge=1, le=20)]
Clients = Annotated[int, Field(ge=1, le=64)]
Seconds = Annotated[int, Field(ge=1, le=3600)]

THREADS: Any = ThreadPoolTaskRunner(max_workers=2)


@flow(name="load-test", flow_run_name="{target}", task_runner=THREADS, persist_result=False, **report.HOOKS)
def load_test(
    target: str,
    rounds: Rounds = 3,
    clients: Clients = 4,
    seconds: Seconds = 15,
    backup: bool = True,
    repository: str = "",
) -> Ended:
    """Time backups and restores, put load on the restored database, and say whether it is as fast as before.

    Backups go to a folder of their own, never to the real repositories. Ends as Completed when everything is
    inside the objectives and no query is slow, Partial when a question was not answered, Fail when one was
    answered wrongly.

    Args:
        target: The database: a name below [targets] in pra.toml.
        rounds: How often a backup is taken, and a restore made with each kind of settings. Each is timed.
        clients: How many sessions work at once, on the database and on the application.
        seconds: How long each load lasts.
        backup: Read the source, for backups and for a copy to compare with. Switched off, it is left
            alone, and earlier figures of the same hardware are compared with.
        repository: Where the backup is restored from. Left empty: the target's first.
    """
    with (
        work.work_on(target) as this,
        step.shown(target) as shown,
        step.testing(this, rounds, clients, seconds, backup, repository) as tested,
    ):
        step.prepare.submit(tested).result()
        for phase in (step.backup, step.restore, step.original, step.load, step.api, step.integrity):
            step.carry_out(phase, tested)
        done = step.conclude.submit(tested).result()
        shown.append(done.held)
    return step.ended(done.held)
