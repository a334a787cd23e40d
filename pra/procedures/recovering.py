"""A physical backup on its way back: the steps that verification and real restore have in common.

::

    plan_recovery → fetch → open_server → recover_to_cut → compare_at_cut → roll_on → checks → check_pages

The server stops at the cut, where every table is compared with what was saved, goes on to the target and is
promoted there. A target before the cut, or a backup without one, is no error: `Recovery.cut` then says why
nothing was compared.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pra.disk import disk_errors
from pra.engines import assemble as assembling
from pra.engines.assemble import Assembled
from pra.engines.cut import Cut, NoCut
from pra.engines.recovery import IMMEDIATE, lsn_target
from pra.errors import ConnectError, PostgresError, RestoreError
from pra.postgres import fingerprint as fp
from pra.postgres.connect import Server, one_value
from pra.postgres.recovering_server import RecoveringServer, open_recovery
from pra.postgres.sandbox import sandbox_account, sandbox_root
from pra.postgres.wal import format_lsn, segment_start
from pra.proc import Account
from pra.procedures.cutting import CutFinder
from pra.procedures.planning import Planned, choice_of, plan_recovery
from pra.procedures.session import Session
from pra.wal.ahead import WalAhead

__all__ = [
    "PROGRAMS", "Planned", "Recovery", "choice_of", "compare_at_cut", "fetch", "find_cut", "open_server",
    "plan_recovery", "recover_to_cut", "roll_on",
]  # fmt: skip

PROGRAMS = ("initdb", "postgres", "pg_amcheck", "pg_waldump", "pg_controldata", "pg_checksums")
_WORDS = ("out of memory", "No space left", "out of shared memory")


@dataclass
class Recovery:
    """One recovery under way.

    Attributes:
        data: The data directory that is being made; its parent lies where the server's account can go.
        account: Whose the data and the server are; None: whoever we are, the sandboxes' account for root.
        durable: A server one keeps: settings and inertness as `open_recovery` says.
        tablespaces: Where each tablespace (by OID) goes; one not named goes beside the data directory.
        cut: Where contents were, or could not be, compared; None before `recover_to_cut`.
        observed: What was read at the cut; None when nothing was.
        damaged: Why the database could not be read at the cut; empty when it could.
        compared_seconds: Looking for the cut and reading at it, which no real disaster would wait for.
        last_commit, reached: The last transaction that came back, and the position reached (after `roll_on`).
    """

    session: Session
    planned: Planned
    data: Path
    account: Account | None = None
    durable: bool = False
    tablespaces: Mapping[int, Path] = field(default_factory=dict)
    assembled: Assembled | None = None
    server: RecoveringServer | None = None
    wal: WalAhead | None = None
    cut: Cut | NoCut | None = None
    observed: fp.Fingerprint | None = None
    damaged: str = ""
    compared_seconds: float = 0.0
    last_commit: datetime | None = None
    reached: int | None = None

    def __post_init__(self) -> None:
        if self.account is None:
            self.account = sandbox_account(self.session.context.settings.sandbox.account)

    @property
    def database(self) -> Server:
        """The database that the fingerprint is of."""
        assert self.server is not None
        return self.server.server.with_database(self.planned.plan.manifest.database)


def fetch(this: Recovery) -> None:
    """Bring every member of the chain, combine them in `Recovery.data`; sets ``assembled``. Phase ``fetch``.

    Raises:
        IntegrityError, ObjectMissing, DecryptError: Stored bytes are not those that were signed.
    """
    session, context = this.session, this.session.context
    assert session.tools is not None
    with session.timeline.phase("fetch"), disk_errors("fetch backup", this.data.parent):
        work = _beside(this, "work")
        work.mkdir(mode=0o700)
        this.assembled = assembling.assemble(
            context.storage(this.planned.plan.repository),
            context.target.name,
            this.planned.plan,
            this.data,
            work,
            scope=context.scope,
            tools=session.tools,
            identities=session.identities,
            jobs=max(2, context.target.jobs),
            tablespaces=this.tablespaces,
            account=this.account,
            durable=this.durable,
            report=context.report,
        )


def _beside(this: Recovery, name: str) -> Path:
    return this.data.parent / f"{this.data.name}.{name}"


@contextmanager
def open_server(this: Recovery) -> Iterator[RecoveringServer]:
    """WAL fetched ahead and a server ready to recover; both gone on leaving, the data directory stays."""
    session, context, found = this.session, this.session.context, this.planned.plan
    assert session.tools is not None
    ahead = WalAhead(
        context.storage(found.repository),
        context.target.name,
        this.planned.archive,
        found.wal,
        _beside(this, "wal"),
        scope=context.scope,
        identities=session.identities,
        segment_bytes=found.segment_bytes,
        jobs=max(2, context.target.jobs),
        account=this.account,
        exact=found.exact,
    )
    root = sandbox_root(context.settings.sandbox.dir, context.state_dir)
    with (
        ahead,
        open_recovery(
            context.scope,
            session.tools,
            this.data,
            root=root,
            account=this.account,
            durable=this.durable,
            role=found.manifest.server.bootstrap_role,
            ahead=ahead,
        ) as server,
    ):
        this.server, this.wal = server, ahead
        yield server


def find_cut(this: Recovery) -> None:
    """Look for the cut in the WAL around the snapshot; sets ``cut``. Nothing is started. Phase ``find cut``.

    Raises:
        IntegrityError: A segment around the snapshot is not what was archived.
    """
    session, context = this.session, this.session.context
    assert session.tools is not None
    start = time.monotonic()
    with session.timeline.phase("find cut"):
        finder = CutFinder(
            context.storage(this.planned.plan.repository),
            this.planned.archive,
            this.planned.plan,
            session.tools,
            context.scope,
            session.work / "cut",
            session.identities,
        )
        this.cut = finder.find()
    this.compared_seconds += time.monotonic() - start


def recover_to_cut(this: Recovery) -> None:
    """Find the cut, start the server, let it replay up to there and pause. Phases ``find cut``, ``recover``.

    Where there is no cut before the target, nothing is started yet.

    Raises:
        IntegrityError: A WAL segment is damaged. RestoreError: The server did not get there.
    """
    find_cut(this)
    with this.session.timeline.phase("recover"):
        if isinstance(this.cut, Cut):
            assert this.server is not None
            cut = this.cut
            stop = IMMEDIATE if cut.lsn is None else lsn_target(cut.lsn, inclusive=cut.inclusive)
            this.server.start(stop, this.planned.plan.timeline)


def compare_at_cut(this: Recovery) -> None:
    """Read every table at the cut, in the paused standby; sets ``observed``. Phase ``compare``.

    A database that answers and cannot be read is damaged: ``damaged`` says how, and recovery goes on.

    Raises:
        PostgresError: The server was lost.
    """
    start = time.monotonic()
    with this.session.timeline.phase("compare"):
        if isinstance(this.cut, Cut):
            try:
                this.observed = _read(this)
            except PostgresError as error:
                if not _is_damage(this, error):
                    raise
                this.damaged = error.message
    this.compared_seconds += time.monotonic() - start


def _read(this: Recovery) -> fp.Fingerprint:
    assert this.assembled is not None
    expected = this.assembled.fingerprint
    # Unlogged tables cannot be read during recovery; they come back empty in any case.
    unlogged = _unlogged(this.database)
    return fp.take(
        lambda: this.database.connect(statement_seconds=0, application="pra compare"),
        depth=expected.depth,
        jobs=max(this.session.context.target.jobs, 2),
        only=lambda schema, table: (schema, table) not in unlogged,
    )


def _unlogged(server: Server) -> set[tuple[str, str]]:
    with server.connect() as connection:
        rows = connection.execute(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c "
            "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relpersistence = 'u'"
        )
        return {(schema, name) for schema, name in rows}


def _is_damage(this: Recovery, error: PostgresError) -> bool:
    """Whether it is the database that cannot be read, not the server that is gone or this machine full."""
    if isinstance(error, ConnectError) or any(words in error.message for words in _WORDS):
        return False
    try:
        with this.database.connect() as connection:
            return bool(one_value(connection, "SELECT true"))
    except ConnectError:
        return False


def roll_on(this: Recovery) -> None:
    """Replay up to the target and promote; sets ``last_commit`` and ``reached``. Phase ``roll on``.

    Raises:
        IntegrityError: A WAL segment is damaged. RestoreError: WAL ended before the target.
    """
    assert this.server is not None
    found = this.planned.plan
    with this.session.timeline.phase("roll on"):
        if not isinstance(this.cut, Cut):
            this.server.start(found.target, found.timeline, pause=False)
        elif found.target.kind == "immediate":
            this.server.promote()
        else:
            this.server.advance(found.target, pause=False)
        this.last_commit, this.reached = this.server.last_commit(), this.server.replayed_lsn()
        if this.wal is not None:
            this.wal.check()
        _came_far_enough(this)


def _came_far_enough(this: Recovery) -> None:
    """PostgreSQL takes the first record that it cannot read for the end of the WAL."""
    found = this.planned.plan
    to_the_end = found.target.kind == "latest" or (this.server is not None and this.server.ran_out)
    if not to_the_end or this.reached is None or not found.wal:
        return
    # What was cut short in the middle of a record may lead no further than into the segment before.
    last = found.wal[-2] if found.partial and len(found.wal) > 1 else found.wal[-1]
    if this.reached < segment_start(last, found.segment_bytes):
        raise RestoreError(
            f"recovery ended at {format_lsn(this.reached)}, before the WAL in {found.repository} does "
            f"({format_lsn(found.until)})",
            op="recover",
            hint="A WAL segment was archived damaged: recover to before it, or use another repository.",
        )
