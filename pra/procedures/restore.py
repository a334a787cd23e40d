"""Restore for real: plan → preflight → fetch → restore → statistics → checks → evidence.

The same checks and the same evidence as a verification. A data directory is built beside its final name
and renamed once it is whole; a database is restored into only while it is empty.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pra import ephemeral
from pra.engines import logical_restore
from pra.engines.logical_restore import Restored
from pra.errors import PraError, RestoreError
from pra.keys import load_identities
from pra.manifest import Manifest
from pra.model import CheckResult, Status
from pra.postgres.connect import Server
from pra.postgres.sandbox import open_sandbox, sandbox_root
from pra.postgres.tools import SERVER, find_tools
from pra.procedures.capacity import check_server, check_space
from pra.procedures.context import Context
from pra.procedures.destination import Destination, check_destination, check_reach, owner_of
from pra.procedures.judging import VerifyReport, conclude
from pra.procedures.session import Choice, Session, check_all, describe, fetch, open_session
from pra.restored import CheckSet
from pra.storage.files import sync


@dataclass(frozen=True)
class RestorePlan:
    """What a restore would do; ``--dry-run`` prints it.

    Attributes:
        loses_seconds: From the backup's snapshot until now: what happened since will be missing.
    """

    backup_id: str
    repository: str
    destination: str
    bytes: int
    database_bytes: int
    objects: int
    tables: int
    rows: int
    loses_seconds: float
    steps: tuple[str, ...]
    gaps: tuple[str, ...]


@dataclass
class Undertaking:
    """One real restore under way."""

    session: Session
    destination: Destination
    server: Server | None = None
    staging: Path | None = None
    roles_created: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def plan(context: Context, choice: Choice, destination: Destination) -> RestorePlan:
    """Say what would happen. Reads the manifest only."""
    manifest = choice.manifest
    if manifest is None:
        raise choice.error or RestoreError("the manifest cannot be read", op="plan restore")
    into = (
        "create a data directory and start it" if destination.directory else "connect to the empty database"
    )
    steps = (
        f"read {len(manifest.objects)} objects from {choice.repository}, verify and decrypt them",
        into,
        "create the roles that are missing",
        "restore definitions, data, indexes and constraints; stop at the first error",
        "rebuild planner statistics",
        "compare every table with what was saved, run every check, sign the evidence",
    )
    return RestorePlan(
        backup_id=choice.backup_id,
        repository=choice.repository,
        destination=destination.text,
        bytes=manifest.bytes,
        database_bytes=manifest.server.database_bytes,
        objects=len(manifest.objects),
        tables=manifest.fingerprint.tables,
        rows=manifest.fingerprint.rows,
        loses_seconds=(context.clock() - manifest.taken_at).total_seconds(),
        steps=steps,
        gaps=manifest.gaps,
    )


def preflight(this: Undertaking) -> None:
    """Refuse before anything is fetched or written.

    Raises:
        UsageError: The destination is not empty, too old, or lacks an extension.
        SpaceError, ToolError, DecryptError: As their messages say.
    """
    session = this.session
    context, manifest = session.context, session.manifest
    with session.timeline.phase("preflight"):
        check_destination(this.destination, manifest)
        if manifest.encryption == "age":
            session.identities = load_identities(context.settings.encryption, context.state_dir)
        if this.destination.server is not None:
            this.server = this.destination.server
            with this.server.connect() as connection:
                major = connection.info.server_version // 10000
            session.tools = find_tools(major, context.settings.postgres.bindir)
            check_space(manifest, work=session.work, data=None)
            check_server(this.server, manifest)
        else:
            _open_directory(this, manifest)


def _open_directory(this: Undertaking, manifest: Manifest) -> None:
    session, directory = this.session, this.destination.directory
    assert directory is not None
    settings = session.context.settings
    major = manifest.server.version_num // 10000
    session.tools = find_tools(major, settings.postgres.bindir, needs=SERVER)
    check_space(manifest, work=session.work, data=directory.parent)
    account = owner_of(directory)
    if account is not None:
        check_reach(directory, account)
    prefix = f".{directory.name}.pra-partial-"
    ephemeral.sweep(directory.parent, prefix)  # left by a restore that was killed
    folder = session.stack.enter_context(ephemeral.ephemeral(directory.parent, prefix))
    if account is not None:
        os.chown(folder, account.uid, account.gid)
    this.staging = folder / "data"
    session.sandbox = session.stack.enter_context(
        open_sandbox(
            session.context.scope,
            session.tools,
            manifest.server,
            root=sandbox_root(settings.sandbox.dir, session.context.state_dir),
            account=account,
            durable=True,
            data=this.staging,
        )
    )
    this.server = session.sandbox.server
    check_server(this.server, manifest)


def load(this: Undertaking) -> None:
    """Restore and rebuild statistics; the RTO clock stops when the database answers."""
    session, server = this.session, this.server
    assert session.fetched is not None
    assert session.tools is not None
    assert server is not None
    context = session.context
    with session.timeline.phase("restore"):
        if this.destination.directory is not None:
            server = logical_restore.make_room(server, session.manifest.database)
        work = logical_restore.Restore(
            session.fetched,
            session.manifest,
            server,
            session.tools,
            context.scope,
            jobs=max(2, context.target.jobs),
            report=context.report,
        )
        if this.destination.directory is not None:
            existing = frozenset({session.manifest.server.bootstrap_role})
            work.apply_globals(in_place_tablespaces=True, existing=existing)
            network = session.sandbox is None or not session.sandbox.isolated
            restored = work.load(create=True, network=network, throwaway=False)
        else:
            restored = _into_database(this, work)
    with session.timeline.phase("statistics"):
        work.analyze(restored.server)
        logical_restore.first_answer(restored.server)
    session.rto_seconds = time.monotonic() - session.started
    session.database = describe(session, restored, sandboxed=False)


def _into_database(this: Undertaking, work: logical_restore.Restore) -> Restored:
    this.roles_created = work.create_missing_roles()
    missing = work.missing_tablespaces()
    if missing:
        this.left_out.append(f"tablespaces {', '.join(missing)}: their tables are in the default one")
    restored = work.load(create=False, network=True, throwaway=False, tablespaces=not missing)
    work.apply_database_settings(restored.server)
    return restored


def keep(this: Undertaking) -> None:
    """Give a finished data directory its name."""
    directory, staging = this.destination.directory, this.staging
    if directory is None or staging is None:
        return
    if this.session.sandbox is not None:
        this.session.sandbox.stop()
    if directory.exists():
        directory.rmdir()  # empty, or this fails
    staging.rename(directory)
    sync(directory.parent)


def run(
    context: Context, checks: CheckSet, choice: Choice, destination: Destination
) -> tuple[VerifyReport, Undertaking]:
    """Drive the whole procedure.

    Raises:
        PraError: Nothing was restored; a data directory was removed, a database may be half-filled and the
            message says so.
    """
    with ExitStack() as stack:
        session = stack.enter_context(open_session(context, choice, kind="restore"))
        this = Undertaking(session, destination)
        preflight(this)
        fetch(session)
        try:
            load(this)
        except PraError as error:
            raise half_done(error, destination) from None
        assert session.database is not None
        required = checks.required(session.database)
        results = [*checks.ruled_out(session.database), *check_all(session, checks), *_afterthoughts(this)]
        # First kept, then recorded: a repository that is out of reach must not cost a finished restore.
        keep(this)
        report = conclude(session, results, required=required, extra={"destination": destination.text})
        return report, this


def half_done(error: PraError, destination: Destination) -> PraError:
    """The same error, saying what it left behind."""
    if destination.server is not None:
        error.hint = (
            f"{error.hint} {destination.server.place} is incomplete: drop and create it before trying again."
        ).strip()
    return error


def _afterthoughts(this: Undertaking) -> list[CheckResult]:
    return [
        CheckResult("restore plan", Status.SKIPPED, expected="restored", observed="left out", reason=what)
        for what in this.left_out
    ]
