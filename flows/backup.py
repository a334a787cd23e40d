"""Backup: preflight → take → publish to every repository beside it → catch up → expire."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from tasks import backup as step
from tasks import report, work
from tasks.report import Ended

THREADS: Any = ThreadPoolTaskRunner()


@flow(
    name="backup",
    flow_run_name="{target}",
    task_runner=THREADS,
    persist_result=False,
    **report.HOOKS,
)
def backup(target: str, accept_new_server: bool = False, full: bool = False) -> Ended:
    """Take a backup of one database and publish it to all of its repositories.

    Ends as Completed when every repository holds it, Partial when some do, Fail when none does.

    Args:
        target: The database: a name below [targets] in pra.toml.
        accept_new_server: The server was rebuilt or restored on purpose, and may differ from the one that
            earlier backups came from.
        full: Take a full backup where the physical engine would take an incremental one.
    """
    if newer := report.overtaken():
        return report.skipped(newer)
    with work.work_on(target) as this, work.exclusive(this):
        ready = step.preflight.submit(this, accept_new_server, full).result()
        with work.hand_over(this) as spool:
            taking = step.take.submit(this, ready, spool)
            publishing = [step.publish.submit(this, spool, name) for name in step.repositories(this)]
            taking.wait()
            refused = step.refused_everywhere(spool)
        outcome = step.Outcome([each.result(raise_on_failure=False).held for each in publishing])
        if refused:
            return report.backup_refused(outcome)
        manifest = taking.result()
        report.name_run(target, manifest.held.backup_id)
        for repository in outcome.arrived:
            with step.tolerating(this, outcome, "catch up", repository):
                outcome.caught_up += step.catch_up.submit(this, repository).result()
            with step.tolerating(this, outcome, "expire", repository):
                outcome.expired += step.expire.submit(this, repository).result()
        done = step.describe(this, manifest, ready, outcome)
        report.show_backup(this, done)
        return report.backup_ended(done)
