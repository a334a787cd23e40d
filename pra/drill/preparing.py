"""Setting up a rehearsal: a primary from the target's backup, its service, its streamer, its first backup."""

from __future__ import annotations

import time
from collections.abc import Callable

from pra.drill.state import Drill
from pra.drill.writer import TABLE
from pra.engines.recovery import IMMEDIATE
from pra.keys import key_sheet, load_identities, load_keyring
from pra.keysheet import RepositoryAccess
from pra.postgres.connect import one_value, postgres_errors
from pra.postgres.service_server import own_folder
from pra.procedures.bring_back import Wanted, bring_back
from pra.procedures.capacity import check_free
from pra.procedures.physical_plan import server_bytes
from pra.watch import probes

SLOW_SECONDS = 8.0
"""A sabotaged drill gets this RTO, and is held up for as long."""
_LARGEST_TABLES = 5
_LARGEST = """
SELECT n.nspname || '.' || c.relname
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname !~ '^(pg_|information_schema)'
   AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
 ORDER BY pg_relation_size(c.oid) DESC LIMIT %s
"""


def prepare(this: Drill) -> None:
    """Restore a primary from the target's backup, give it a service, a streamer and a first backup.

    Raises:
        PraError: The rehearsal cannot be set up; that says nothing about a disaster.
    """
    with this.phase("prepare"):
        _restore_primary(this)
        rehearsal = this.rehearsal
        assert rehearsal.primary is not None
        rehearsal.primary.start()
        rehearsal.tables = _tables(this)
        rehearsal.configure(SLOW_SECONDS if this.order.sabotage == "slow" else None)
        this.baseline = probes.read_baseline(rehearsal.server, rehearsal.tables)
        rehearsal.open_service()
        rehearsal.start_streamer()
        if this.order.sabotage == "missing-row":
            _lose_a_row(this)
        this.backup_id = rehearsal.back_up(full=True).backup_id
        if "rot" in this.method.faults:
            this.backup_id = rehearsal.back_up(full=True).backup_id
        if this.method.recovery == "sheet":
            this.sheet = _print_sheet(this)
        rehearsal.wait_shipped()


def _restore_primary(this: Drill) -> None:
    context, order = this.context, this.order
    names = (order.repository,) if order.repository else tuple(context.repositories)
    backup_id = None if order.backup == "newest" else order.backup
    wanted = Wanted(names, IMMEDIATE, backup_id, proof=False, tablespaces=None)
    rehearsal = this.rehearsal
    home = rehearsal.home / "primary"
    own_folder(home, rehearsal.account)
    with bring_back(context, wanted, home / "data") as brought:
        manifest = brought.planned.plan.manifest
        # Another server, and two repositories with two backups each at most: said before minutes are spent.
        check_free(rehearsal.home, server_bytes(brought.planned.chain) + 4 * manifest.bytes)
        assert brought.session.tools is not None
        rehearsal.tools = brought.session.tools
        rehearsal.role, rehearsal.database = manifest.server.bootstrap_role, manifest.database
        this.event(
            "rehearsal made",
            context.clock(),
            f"from {manifest.backup_id} in {brought.session.choice.repository}",
        )
        this.deviations += [f"Passed over for the rehearsal: {one}." for one in brought.passed_over]
    rehearsal.primary = rehearsal.place("primary")


def _tables(this: Drill) -> tuple[str, ...]:
    """The critical tables that are there; where none is named, the largest ones with a primary key."""
    named = this.context.target.critical_tables
    with this.rehearsal.server.connect() as connection, postgres_errors("look for tables"):
        if named:
            full = [name if "." in name else f"public.{name}" for name in named]
            return tuple(
                name for name in full if one_value(connection, "SELECT to_regclass(%s)", probes.quoted(name))
            )
        rows = connection.execute(
            _LARGEST,
            (_LARGEST_TABLES,),
        ).fetchall()
    return tuple(str(row[0]) for row in rows)


def _lose_a_row(this: Drill) -> None:
    """Sabotage: the backup will lack a row that was committed."""
    _until(lambda: len(this.rehearsal.committed()) > 5, 10.0)
    with this.rehearsal.server.connect() as connection:
        connection.execute(f"DELETE FROM {TABLE} WHERE n = (SELECT min(n) FROM {TABLE})".encode())


def _print_sheet(this: Drill) -> str:
    """The recovery sheet as an operator would have printed it, before the disaster."""
    settings = this.rehearsal.settings
    assert settings is not None
    return key_sheet(
        identities=load_identities(settings.encryption, settings.state_dir),
        public_keys=[key.text() for key in load_keyring(settings.signing, settings.state_dir) if key.text()],
        repositories=[RepositoryAccess(each.name, each.url) for each in settings.repositories.values()],
        targets=[this.rehearsal.name],
        made_at=this.context.clock(),
    )


def _until(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.05)
