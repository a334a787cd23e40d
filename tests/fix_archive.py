"""The WAL of a test's server brought into its world's repositories, without a streamer."""

from __future__ import annotations

import shutil
from pathlib import Path

from pra.postgres.wal import HISTORY, SEGMENT
from pra.procedures.context import recipients
from pra.wal.shipping import seal_segment, ship, ship_history
from tests.fix_world import World


def archive_wal(world: World, *repositories: str) -> None:
    """Finish the segment that is being written, and ship all of them that ``pg_wal`` still holds."""
    server = world.cluster
    system_id = str(server.query("postgres", "SELECT system_identifier FROM pg_control_system()")[0][0])
    server.query("postgres", "SELECT pg_switch_wal()")
    # At a segment's first byte PostgreSQL 15 names the one before.
    current = str(server.query("postgres", "SELECT pg_walfile_name(pg_current_wal_lsn() + 1)")[0][0])
    spool = world.home / "by-hand-spool"
    spool.mkdir(mode=0o700)
    try:
        with world.context() as context:
            storages = [context.storage(name) for name in repositories or context.repositories]
            for path in sorted((server.pgdata / "pg_wal").iterdir()):
                if match := HISTORY.fullmatch(path.name):
                    for storage in storages:
                        timeline = int(match[1], 16)
                        ship_history(storage, "db", system_id, timeline, path.read_bytes(), retain_until=None)
                if not SEGMENT.fullmatch(path.name) or path.name >= current:
                    continue
                sealed = seal_segment(
                    path, path.name, spool, system_id=system_id, recipients=recipients(context.settings)
                )
                for storage in storages:
                    ship(storage, "db", sealed, retain_until=None)
    finally:
        shutil.rmtree(spool)


def commit(world: World, statement: str) -> tuple[int, str]:
    """Run one statement in a transaction of its own: its id, and when the server had committed it."""
    with world.cluster.connect(world.database, autocommit=False) as connection:
        connection.execute(statement.encode())
        row = connection.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
        connection.commit()
    assert row is not None
    moment = world.cluster.query("postgres", "SELECT clock_timestamp()::text")[0][0]
    return int(row[0]), str(moment)


def tablespace_folder(world: World, name: str) -> Path:
    """An empty folder that the server may use for a tablespace."""
    folder = world.cluster.directory / name
    folder.mkdir(mode=0o700)
    if world.cluster.account:
        shutil.chown(folder, world.cluster.account)
    return folder
