"""One backup, or one restore, timed; as `pra backup` and `pra verify` do them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from pra.engines import logical_restore
from pra.engines.cut import NoCut
from pra.errors import RestoreError
from pra.loadtest.measures import Round, RoundKind
from pra.manifest import Manifest
from pra.procedures import backup, physical_verify, recovered, recovering, verify
from pra.procedures.context import Context
from pra.procedures.session import Choice, Session, fetch, open_session, read_manifest
from pra.settings import Repository
from pra.timing import Phase, Timeline

SCRATCH = "scratch"
_PUBLISHED = "no repository took the backup"


def raw_bytes(manifest: Manifest, chain: Sequence[Manifest] = ()) -> int:
    """The database's size; for base backups, that of the files in the whole chain."""
    if manifest.physical is None:
        return manifest.server.database_bytes
    return sum(stored.plain_bytes for each in chain or (manifest,) for stored in each.objects)


def back_up(context: Context, home: Path, *, scratch: bool) -> Round:
    """Take one full backup.

    Args:
        home: Where the scratch repository is made, and removed again at once: one backup lies there at most.
        scratch: Into a repository of its own, under another target's name: its lock and its leases are not
            the real ones', and nothing expires. Else into the target's repositories, as any other backup.

    Raises:
        PraError: The database could not be read, or no repository took it.
    """
    folder = home / SCRATCH
    work = _scratch(context, folder) if scratch else replace(context, timeline=Timeline(context.clock))
    try:
        start = time.monotonic()
        made = backup.run(work, full=True)
        seconds = time.monotonic() - start
        arrived = next((each.name for each in made.repositories if each.ok), None)
        if arrived is None:
            raise RestoreError(f"{_PUBLISHED}: {made.repositories[0].error}", op="back up")
        manifest = work.catalog(arrived).load(made.backup_id)
        return Round("backup", seconds, manifest.bytes, raw_bytes(manifest), _phases(made.phases))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _scratch(context: Context, folder: Path) -> Context:
    folder.mkdir(mode=0o700)
    place = Repository(name=SCRATCH, url=f"file://{folder}")
    settings = context.settings.model_copy(update={"repositories": {SCRATCH: place}})
    target = context.target.model_copy(
        update={"name": f"load-{context.target.name}"[:40].rstrip("-"), "repositories": [SCRATCH]}
    )
    return Context(settings, target, context.scope, context.clock, context.report)


def restore(context: Context, choice: Choice, stack: ExitStack, *, durable: bool) -> tuple[Session, Round]:
    """Restore the backup into a throwaway server, which stays up until the stack is left.

    Args:
        durable: With the settings of a server one keeps, for an honest time.

    Raises:
        PraError: As `pra.procedures.verify`; `pra.procedures.session.finding` tells what it means.
    """
    work = replace(context, timeline=Timeline(context.clock))
    this = stack.enter_context(open_session(work, choice, kind="load-test"))
    this.durable = durable
    start = time.monotonic()
    read_manifest(this)
    if this.manifest.physical is None:
        verify.preflight(this)
        fetch(this)
        verify.restore(this)
    else:
        _recover(this)
    assert this.database is not None
    seconds = time.monotonic() - start
    kind: RoundKind = "restore" if durable else "restore-fast"
    stored, raw = _sizes(this)
    return this, Round(kind, seconds, stored, raw, _phases(work.timeline.phases))


def _recover(this: Session) -> None:
    """Up to the end of its WAL without a stop, as in a real emergency that wants the service first."""
    physical_verify.plan(this)
    physical_verify.preflight(this)
    physical_verify.fetch(this)
    recovery = this.recovery
    assert recovery is not None
    this.stack.enter_context(recovering.open_server(recovery))
    recovery.cut = NoCut("a load test does not stop to compare")
    recovering.roll_on(recovery)
    logical_restore.first_answer(recovery.database)
    this.database = recovered.describe(recovery)


def _sizes(this: Session) -> tuple[int, int]:
    """Stored and raw bytes: of the whole chain and the WAL that was read behind it."""
    if this.recovery is None or this.planned is None:
        return this.manifest.bytes, raw_bytes(this.manifest)
    wal = this.recovery.wal.bytes_read if this.recovery.wal is not None else 0
    return this.planned.plan.backup_bytes + wal, raw_bytes(this.manifest, this.planned.chain)


def _phases(phases: Sequence[Phase]) -> tuple[tuple[str, float], ...]:
    return tuple((phase.name, phase.seconds) for phase in phases)
