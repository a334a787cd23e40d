"""Verify: choose → preflight → fetch → restore → start → checks ∥ → evidence → teardown.

This is the way of a logical backup; that of a base backup is in `pra.procedures.physical_verify`.

A backup that cannot be read, opened or restored is not an error of this procedure: it is its result,
FAIL. Only when nothing could be learned about the backup (no tools, no disk, no repository) there is
no verdict, and an exception says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from pra.engines import logical_restore
from pra.engines.recovery_target import LATEST, RecoveryTarget
from pra.errors import UsageError
from pra.keys import load_identities
from pra.model import CheckResult
from pra.postgres.sandbox import open_sandbox, sandbox_account, sandbox_root
from pra.postgres.tools import SERVER, find_tools
from pra.procedures import physical_verify, session
from pra.procedures.capacity import check_server, check_space
from pra.procedures.context import Context
from pra.procedures.judging import VerifyReport, conclude
from pra.procedures.recovered import PAGES
from pra.procedures.recovering import choice_of, plan_recovery
from pra.procedures.session import (
    Choice,
    Learned,
    Session,
    check_all,
    describe,
    fetch,
    learning,
    open_session,
    read_manifest,
)
from pra.restored import CheckSet


def preflight(this: Session) -> None:
    """Start the sandbox, and find whatever would stop the restore but says nothing about the backup.

    Raises:
        ToolError: No PostgreSQL of that major here. SpaceError: Too little disk.
        DecryptError: No identity at all. UsageError: An extension or ICU is missing here.
    """
    with this.timeline.phase("preflight"):
        manifest = this.manifest
        settings = this.context.settings
        if manifest.encryption == "age":
            this.identities = load_identities(settings.encryption, this.context.state_dir)
        major = manifest.server.version_num // 10000
        this.tools = find_tools(major, settings.postgres.bindir, needs=SERVER)
        root = sandbox_root(settings.sandbox.dir, this.context.state_dir)
        check_space(manifest, work=this.work, data=root)
        this.sandbox = this.stack.enter_context(
            open_sandbox(
                this.context.scope,
                this.tools,
                manifest.server,
                root=root,
                account=sandbox_account(settings.sandbox.account),
                durable=this.durable,
            )
        )
        check_server(this.sandbox.server, manifest)


def restore(this: Session) -> None:
    """Restore into the sandbox and rebuild statistics; the RTO clock stops when it answers."""
    assert this.fetched is not None
    assert this.sandbox is not None
    box, manifest = this.sandbox, this.manifest
    with this.timeline.phase("restore"):
        plan = logical_restore.Restore(
            this.fetched,
            manifest,
            logical_restore.make_room(box.server, manifest.database),
            box.tools,
            this.context.scope,
            jobs=max(2, this.context.target.jobs),
            report=this.context.report,
        )
        plan.apply_globals(in_place_tablespaces=True, existing=frozenset({box.bootstrap_role}))
        restored = plan.load(create=True, network=not box.isolated)
    with this.timeline.phase("statistics"):
        plan.analyze(restored.server)
        logical_restore.first_answer(restored.server)
    this.rto_seconds = time.monotonic() - this.started
    this.database = describe(this, restored)


def choose(
    context: Context, which: str, repository: str | None = None, target: RecoveryTarget = LATEST
) -> Choice:
    """As `session.choose`; with a target, ``newest`` is the newest base backup that lies before it.

    Raises:
        NotFoundError, StorageError: As there. UsageError: No backup lies before the target.
    """
    if target == LATEST or which != "newest":
        return session.choose(context, which, repository)
    with context.timeline.phase("choose"):
        name = repository or session.stalest_repository(context)
        return choice_of(plan_recovery(context, name, target), context, name)


def is_physical(this: Session) -> bool:
    """Whether it is a base backup, which goes its own way from here.

    Raises:
        UsageError: It is not, and a target was asked for.
    """
    physical = this.manifest.physical is not None
    if not physical and this.target != LATEST:
        raise UsageError(
            f"{this.choice.backup_id} is a logical backup, which holds one moment only",
            op="plan recovery",
            hint="Leave --to out, or name a base backup: pra backups",
        )
    return physical


def run(
    context: Context,
    checks: CheckSet,
    *,
    which: str = "newest",
    repository: str | None = None,
    target: RecoveryTarget = LATEST,
) -> VerifyReport:
    """Drive the whole procedure in this process.

    Args:
        target: Where a base backup's recovery ends, after everything was compared at the cut.

    Raises:
        PraError: No verdict could be reached: nothing was learned about the backup.
    """
    choice = choose(context, which, repository, target)
    with open_session(context, choice, target=target) as this:
        results: list[CheckResult] = []
        required: Sequence[str] = ()
        try:
            for step, action in _steps(this):
                with learning(this, step):
                    action(this)
            assert this.database is not None
            required = required_of(this, checks)
            results = [*checks.ruled_out(this.database), *check_all(this, checks)]
            if this.recovery is not None:
                results.append(physical_verify.check_pages(this))
        except Learned:
            pass  # the finding is in this.failures
        return conclude(this, results, required=required)


def required_of(this: Session, checks: CheckSet) -> Sequence[str]:
    """Results without which no verdict can be PASS."""
    assert this.database is not None
    return (*checks.required(this.database), *((PAGES,) if this.recovery is not None else ()))


def _steps(this: Session) -> Iterator[tuple[str, Callable[[Session], None]]]:
    yield "manifest", read_manifest
    if is_physical(this):
        yield "plan", physical_verify.plan
        yield "preflight", physical_verify.preflight
        yield "fetch", physical_verify.fetch
        yield "recover", physical_verify.recover
        yield "compare", physical_verify.compare
        yield "roll on", physical_verify.roll_on
    else:
        yield "preflight", preflight
        yield "fetch", fetch
        yield "restore", restore
