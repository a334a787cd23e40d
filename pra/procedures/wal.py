"""The WAL of a target, streamed; and what the streamer and retention need to know of its backups."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta

from pra.errors import ConnectError, PraError, UsageError
from pra.listing import BackupEntry
from pra.postgres.connect import postgres_errors
from pra.postgres.replication import read_replication
from pra.postgres.server_facts import OLDEST_MAJOR, read_facts
from pra.postgres.tools import Tools, find_tools
from pra.postgres.wal import parse_lsn
from pra.procedures.context import Context, recipients
from pra.retention import BASES_APART
from pra.wal.retention import WalBackup, kept_whole_from
from pra.wal.spool import WalSpool, known_systems, locked_spool
from pra.wal.stream import Streamer, StreamJob

_NEEDS = ("pg_receivewal",)


def stream(context: Context, stop: threading.Event, *, accept_new_server: bool = False) -> None:
    """Stream until ``stop``; then everything received is shipped once more.

    Raises:
        UsageError: The configuration cannot work, or another server answers behind the name.
        BusyError: A streamer of this target is running, here or elsewhere.
        RightsError, PostgresError: The server does not let us, and waiting would not mend it.
    """
    if context.target.engine != "physical":
        raise UsageError(
            f"{context.target.name} is backed up logically: WAL would be of no use to it",
            op="stream WAL",
            hint='Set engine = "physical" for this target.',
        )
    chosen = recipients(context.settings)
    root = context.folder("wal") / context.target.name
    with locked_spool(root):
        system_id, segment_bytes, tools = _server(context, accept_new_server=accept_new_server)
        spool = WalSpool(root, system_id, chosen, segment_bytes)
        Streamer(_job(context, spool, tools), context.scope).run(stop)


def _server(context: Context, *, accept_new_server: bool) -> tuple[str, int | None, Tools]:
    """Who the server is. Where it does not answer, what is left of it here is shipped all the same."""
    root = context.folder("wal") / context.target.name
    try:
        with context.server.connect() as connection, postgres_errors("read server"):
            facts = read_facts(connection)
            replication = read_replication(connection, context.target.slot)
    except ConnectError as error:
        known = known_systems(root)
        if not known or not error.transient:
            raise
        return known[0], None, _any_tools(context)
    newest = _newest_system(context)
    if newest not in ("", facts.system_identifier) and not accept_new_server:
        raise UsageError(
            "the server is not the one that earlier backups came from",
            op="check server",
            hint="If it was rebuilt or restored on purpose, run once with --accept-new-server; "
            "otherwise give it a target name of its own.",
        )
    tools = find_tools(facts.version_num // 10000, context.settings.postgres.bindir, needs=_NEEDS)
    return facts.system_identifier, replication.wal_segment_bytes, tools


def _any_tools(context: Context) -> Tools:
    """Programs of any major: pg_receivewal speaks to older servers as well."""
    for major in range(18, OLDEST_MAJOR, -1):
        try:
            return find_tools(major, context.settings.postgres.bindir, needs=_NEEDS)
        except PraError:
            continue
    return find_tools(OLDEST_MAJOR, context.settings.postgres.bindir, needs=_NEEDS)


def _newest_system(context: Context) -> str:
    """The server that the newest backup came from, in whichever repository answers; empty: none says so."""
    newest: tuple[datetime, str] | None = None
    for name in context.repositories:
        try:
            entries = context.catalog(name).backups()
        except PraError:
            continue  # its own thread will say so
        for entry in entries[:3]:
            if entry.manifest is not None and entry.manifest.server.system_identifier:
                found = (entry.taken_at, entry.manifest.server.system_identifier)
                newest = max(newest or found, found)
    return newest[1] if newest else ""


def _job(context: Context, spool: WalSpool, tools: Tools) -> StreamJob:
    window = context.settings.retention.pitr_window

    def kept_from(repository: str) -> int | None:
        backups = wal_backups(context.catalog(repository).backups())
        return kept_whole_from(backups, spool.system_id, window, context.clock())

    physical = context.target.physical
    return StreamJob(
        server=context.server,
        tools=tools,
        target=context.target.name,
        slot=context.target.slot,
        storages=context.repositories,
        spool=spool,
        clock=context.clock,
        ship_every=physical.ship_every.total_seconds(),
        backlog=physical.backlog,
        kept_from=kept_from,
        retain_until=lambda: context.clock() + locked_for(window),
    )


def locked_for(window: timedelta) -> timedelta:
    """How long streamed WAL is under object lock: as long as a backup that the window may begin from."""
    return window + BASES_APART


def wal_backups(entries: Sequence[BackupEntry]) -> list[WalBackup]:
    """What WAL retention needs of a listing: physical backups, and those that may be."""
    found = []
    for entry in entries:
        manifest = entry.manifest
        if manifest is None:
            found.append(WalBackup(entry.backup_id, entry.taken_at, readable=False))
        elif manifest.physical is not None:
            found.append(
                WalBackup(
                    entry.backup_id,
                    entry.taken_at,
                    manifest.server.system_identifier,
                    parse_lsn(manifest.physical.start_lsn),
                    tuple((one.name, one.sha256) for one in manifest.physical.wal),
                )
            )
    return found


def segment_sizes(entries: Sequence[BackupEntry]) -> dict[str, int]:
    """Segment size by system identifier, as backups say."""
    return {
        entry.manifest.server.system_identifier: entry.manifest.physical.wal_segment_bytes
        for entry in entries
        if entry.manifest is not None and entry.manifest.physical is not None
    }
