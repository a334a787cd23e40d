"""Recovery stops exactly where it was told to: the rows are numbered, so their count says where that was."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pra.engines import configuration
from pra.engines.recovery import IMMEDIATE, LATEST, RecoveryTarget, lsn_target, time_target
from pra.errors import IntegrityError, RestoreError, TargetNotReached
from pra.postgres import recovering_server
from pra.postgres.connect import Server
from pra.postgres.startable import make_startable
from pra.postgres.wal import parse_lsn, segment_start
from pra.storage.local import LocalStorage
from pra.wal.archive import read_archive
from pra.wal.shipping import seal_segment, ship, ship_partial
from tests.fix_record import make_storage
from tests.fix_recovery import Recoverable, Row, Standing, count


def at(rows: list[Row], number: int) -> Row:
    return rows[number - 1]


Make = Callable[[list[Row]], RecoveryTarget]
CASES: list[tuple[str, Make, int]] = [
    ("the end of the base backup", lambda r: IMMEDIATE, 0),
    ("the end of the WAL", lambda r: LATEST, 10),
    ("a time between two commits", lambda r: time_target(at(r, 3).at + timedelta(microseconds=1)), 3),
    ("the time of a commit, inclusive", lambda r: time_target(at(r, 8).at), 8),
    ("the time of a commit, exclusive", lambda r: time_target(at(r, 8).at, inclusive=False), 7),
    ("a commit's position, inclusive", lambda r: lsn_target(parse_lsn(at(r, 6).lsn)), 6),
    ("a commit's position, exclusive", lambda r: lsn_target(parse_lsn(at(r, 6).lsn), inclusive=False), 5),
    ("a transaction, inclusive", lambda r: RecoveryTarget("xid", str(at(r, 7).xid)), 7),
    ("a transaction, exclusive", lambda r: RecoveryTarget("xid", str(at(r, 7).xid), inclusive=False), 6),
    ("a restore point", lambda r: RecoveryTarget("name", "half"), 5),
]


@pytest.mark.parametrize(("make", "rows"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_it_pauses_at_the_target_and_is_promoted_there(ten: Recoverable, make: Make, rows: int) -> None:
    with ten.server() as server:
        server.start(make(ten.source.rows), 1)
        assert count(server) == rows
        assert server.paused_at() == server.replayed_lsn()
        if rows:
            assert server.last_commit() == at(ten.source.rows, rows).at
        server.promote()
        assert server.paused_at() is None
        assert count(server) == rows
        server.server.with_database("app").connect().execute("INSERT INTO numbered VALUES (0)")


def test_it_rolls_on_from_target_to_target(ten: Recoverable) -> None:
    rows = ten.source.rows
    with ten.server() as server:
        server.start(IMMEDIATE, 1)
        seen = [count(server)]
        for target in (lsn_target(parse_lsn(rows[1].lsn)), RecoveryTarget("name", "half"), LATEST):
            server.advance(target)
            seen.append(count(server))
        assert seen == [0, 2, 5, 10]
        server.promote()
        assert count(server) == 10
        assert server.last_commit() == rows[9].at


def test_it_does_not_go_back(ten: Recoverable) -> None:
    with ten.server() as server:
        server.start(RecoveryTarget("name", "half"), 1)
        with pytest.raises(
            RestoreError, match="lies before the first consistent state of this data directory"
        ):
            server.advance(lsn_target(parse_lsn(ten.source.rows[1].lsn)))


def test_without_a_pause_it_is_promoted_at_the_target(ten: Recoverable) -> None:
    with ten.server() as server:
        server.start(RecoveryTarget("xid", str(ten.source.rows[2].xid)), 1, pause=False)
        assert server.paused_at() is None
        assert count(server) == 3


def test_the_end_of_the_wal_without_a_pause(ten: Recoverable) -> None:
    with ten.server() as server:
        server.start(LATEST, 1, pause=False)
        assert count(server) == 10
        assert server.last_commit() == ten.source.rows[9].at


def late(rows: list[Row]) -> RecoveryTarget:
    return time_target(rows[9].at + timedelta(seconds=1))


UNREACHED: list[tuple[str, Make, str]] = [
    ("a time behind the last commit", late, r"the WAL ended before 2026-.* UTC: the last record is at LSN"),
    (
        "an LSN behind the end",
        lambda r: lsn_target(1 << 32),
        r"the WAL ended before LSN 1/0: the last record",
    ),
    ("a transaction that never was", lambda r: RecoveryTarget("xid", "99999"), "before transaction 99999: "),
    ("no such restore point", lambda r: RecoveryTarget("name", "Half"), "before restore point Half: "),
]


@pytest.mark.parametrize(("make", "complaint"), [c[1:] for c in UNREACHED], ids=[c[0] for c in UNREACHED])
def test_what_the_wal_does_not_hold_is_never_reached(ten: Recoverable, make: Make, complaint: str) -> None:
    with ten.server() as server, pytest.raises(TargetNotReached, match=complaint) as raised:
        server.start(make(ten.source.rows), 1)
    last = ten.source.rows[9].at.replace(tzinfo=None)
    assert f"the last transaction of {last.isoformat(' ').rstrip('0')}" in raised.value.message


def test_a_settled_time_behind_the_last_commit_is_the_end(ten: Recoverable) -> None:
    with ten.server() as server:
        server.start(replace(late(ten.source.rows), settled=True), 1)
        assert count(server) == 10
        assert server.paused_at() is not None
        assert server.ran_out
        server.advance(LATEST)
        assert not server.ran_out


def test_a_target_before_the_end_of_the_base_backup_is_refused(ten: Recoverable) -> None:
    with ten.server() as server, pytest.raises(RestoreError, match="lies before the first consistent state"):
        server.start(lsn_target(0x2000028), 1)


@pytest.mark.all
@pytest.mark.timeout(60)
def test_a_question_that_hangs_does_not_hang_us(ten: Recoverable, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint asked for before a quick stop is never made: the stop goes on without it."""
    monkeypatch.setattr(recovering_server, "QUESTION_SECONDS", 1)
    with ten.server() as server:
        server.start(RecoveryTarget("name", "half"), 1)
        with server.server.connect() as connection:
            row = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
            ).fetchone()
        assert row is not None
        os.kill(row[0], signal.SIGSTOP)
        server.advance(LATEST)
        assert count(server) == 10


def test_a_damaged_segment_is_no_end_of_the_wal(ten: Recoverable, tmp_path: Path) -> None:
    name = ten.names[-1]
    entry = ten.archive.segments[name][0]
    other = shutil.copytree(ten.storage.root, tmp_path / "damaged") / entry.key
    data = bytearray(other.read_bytes())
    data[len(data) // 2] ^= 1
    other.chmod(0o600)
    other.write_bytes(data)
    damaged = replace(ten, storage=LocalStorage("near", tmp_path / "damaged"))
    with damaged.server() as server:
        server.start(RecoveryTarget("name", "half"), 1)  # what lies behind the target is not read
        assert count(server) == 5
        with pytest.raises(IntegrityError, match=name):
            server.advance(LATEST)


def test_a_missing_segment_is_no_end_of_the_wal(ten: Recoverable) -> None:
    holed = replace(
        ten.archive, segments={n: s for n, s in ten.archive.segments.items() if n != ten.names[-1]}
    )
    with (
        ten.server(archive=holed) as server,
        pytest.raises(IntegrityError, match=f"{ten.names[-1]} of db is missing in near"),
    ):
        server.start(LATEST, 1)


def test_a_small_window_serves_a_server_that_begins_again(ten: Recoverable) -> None:
    with ten.server(limit_bytes=1) as server:
        for target in (RecoveryTarget("name", "half"), LATEST, LATEST):
            server.advance(target) if server.timeline else server.start(target, 1)
        assert count(server) == 10


def test_the_beginning_of_a_segment_leads_as_far_as_it_goes(ten: Recoverable, tmp_path: Path) -> None:
    rows, last = ten.source.rows, ten.names[-1]
    end = parse_lsn(rows[7].lsn)  # rows 6 to 10 lie in the last segment; the eighth is not whole here
    data = (ten.source.archived / last).read_bytes()[: end - segment_start(last) + 5]
    storage = make_storage(tmp_path / "partial", "near")
    sealed = seal_segment(data, last, tmp_path, system_id=ten.archive.system_id, recipients=())
    ship_partial(storage, "db", ten.archive.system_id, last, end + 5, sealed.path, sealed.stored)
    for name in ten.names[:-1]:
        sealed = seal_segment(
            ten.source.archived / name, name, tmp_path, system_id=ten.archive.system_id, recipients=()
        )
        ship(storage, "db", sealed, retain_until=None)
    archive = read_archive(storage, "db", ten.archive.system_id)
    assert last in archive.partials
    with replace(ten, storage=storage).server(archive=archive) as server:
        server.start(LATEST, 1)
        assert count(server) == 7
        assert server.last_commit() == rows[6].at
        server.promote()
        assert count(server) == 7


def test_a_promoted_sandbox_archives_nothing_and_follows_nothing(ten: Recoverable) -> None:
    data = ten.copy()
    archived = sorted(p.name for p in ten.source.archived.iterdir())
    stored = sorted(p for p in ten.storage.root.rglob("*") if p.is_file())
    command = f"touch {data.parent}/was-run"
    (data / "postgresql.auto.conf").write_text(
        f"archive_mode = 'on'\narchive_command = '{command}'\nrestore_command = '{command}'\n"
        f"recovery_end_command = '{command}'\narchive_cleanup_command = '{command}'\n"
        "primary_conninfo = 'host=127.0.0.1 port=1'\nrecovery_target_xid = '1'\n"
        "shared_preload_libraries = 'x'\n"
    )
    with ten.server(data=data) as server:
        server.start(LATEST, 1)
        server.promote()
        connection = server.server.with_database("app").connect()
        connection.execute("INSERT INTO numbered VALUES (11)")
        connection.execute("SELECT pg_switch_wal()")
        connection.execute("CHECKPOINT")
        shown = connection.execute(
            "SELECT current_setting('archive_mode'), current_setting('fsync')"
        ).fetchone()
        assert shown == ("off", "off")
        assert connection.execute("SELECT timeline_id FROM pg_control_checkpoint()").fetchone() == (2,)
    assert sorted(p.name for p in ten.source.archived.iterdir()) == archived
    assert sorted(p for p in ten.storage.root.rglob("*") if p.is_file()) == stored
    assert not (data.parent / "was-run").exists()


def test_a_server_restored_once_before_is_as_inert(ten: Recoverable, tmp_path: Path) -> None:
    """What an earlier restore set aside came along; what ``ALTER SYSTEM`` wrote since is set aside too."""
    data = ten.copy()
    command = f"touch {data.parent}/was-run-again; exit 1"
    ours = f"restore_command = '{command}'\nrecovery_end_command = '{command}'\n"
    (data / "postgresql.auto.conf.restored").write_text("work_mem = '1MB'\n")
    (data / "postgresql.conf.restored").write_text("# of the restore before\n")
    (data / "postgresql.auto.conf").write_text(f"{ours}unix_socket_directories = '{tmp_path}'\n")
    for target, rows in ((RecoveryTarget("name", "half"), 5), (LATEST, 10)):
        # Opened again, it is not lost.
        with ten.server(data=data) as server:
            server.start(target, 1)
            assert count(server) == rows
        assert ours in (data / "postgresql.auto.conf.restored").read_text()
        assert not (data / "postgresql.auto.conf").exists()
    with ten.server(data=data, durable=True) as server:
        server.start(LATEST, 1, pause=False)
        server.stop()
        make_startable(data, configuration=None, tools=ten.source.tools)
    assert not (data.parent / "was-run-again").exists()
    assert ours in (data / "postgresql.auto.conf.restored").read_text()
    assert (data / "postgresql.auto.conf").read_text() == ""
    assert "of the restore before" not in (data / "postgresql.conf.restored").read_text()


def test_a_directory_without_its_label_is_not_started(ten: Recoverable) -> None:
    data = ten.copy()
    (data / "backup_label").unlink()
    missing = pytest.raises(RestoreError, match="backup_label is missing in the data directory")
    with ten.server(data=data) as server, missing:
        server.start(LATEST, 1)


@pytest.mark.parametrize("debian", [False, True], ids=["its own files", "files elsewhere, as on Debian"])
def test_a_restored_server_starts_by_itself(ten: Recoverable, tmp_path: Path, *, debian: bool) -> None:
    cluster = ten.source.cluster
    document = tmp_path / "configuration.json"
    document.write_text(json.dumps(configuration.read(Server(cluster.dsn())).to_json()))
    data = ten.copy()
    if debian:
        for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
            (data / name).unlink()
    slot = data / "pg_replslot" / "pra_db"
    with ten.server(data=data, durable=True) as server:
        server.start(LATEST, 1, pause=False)
        server.stop()
        slot.mkdir()
        notes = make_startable(data, configuration=document, tools=ten.source.tools)
    assert "Replication slot pra_db was removed." in notes
    standing = Standing(ten.source.cluster, data)
    with standing.started() as connection:
        shown = {
            name: connection.execute(f"SHOW {name}").fetchone()
            for name in ("archive_mode", "restore_command", "max_connections", "fsync", "wal_level")
        }
        assert {name: row[0] for name, row in shown.items() if row} == {
            "archive_mode": "off", "restore_command": "", "max_connections": "60", "fsync": "off",
            "wal_level": "replica",
        }  # fmt: skip
        assert connection.execute("SELECT count(*) FROM numbered").fetchone() == (10,)
        assert connection.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
