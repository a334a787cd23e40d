"""Verify a base backup: plan → preflight → fetch → find cut → recover → compare → roll on → checks → pages.

The exact comparison is made at the cut, near the backup's own end. Then recovery goes on to the target, by
default through all WAL that the repository holds behind this backup: a hole or a damaged segment anywhere on
the way is found as well, and the other questions are asked of the newest state that can be had.
"""

from __future__ import annotations

import time
from dataclasses import replace

from pra import ephemeral
from pra.engines import logical_restore
from pra.engines.recovery_target import LATEST
from pra.errors import IntegrityError, TargetNotReached, UsageError
from pra.keys import load_identities
from pra.model import CheckResult
from pra.postgres.sandbox import PREFIX, sandbox_root, sweep
from pra.postgres.tools import find_tools
from pra.postgres.wal import format_lsn
from pra.procedures import recovered, recovering
from pra.procedures.capacity import check_chain_space, check_server
from pra.procedures.holes import Hole
from pra.procedures.recovering import Planned, Recovery
from pra.procedures.session import Session


def plan(this: Session) -> None:
    """Find chain and WAL in the repository's listing.

    Raises:
        IntegrityError: A parent, a WAL segment or a history is missing.
        UsageError: The target is outside of what can be recovered.
    """
    with this.timeline.phase("plan"):
        planned = recovering.plan_recovery(
            this.context,
            this.choice.repository,
            this.target,
            backup_id=this.choice.backup_id,
            accept_unverified=this.choice.unverified,
        )
        this.rpo_seconds = planned.rpo_seconds
        this.planned = planned
        if planned.hole is Hole.LOST:
            found = planned.plan
            raise IntegrityError(
                f"WAL segment {found.missing} is missing in {found.repository}, before the end of its WAL",
                op="plan recovery",
                hint="Look for gaps with: pra wal check. What came before it can be recovered: "
                f"--to lsn:{format_lsn(found.until)} --exclusive",
            )


def preflight(this: Session) -> None:
    """Find whatever would stop the recovery but says nothing about the backup.

    Raises:
        ToolError: No PostgreSQL of that major here. SpaceError: Too little disk.
        DecryptError: No identity at all.
    """
    planned = _planned(this)
    with this.timeline.phase("preflight"):
        manifest, settings = this.manifest, this.context.settings
        if manifest.encryption == "age":
            this.identities = load_identities(settings.encryption, this.context.state_dir)
        major = manifest.server.version_num // 10000
        combine = ("pg_combinebackup",) if len(planned.chain) > 1 else ()
        this.tools = find_tools(major, settings.postgres.bindir, needs=(*recovering.PROGRAMS, *combine))
        root = sandbox_root(settings.sandbox.dir, this.context.state_dir)
        sweep(root)
        home = this.stack.enter_context(ephemeral.ephemeral(root, PREFIX))
        check_chain_space(planned.chain, home)
        home.chmod(0o711)  # the server's account has to get to its data
        this.recovery = Recovery(this, planned, home / "data", durable=this.durable)


def _planned(this: Session) -> Planned:
    assert this.planned is not None
    return this.planned


def _recovery(this: Session) -> Recovery:
    assert this.recovery is not None
    return this.recovery


def fetch(this: Session) -> None:
    """Bring the chain and make one data directory of it. Raises as `recovering.fetch`."""
    recovering.fetch(_recovery(this))


def recover(this: Session) -> None:
    """Find the cut, and recover up to there.

    Raises:
        IntegrityError: A WAL segment is damaged. RestoreError: The server did not start or get there.
        UsageError: An extension or ICU is missing here.
    """
    recovery = _recovery(this)
    this.stack.enter_context(recovering.open_server(recovery))
    recovering.recover_to_cut(recovery)


def compare(this: Session) -> None:
    """Read every table at the cut."""
    recovering.compare_at_cut(_recovery(this))


def roll_on(this: Session) -> None:
    """Recover up to the target and promote; the RTO clock stops when the server answers.

    Raises:
        UsageError: All of the WAL was replayed, and the target is not in it: that is no fault of the backup.
        RestoreError, IntegrityError: WAL is damaged. UsageError: As `check_server`.
    """
    recovery = _recovery(this)
    try:
        recovering.roll_on(recovery)
    except TargetNotReached as error:
        _demand_the_end(recovery)
        raise UsageError(error.message, op=error.op, hint=error.hint) from None
    check_server(recovery.database, this.manifest)
    logical_restore.first_answer(recovery.database)
    this.rto_seconds = time.monotonic() - this.started - recovery.compared_seconds
    this.database = recovered.describe(recovery)


def _demand_the_end(this: Recovery) -> None:
    """Recover once more, to the end of the WAL: it may have ended early because it is damaged.

    Raises:
        RestoreError, IntegrityError: It is.
    """
    planned = this.planned
    recovering.roll_on(replace(this, planned=replace(planned, plan=replace(planned.plan, target=LATEST))))


def check_pages(this: Session) -> CheckResult:
    """Stop the server and read every page; nothing can be asked of it afterwards."""
    return recovered.check_pages(_recovery(this))
