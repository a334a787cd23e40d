"""A promotion whose new server was lost before it shipped a byte: its parent's WAL leads up to the switch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pra.model import Verdict
from pra.postgres.wal import parse_history, parse_lsn, segment_name, segment_start
from pra.procedures.context import recipients
from pra.storage.pipe import seal
from pra.wal.shipping import seal_segment, ship, ship_history, ship_partial
from tests.fix_archive import archive_wal, commit
from tests.fix_recovery import Standing
from tests.fix_stream import pra, promote
from tests.fix_world import World, complaints


def promoted_elsewhere(world: World) -> str:
    """A standby of it is promoted and lost; the server, cut off, goes on. Returns the history's text."""
    server, kept = world.cluster, world.cluster.directory / "kept"
    server.stop()
    shutil.copytree(server.pgdata, kept, symlinks=True)
    promote(server)
    text = (server.pgdata / "pg_wal" / "00000002.history").read_text()
    server.stop()
    shutil.rmtree(server.pgdata)
    kept.rename(server.pgdata)
    server.pgdata.chmod(0o700)
    if server.account:
        for path in (server.pgdata, *server.pgdata.rglob("*")):
            shutil.chown(path, server.account)
    server.start()
    return text


def ship_to(world: World, history: str, segment: Path, length: int | None) -> None:
    """The child's history, and the parent's segment: whole, or this much of it."""
    system_id = str(
        world.cluster.query("postgres", "SELECT system_identifier FROM pg_control_system()")[0][0]
    )
    with world.context() as context:
        near, known, spool = context.storage("near"), recipients(context.settings), world.home
        if length is None:
            sealed = seal_segment(segment, segment.name, spool, system_id=system_id, recipients=known)
            ship(near, "db", sealed, retain_until=None)
        else:
            path = spool / "begun.zst.age"
            stored = seal([segment.read_bytes()[:length]], path, recipients=known)
            lsn = segment_start(segment.name) + length
            ship_partial(near, "db", system_id, segment.name, lsn, path, stored)
        ship_history(near, "db", system_id, 2, history.encode(), retain_until=None)


@pytest.mark.parametrize(
    "whole",
    [
        pytest.param(True, id="whole segment", marks=pytest.mark.all),
        pytest.param(False, id="its beginning"),
    ],
)
def test_recovery_ends_at_the_switch_and_never_behind_it(
    physical_world: World, place: Path, *, whole: bool
) -> None:
    world = physical_world
    world.backup()
    archive_wal(world, "near")
    commit(world, "INSERT INTO numbered (id, note) VALUES (2001, 'before the switch')")
    history = promoted_elsewhere(world)
    [switch] = parse_history(history)
    commit(world, "INSERT INTO numbered (id, note) VALUES (2002, 'behind it, on the old timeline')")
    [(end,)] = world.cluster.query("postgres", "SELECT pg_current_wal_flush_lsn()::text")
    name = segment_name(1, switch.lsn)
    assert segment_start(name) < switch.lsn < parse_lsn(end) < segment_start(name) + (16 << 20)
    world.cluster.query("postgres", "SELECT pg_switch_wal()")
    length = None if whole else parse_lsn(end) - segment_start(name)
    ship_to(world, history, world.cluster.pgdata / "pg_wal" / name, length)

    report = world.verify()
    assert report.verdict is Verdict.PASS, complaints(report)
    assert report.recovery is not None
    assert (report.recovery.timeline, report.recovery.wal[1]) == (2, name)
    assert report.recovery.reached is not None
    assert report.recovery.reached <= switch.lsn

    words = ("--into", f"{place}/restored", "--repository", "near", "--json")
    done = json.loads(pra(world, "restore", "db", *words, code=0, timeout=200).stdout)
    assert done["verdict"] == "PASS"
    with Standing(world.cluster, place / "restored").started() as connection:
        rows = connection.execute("SELECT id FROM numbered WHERE id > 1000").fetchall()
        assert rows == [(2001,)]
        assert connection.execute("SELECT timeline_id FROM pg_control_checkpoint()").fetchone() == (3,)
