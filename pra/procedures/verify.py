"""Verify: choose → preflight → fetch → restore → start → checks ∥ → evidence → teardown.

A backup that cannot be read, opened or restored is not an error of this procedure: it is its result,
FAIL. Only when nothing could be learned about the backup (no tools, no disk, no repository) there is
no verdict, and an exception says so.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pra import ephemeral
from pra.catalog import Catalog
from pra.engines import logical_restore
from pra.engines.logical_restore import Fetched, Restored
from pra.errors import (
    IntegrityError,
    NotFoundError,
    ObjectMissing,
    PraError,
    RestoreError,
    ToolError,
)
from pra.keys import load_identities
from pra.manifest import Manifest
from pra.model import CheckResult, Status, Verdict, verdict_of
from pra.objectives import Point, longest_gap
from pra.postgres.sandbox import Sandbox, open_sandbox, sandbox_account, sandbox_root
from pra.postgres.tools import SERVER, Tools, find_tools
from pra.procedures.capacity import check_server, check_space
from pra.procedures.context import Context
from pra.restored import CheckSet, RestoredDatabase
from pra.timing import Objective, Phase, Timeline, format_duration, to_iso

PHASES = ("choose", "preflight", "fetch", "restore", "statistics", "checks", "evidence")
EARLIER = 10


@dataclass(frozen=True)
class Choice:
    """One backup in one repository. ``error`` says why its manifest cannot be trusted."""

    repository: str
    backup_id: str
    manifest: Manifest | None
    manifest_sha256: str = ""
    error: PraError | None = None


@dataclass(frozen=True)
class VerifyReport:
    """The outcome of one verification, as recorded in its evidence.

    Attributes:
        rto_seconds: From the start until the restored service answered, statistics included.
        proof_seconds: From the start until every check had passed or failed.
        rpo_seconds: The longest gap from a snapshot to the next publication since the last verification.
    """

    verdict: Verdict
    target: str
    backup_id: str
    repository: str
    rto_seconds: float | None
    proof_seconds: float | None
    rpo_seconds: float | None
    checks: tuple[CheckResult, ...]
    phases: tuple[Phase, ...]
    objectives: tuple[Objective, ...]
    evidence: str = ""
    taken_at: datetime | None = None


def choose(context: Context, which: str, repository: str | None = None) -> Choice:
    """Pick the backup to prove.

    Args:
        which: ``newest``, ``stalest`` (least recently proven) or a backup id.
        repository: Where to read it from; by default the one whose last proof is oldest.

    Raises:
        NotFoundError: There is no such backup. StorageError: The repository does not answer.
    """
    with context.timeline.phase("choose"):
        proofs = context.evidence.proofs()
        name = repository or _stalest_repository(context)
        catalog = context.catalog(name)
        entries = catalog.backups()
        if not entries:
            raise NotFoundError(
                f"{name} holds no backup of {context.target.name}",
                op="choose backup",
                hint="Take one with: pra backup",
            )
        ids = sorted(entry.backup_id for entry in entries)
        if which == "newest":
            chosen = ids[-1]
        elif which == "stalest":
            chosen = min(ids, key=lambda i: (to_iso(proofs[i].at) if i in proofs else "", i))
        elif which in ids:
            chosen = which
        else:
            raise NotFoundError(
                f"{name} holds no backup {which!r} of {context.target.name}",
                op="choose backup",
                hint="List them with: pra backups",
            )
        return _load(catalog, name, chosen)


def _stalest_repository(context: Context) -> str:
    last = context.evidence.last_proof_by_repository()
    return min(context.repositories, key=lambda name: to_iso(last[name]) if name in last else "")


def _load(catalog: Catalog, repository: str, backup_id: str) -> Choice:
    try:
        data = catalog.manifest_bytes(backup_id)
        manifest = catalog.load(backup_id)
    except (IntegrityError, ObjectMissing) as error:
        return Choice(repository, backup_id, None, error=error)
    return Choice(repository, backup_id, manifest, hashlib.sha256(data).hexdigest())


@dataclass
class Session:
    """One verification under way: owns its folder, its sandbox, its clock."""

    context: Context
    choice: Choice
    stack: ExitStack
    work: Path
    durable: bool = False
    started: float = field(default_factory=time.monotonic)
    started_at: datetime | None = None
    tools: Tools | None = None
    identities: list[str] = field(default_factory=list, repr=False)
    fetched: Fetched | None = None
    sandbox: Sandbox | None = None
    database: RestoredDatabase | None = None
    rto_seconds: float | None = None
    failures: list[CheckResult] = field(default_factory=list)

    @property
    def manifest(self) -> Manifest:
        if self.choice.manifest is None:
            raise self.choice.error or IntegrityError("the manifest cannot be read", op="read manifest")
        return self.choice.manifest

    @property
    def timeline(self) -> Timeline:
        return self.context.timeline


@contextmanager
def session(context: Context, choice: Choice) -> Iterator[Session]:
    """Everything a verification makes lives in here and is gone afterwards."""
    root = context.folder("work")
    ephemeral.sweep(root, "verify-")
    with ExitStack() as stack:
        work = stack.enter_context(ephemeral.ephemeral(root, "verify-"))
        yield Session(context, choice, stack, work, started_at=context.clock())


def read_manifest(this: Session) -> None:
    """Raises IntegrityError or ObjectMissing when the manifest is missing, altered or not signed by us."""
    _ = this.manifest


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


def fetch(this: Session) -> None:
    """Bring, verify, decrypt, unpack. Raises IntegrityError, DecryptError, ObjectMissing."""
    with this.timeline.phase("fetch"):
        this.fetched = logical_restore.fetch(
            this.context.storage(this.choice.repository),
            lambda name: this.context.catalog(this.choice.repository).object_key(this.choice.backup_id, name),
            this.manifest,
            this.work,
            identities=this.identities,
            report=this.context.report,
        )


def restore(this: Session) -> None:
    """Restore into the sandbox and rebuild statistics; the RTO clock stops when it answers."""
    assert this.fetched is not None
    assert this.sandbox is not None
    box, manifest = this.sandbox, this.manifest
    with this.timeline.phase("restore"):
        plan = logical_restore.Restore(
            this.fetched,
            manifest,
            box.server,
            box.tools,
            this.context.scope,
            jobs=max(2, this.context.target.jobs),
            report=this.context.report,
        )
        logical_restore.clear_maintenance_databases(box.server, manifest.database)
        plan.apply_globals(in_place_tablespaces=True, existing=frozenset({box.bootstrap_role}))
        restored = plan.load(create=True, network=not box.isolated)
    with this.timeline.phase("statistics"):
        plan.analyze(restored.server)
        logical_restore.first_answer(restored.server)
    this.rto_seconds = time.monotonic() - this.started
    this.database = _describe(this, restored)


def _describe(this: Session, restored: Restored) -> RestoredDatabase:
    assert this.fetched is not None
    assert this.sandbox is not None
    return RestoredDatabase(
        server=restored.server,
        target=this.context.target,
        manifest=this.manifest,
        fingerprint=this.fetched.fingerprint,
        tools=this.sandbox.tools,
        sandboxed=True,
        network=not this.sandbox.isolated,
        scope=this.context.scope,
        work=this.work,
        earlier=_earlier(this),
        unrefreshed=restored.unrefreshed,
        left_out=restored.left_out,
    )


def _earlier(this: Session) -> tuple[Manifest, ...]:
    entries = this.context.catalog(this.choice.repository).backups()
    manifests = [
        entry.manifest
        for entry in entries
        if entry.manifest is not None and entry.manifest.taken_at < this.manifest.taken_at
    ]
    return tuple(sorted(manifests, key=lambda m: m.taken_at, reverse=True)[:EARLIER])


def check_all(this: Session, checks: CheckSet, jobs: int = 2) -> list[CheckResult]:
    """Run every check of the plan, side by side."""
    assert this.database is not None
    database = this.database
    with this.timeline.phase("checks"), ThreadPoolExecutor(jobs, thread_name_prefix="check") as pool:
        futures = [pool.submit(checks.run, name, database) for name in checks.names(database)]
        return [result for future in futures for result in future.result()]


# What these steps raise is knowledge about the backup, hence a verdict.
_VERDICTS: tuple[tuple[type[PraError], str], ...] = (
    (ObjectMissing, "objects"),
    (IntegrityError, "objects"),
    (RestoreError, "restore"),
    (ToolError, "restore"),
)


def finding(error: PraError, step: str) -> CheckResult | None:
    """The failed check that an error of a step amounts to; None when it says nothing about the backup."""
    name = next((name for kind, name in _VERDICTS if isinstance(error, kind)), None)
    if name is None or step == "preflight":
        return None
    return CheckResult(
        "manifest" if step == "manifest" else name,
        Status.FAILED,
        expected="a backup that restores",
        observed=error.message,
        reason=error.hint,
    )


@contextmanager
def learning(this: Session, step: str) -> Iterator[None]:
    """Turn what a step learned about the backup into a finding, then stop the procedure with `Learned`."""
    try:
        yield
    except PraError as error:
        if this.context.scope.closed:
            raise
        result = finding(error, step)
        if result is None:
            raise
        this.failures.append(result)
        raise Learned(result) from None


class Learned(Exception):
    """The verdict is known before the end: what remains is to record it."""

    def __init__(self, result: CheckResult) -> None:
        super().__init__(result.observed)
        self.result = result


def conclude(
    this: Session, results: Sequence[CheckResult], *, required: Sequence[str] = (), kind: str = "verification"
) -> VerifyReport:
    """Judge, and leave the evidence."""
    context = this.context
    proof_seconds = time.monotonic() - this.started if results else None
    rpo = _rpo(context, this.choice.repository)
    objectives = (
        Objective("RTO", context.target.rto.total_seconds(), this.rto_seconds),
        Objective("RPO", context.target.rpo.total_seconds(), rpo),
    )
    everything = [*this.failures, *results]
    if this.rto_seconds is not None:
        everything.append(_rto_check(objectives[0]))
    verdict = verdict_of(everything, required=required)
    report = VerifyReport(
        verdict=verdict,
        target=context.target.name,
        backup_id=this.choice.backup_id,
        repository=this.choice.repository,
        rto_seconds=this.rto_seconds,
        proof_seconds=proof_seconds,
        rpo_seconds=rpo,
        checks=tuple(everything),
        phases=tuple(context.timeline.phases),
        objectives=objectives,
        taken_at=this.choice.manifest.taken_at if this.choice.manifest else None,
    )
    with context.timeline.phase("evidence"):
        record = context.evidence.append(kind, body(report, this))
    return _with_evidence(report, record.key, tuple(context.timeline.phases))


def _with_evidence(report: VerifyReport, key: str, phases: tuple[Phase, ...]) -> VerifyReport:
    return replace(report, evidence=key, phases=phases)


def _rto_check(objective: Objective) -> CheckResult:
    assert objective.seconds is not None
    return CheckResult(
        "rto",
        Status.PASSED if objective.met else Status.FAILED,
        expected=f"at most {format_duration(objective.target_seconds)}",
        observed=f"{format_duration(objective.seconds)} (sandbox)",
    )


def _rpo(context: Context, repository: str) -> float | None:
    """Measured from what the repository holds, so that a broken schedule cannot hide."""
    catalog = context.catalog(repository)
    points = [
        Point(entry.manifest.taken_at, entry.published_at)
        for entry in catalog.backups()
        if entry.manifest is not None and entry.published_at is not None
    ]
    since = context.evidence.last_proof_by_repository().get(repository)
    gap = longest_gap(points, context.clock(), since)
    return None if gap is None else gap.total_seconds()


def body(report: VerifyReport, this: Session) -> dict[str, Any]:
    """What the evidence says: names, counts and times only."""
    return {
        "verdict": report.verdict.value,
        "backup_id": report.backup_id,
        "repository": report.repository,
        "manifest_sha256": this.choice.manifest_sha256,
        "started_at": to_iso(this.started_at) if this.started_at else None,
        "rto_milliseconds": _milliseconds(report.rto_seconds),
        "proof_milliseconds": _milliseconds(report.proof_seconds),
        "rpo_milliseconds": _milliseconds(report.rpo_seconds),
        "environment": "sandbox",
        "postgres": this.tools.version if this.tools else None,
        "checks": [{k: v for k, v in c.as_json().items() if k != "seconds"} for c in report.checks],
        "phases": [{"name": p.name, "milliseconds": _milliseconds(p.seconds)} for p in report.phases],
    }


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def run(
    context: Context, checks: CheckSet, *, which: str = "newest", repository: str | None = None
) -> VerifyReport:
    """Drive the whole procedure in this process.

    Raises:
        PraError: No verdict could be reached: nothing was learned about the backup.
    """
    choice = choose(context, which, repository)
    with session(context, choice) as this:
        results: list[CheckResult] = []
        required: Sequence[str] = ()
        try:
            for step, action in _steps(this):
                with learning(this, step):
                    action()
            assert this.database is not None
            required = checks.required(this.database)
            results = [*checks.ruled_out(this.database), *check_all(this, checks)]
        except Learned:
            pass  # the finding is in this.failures
        return conclude(this, results, required=required)


def _steps(this: Session) -> tuple[tuple[str, Callable[[], None]], ...]:
    return (
        ("manifest", lambda: read_manifest(this)),
        ("preflight", lambda: preflight(this)),
        ("fetch", lambda: fetch(this)),
        ("restore", lambda: restore(this)),
    )
