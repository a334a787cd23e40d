"""How the data come back: restored from a backup and its WAL, or by promoting a standby."""

from __future__ import annotations

from pra.failover.journal import StepDone
from pra.failover.plan import serving_standby
from pra.failover.recovered import newest_backup, remember
from pra.failover.standby import promote
from pra.failover.state import Failover
from pra.model import CheckResult, Status
from pra.postgres.wal import format_lsn
from pra.procedures.bring_back import Wanted, bring_back
from pra.timing import to_iso


def restore(this: Failover, step: StepDone) -> None:
    """Into the new directory, from the approved backup or, where that is damaged, the one before."""
    plan, order, how = this.plan, this.order, this.how
    assert plan is not None
    assert how.directory is not None
    wanted = Wanted(
        plan.repositories,
        order.moment,
        order.backup_id,
        disaster_at=this.disaster_at,
        tablespaces=how.tablespaces,
    )
    with bring_back(this.context, wanted, how.directory) as brought:
        step.facts |= remember(this, brought)
    for line in brought.passed_over:
        step.deviations.append(f"Passed over: {line}.")
    if step.facts["backup_id"] != plan.backup_id:
        step.deviations.append(f"{plan.backup_id} was approved, {step.facts['backup_id']} was used.")


def promote_standby(this: Failover, step: StepDone) -> None:
    """Make the standby the primary. The newest backup is named beside it, for what has to be there.

    Raises:
        RestoreError: It was not promoted in time. NotFoundError: No backup can be read.
    """
    scope = this.context.scope
    repository, manifest, sha256 = newest_backup(this.context)
    done = promote(serving_standby(this.context, this.how), this.how.promote_timeout, lambda: scope.closed)
    if done.already:
        step.deviations.append("The standby had been promoted before this step began.")
    before = int(this.journal.facts("plan")["outlook"]["timeline"])
    observed = f"timeline {before} → {done.timeline}, at {format_lsn(done.reached)}"
    status = Status.PASSED if done.timeline > before else Status.FAILED
    step.checks.append(CheckResult("promotion", status, "a timeline of its own", observed))
    step.facts |= {
        "promoted": True,
        "backup_id": manifest.backup_id,
        "repository": repository,
        "manifest_sha256": sha256,
        "system_id": manifest.server.system_identifier,
        "major": manifest.server.version_num // 10000,
        "timeline": done.timeline,
        "reached": done.reached,
        "last_commit": to_iso(done.last_commit) if done.last_commit else None,
        "moment": "latest", "inclusive": True, "uncompared": "", "damaged": "", "observed_sha256": "",
        "databases": [], "missing": "", "streamed": True, "expired": False,
    }  # fmt: skip
