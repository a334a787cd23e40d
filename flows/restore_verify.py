"""Restore-verify: choose → preflight → fetch → restore → checks side by side → evidence; then the next.

A base backup: choose → plan → preflight → fetch → recover → compare → roll on → checks → pages → evidence.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from tasks import recover as step
from tasks import report, work
from tasks.recover import Proof
from tasks.report import Ended

# The titles are what the form shows on its two tabs.
Which = Annotated[Literal["newest and stalest", "newest", "stalest"], Field(title="choice")]
BackupId = Annotated[str, Field(title="backup id")]

THREADS: Any = ThreadPoolTaskRunner(max_workers=step.AT_ONCE)


@flow(
    name="restore-verify",
    flow_run_name="{target}",
    task_runner=THREADS,
    persist_result=False,
    **report.HOOKS,
)
def restore_verify(
    target: str, backup: Which | BackupId = "newest and stalest", repository: str = "", to: str = ""
) -> Ended:
    """Restore backups into a throwaway server, run every check, time it, and sign the proof.

    Ends as Completed when all is proven, Partial when a question was not answered, Fail when one was
    answered wrongly or the backup could not be restored.

    Args:
        target: The database: a name below [targets] in pra.toml.
        backup: Which backup to prove: the newest, the stalest (least recently proven), both in turn, or the
            id of one backup.
        repository: Read from this repository only. Left empty: the one whose last proof is oldest, which
            alternates between them.
        to: Base backups only: where recovery ends, once everything was compared. A time (UTC unless it says
            otherwise), lsn:…, xid:…, name:… or latest. Left empty: the end of what is archived.
    """
    if newer := report.overtaken():
        return report.skipped(newer)
    proofs: list[Proof] = []
    until = step.target_of(to)
    try:
        for which in step.turns(backup):
            with work.work_on(target) as this:
                choice = step.choose.submit(this, which, repository or None, until).result()
                if step.is_among(choice, proofs):
                    continue
                report.name_run(target, *step.backups(choice, proofs))
                proofs.append(prove(this, choice, until))
    finally:
        report.show_proofs(target, proofs)
    return report.proofs_ended(proofs)


def prove(this: work.Work, choice: step.Chosen, until: step.Until) -> Proof:
    """Restore one backup and ask every question; whatever a step learns about the backup is the verdict."""
    with step.restoring(this, choice, until) as restore:
        questions, results = step.NO_QUESTIONS, step.NO_RESULTS
        with step.findings():
            step.attempt(step.read_manifest, restore)
            if physical := step.is_physical(restore):
                recover(restore)
            else:
                step.attempt(step.preflight, restore)
                step.attempt(step.fetch, restore)
                step.attempt(step.restore, restore)
            questions = step.plan_checks(restore)
            results = step.run_checks(restore, questions)
            if physical:
                results = step.check_pages(restore, results)
        return step.conclude.submit(restore, results, questions.required).result().held


def recover(restore: step.Restore) -> None:
    """A base backup: recovered to where it can be compared exactly, then on to the target."""
    step.attempt(step.plan_recovery, restore)
    step.attempt(step.make_ready, restore)
    step.attempt(step.fetch_chain, restore)
    step.attempt(step.recover, restore)
    step.attempt(step.compare, restore)
    step.attempt(step.roll_on, restore)
