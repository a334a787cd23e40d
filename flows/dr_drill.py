"""The full DR drill: prepare → baseline → inject → detect → approve → recover → switch → checks → report."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from tasks import drill as step
from tasks import report, work
from tasks.report import Ended

Scenario = Annotated[
    Literal["database-down", "data-corruption", "intrusion", "data-loss", "site-loss", "bad-backup"],
    Field(title="scenario"),
]
Intensity = Annotated[Literal["heavy", "light"], Field(title="intensity")]

THREADS: Any = ThreadPoolTaskRunner(max_workers=2)


@flow(
    name="dr-drill",
    flow_run_name="{target} {scenario}",
    task_runner=THREADS,
    persist_result=False,
    **report.HOOKS,
)
def dr_drill(
    target: str,
    scenario: Scenario = "database-down",
    intensity: Intensity = "heavy",
    backup: str = "newest",
    repository: str = "",
    approval: bool = True,
    approval_minutes: int = 60,
) -> Ended:
    """Rehearse a disaster on a server made from a backup: break it, notice it, recover it, time it, prove it.

    Production is never touched: the rehearsed server, its repositories and keys live in one folder that is
    gone at the end. Ends as Completed when everything was back in time and proven, Partial when a question
    was not answered, Fail when one was answered wrongly, Aborted when the approver said no.

    Args:
        target: The database: a name below [targets] in pra.toml, with engine = "physical".
        scenario: What goes wrong. database-down: killed, and does not start again. data-corruption: wrong
            values, and damaged pages. intrusion: an unknown superuser. data-loss: a table is dropped.
            site-loss: only the offsite copy and the recovery sheet are left. bad-backup: the newest backup is
            rotten.
        intensity: heavy recovers the whole server; light mends the live one where the runbook does.
        backup: What the rehearsed server is made from: newest, or the id of a backup.
        repository: Where that backup is read. Left empty: the target's first repository that has it.
        approval: Pause before the recovery until somebody answers in this interface.
        approval_minutes: How long to wait for that answer; then the drill is aborted.
    """
    with (
        work.work_on(target) as this,
        report.drill_shown(target) as shown,
        step.rehearsing(this, scenario, intensity, backup, repository) as rehearsed,
    ):
        step.carry_out(step.prepare, rehearsed)
        step.carry_out(step.baseline, rehearsed)
        with step.answers() as settled:
            step.carry_out(step.inject, rehearsed)
            step.carry_out(step.detect, rehearsed)
            step.approve(rehearsed, asked=approval, minutes=approval_minutes)
            step.carry_out(step.recover, rehearsed)
            step.carry_out(step.switch, rehearsed)
            step.carry_out(step.check, rehearsed)
        done = step.conclude.submit(rehearsed, settled).result()
        shown.append(done.held)
    return report.drill_ended(done.held)
