"""A verification or restore under way: which backup, what it owns, and what its steps learn."""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pra import ephemeral
from pra.catalog import Catalog
from pra.disk import disk_errors
from pra.engines import fetching
from pra.engines.fetching import Fetched
from pra.engines.logical_restore import Restored
from pra.engines.recovery_target import LATEST, RecoveryTarget
from pra.errors import (
    IntegrityError,
    NotFoundError,
    ObjectMissing,
    PraError,
    RestoreError,
    SignatureError,
    StorageError,
    ToolError,
)
from pra.layout import object_key
from pra.leases import hold
from pra.listing import unread
from pra.manifest import Manifest
from pra.model import CheckResult, Status
from pra.postgres.sandbox import Sandbox
from pra.postgres.tools import Tools
from pra.procedures.context import Context, sweep_state
from pra.restored import CheckSet, RestoredDatabase
from pra.timing import Timeline, to_iso

if TYPE_CHECKING:
    from pra.procedures.recovering import Planned, Recovery

EARLIER = 10
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """One backup in one repository.

    Attributes:
        error: Why its manifest cannot be trusted.
        unverified: An operator accepted it all the same; ``error`` stays.
    """

    repository: str
    backup_id: str
    manifest: Manifest | None
    manifest_sha256: str = ""
    error: PraError | None = None
    unverified: bool = False


def accept_unverified(context: Context, choice: Choice) -> Choice:
    """The same backup, its signature set aside because an operator said so; recorded by `conclude`.

    Raises:
        IntegrityError: More is wrong with the manifest than its signature.
    """
    if not isinstance(choice.error, SignatureError):
        return choice
    catalog = context.catalog(choice.repository)
    data = catalog.manifest_bytes(choice.backup_id)
    manifest = catalog.load(choice.backup_id, accept_unverified=True)
    sha256 = hashlib.sha256(data).hexdigest()
    return replace(choice, manifest=manifest, manifest_sha256=sha256, unverified=True)


def choose(context: Context, which: str, repository: str | None = None) -> Choice:
    """Pick the backup to prove.

    Args:
        which: ``newest``, ``stalest`` (least recently proven) or a backup id.
        repository: Where to read it from; by default the one whose last proof is oldest.

    Raises:
        NotFoundError: There is no such backup. StorageError: The repository does not answer.
    """
    with context.timeline.phase("choose"):
        name = repository or stalest_repository(context)
        proofs = context.evidence.proofs(name)
        catalog = context.catalog(name)
        entries = catalog.backups()
        if not entries:
            raise NotFoundError(
                f"{name} holds no backup of {context.target.name}",
                op="choose backup",
                hint="Take one with: pra backup",
            )
        for error in unread(entries):
            _log.warning("%s", error.message)  # the chosen one is read again
        ids = sorted(entry.backup_id for entry in entries)
        if which == "newest":
            # By the server's clock: an id made while ours ran ahead must not stay the newest.
            chosen = max(entries, key=lambda entry: (entry.taken_at, entry.backup_id)).backup_id
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


def stalest_repository(context: Context) -> str:
    """The one whose last proof is oldest."""

    def last(name: str) -> str:
        moment = context.last_proof(name)
        return "" if moment is None else to_iso(moment)

    return min(context.repositories, key=last)


def _load(catalog: Catalog, repository: str, backup_id: str) -> Choice:
    try:
        data = catalog.manifest_bytes(backup_id)
        manifest = catalog.load(backup_id)
    except (IntegrityError, ObjectMissing) as error:
        return Choice(repository, backup_id, None, error=error)
    return Choice(repository, backup_id, manifest, hashlib.sha256(data).hexdigest())


@dataclass
class Session:
    """One verification under way: owns its folder, its sandbox, its clock.

    Attributes:
        target: Where a base backup's recovery is to end.
        planned, recovery: How a base backup comes back; None for a logical one.
        rpo_seconds: Measured for this recovery; None where the record of backups has to tell.
    """

    context: Context
    choice: Choice
    stack: ExitStack
    work: Path
    durable: bool = False
    kind: str = "verification"
    target: RecoveryTarget = LATEST
    started: float = field(default_factory=time.monotonic)
    started_at: datetime | None = None
    tools: Tools | None = None
    identities: list[str] = field(default_factory=list, repr=False)
    fetched: Fetched | None = None
    sandbox: Sandbox | None = None
    planned: Planned | None = None
    recovery: Recovery | None = None
    database: RestoredDatabase | None = None
    rto_seconds: float | None = None
    rpo_seconds: float | None = None
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
def open_session(
    context: Context, choice: Choice, *, kind: str = "verification", target: RecoveryTarget = LATEST
) -> Iterator[Session]:
    """Everything a verification makes lives in here and is gone afterwards."""
    _ = context.signer  # a verdict that cannot be signed is none: better said now than at the end
    sweep_state(context)
    storage = context.storage(choice.repository)
    with ExitStack() as stack:
        # Nobody may expire what is being read.
        parents = choice.manifest.parents if choice.manifest is not None else ()
        covers = [choice.backup_id, *parents]
        covered = hold(storage, context.target.name, "verify", context.clock, covers=covers)
        try:
            stack.enter_context(covered)
        except StorageError as error:
            if kind != "restore":
                raise
            # In an incident a repository may be all that is left, and read-only: reading it is what counts.
            _log.warning("nothing keeps %s from expiring meanwhile: %s", choice.backup_id, error.message)
        with disk_errors("make work folder", context.state_dir):
            work = stack.enter_context(ephemeral.ephemeral(context.folder("work"), "verify-"))
        yield Session(context, choice, stack, work, kind=kind, target=target, started_at=context.clock())


def read_manifest(this: Session) -> None:
    """Raises IntegrityError or ObjectMissing when the manifest is missing, altered or not signed by us."""
    _ = this.manifest


def fetch(this: Session) -> None:
    """Bring, verify, decrypt, unpack. Raises IntegrityError, DecryptError, ObjectMissing."""
    with this.timeline.phase("fetch"), disk_errors("fetch backup", this.work):
        folder = this.work / "fetched"
        if folder.exists():
            shutil.rmtree(folder)  # a try before this one ended half-way
        folder.mkdir(mode=0o700)
        this.fetched = fetching.fetch(
            this.context.storage(this.choice.repository),
            lambda name: object_key(this.context.target.name, this.choice.backup_id, name),
            this.manifest,
            folder,
            scope=this.context.scope,
            identities=this.identities,
            report=this.context.report,
        )


def describe(this: Session, restored: Restored, *, sandboxed: bool = True) -> RestoredDatabase:
    assert this.fetched is not None
    assert this.tools is not None
    isolated = this.sandbox is not None and this.sandbox.isolated
    return RestoredDatabase(
        server=restored.server,
        target=this.context.target,
        manifest=this.manifest,
        fingerprint=this.fetched.fingerprint,
        tools=this.tools,
        sandboxed=sandboxed,
        network=not isolated,
        scope=this.context.scope,
        work=this.work,
        earlier=earlier(this),
        unrefreshed=restored.unrefreshed,
        left_out=restored.left_out,
    )


def earlier(this: Session) -> tuple[Manifest, ...]:
    """Manifests before this one, newest first."""
    entries = this.context.catalog(this.choice.repository).backups()
    for error in unread(entries):
        raise error  # continuity judged without what could not be read would be a guess
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
        try:
            return [result for future in futures for result in future.result()]
        except BaseException as error:
            for future in futures:
                future.cancel()
            if not isinstance(error, Exception):
                # A signal: leaving the pool joins its threads, and those wait for the tools.
                this.context.scope.close()
            raise


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
    if name is None or step == "preflight" or _is_full_disk(error):
        return None
    return CheckResult(
        "manifest" if step == "manifest" else name,
        Status.FAILED,
        expected="a backup that restores",
        observed=error.message,
        reason=error.hint,
    )


def _is_full_disk(error: PraError) -> bool:
    return isinstance(error, ToolError) and "No space left" in f"{error.message} {error.stderr}"


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
