"""The cut on a real server under load: what was committed before it is exactly what the snapshot saw."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pra.engines.cut import Ended, NoCut, Snapshot, find_cut, parse_snapshot, read_records
from pra.errors import IntegrityError
from pra.postgres.tools import Tools
from pra.postgres.wal import SEGMENT_BYTES, parse_lsn, segments_between
from pra.proc import Scope
from tests.fix_cluster import Cluster
from tests.fix_physical import MakePhysical
from tests.fix_stream import small_server, wait_until

SCRIPT = """
BEGIN;
INSERT INTO written SELECT pg_current_xact_id()::text::bigint;
SAVEPOINT s;
INSERT INTO other VALUES (1);
RELEASE SAVEPOINT s;
SAVEPOINT t;
INSERT INTO other VALUES (2);
ROLLBACK TO SAVEPOINT t;
COMMIT;
"""


@contextmanager
def load(server: Cluster, tmp_path: Path, clients: int = 8) -> Iterator[None]:
    """Transactions with subtransactions, as fast as they go."""
    script = tmp_path / "script.sql"
    script.write_text(SCRIPT)
    argv = [str(server.bindir / "pgbench"), "-n", f"-c{clients}", "-T120", f"-f{script}", server.dsn("app")]
    bench = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
        assert bench.poll() is None
    finally:
        bench.kill()
        bench.wait()


def look(server: Cluster) -> tuple[int, Snapshot, set[int]]:
    """The WAL's end just before a snapshot, the snapshot, and the transactions whose row it sees."""
    with server.connect("app", autocommit=False) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        lsn = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
        snapshot = connection.execute("SELECT pg_current_snapshot()::text").fetchone()
        seen = {row[0] for row in connection.execute("SELECT xid FROM written")}
    assert lsn is not None
    assert snapshot is not None
    return parse_lsn(lsn[0]), parse_snapshot(snapshot[0]), seen


@pytest.mark.parametrize("major", [18, 17, 15])
def test_what_lies_before_the_cut_is_what_the_snapshot_saw(
    make_physical: MakePhysical, tmp_path: Path, major: int
) -> None:
    server = make_physical(major)
    server.createdb("app")
    server.execute("app", "CREATE TABLE written (xid bigint)", "CREATE TABLE other (n int)", "CHECKPOINT")
    start = parse_lsn(server.query("app", "SELECT pg_current_wal_lsn()")[0][0])
    server.execute("app", "CHECKPOINT")
    with load(server, tmp_path):
        wait_until(lambda: server.query("app", "SELECT count(*) FROM written")[0][0] > 200, what="load")
        seen = [look(server) for _ in range(12)]
        server.execute("app", "CHECKPOINT")
    end = parse_lsn(server.query("app", "SELECT pg_current_wal_lsn()")[0][0])
    tools = Tools(server.bindir, major, "")
    with Scope() as scope:
        folder = server.pgdata / "pg_wal"
        records = read_records(tools, scope, folder, segments_between(1, start, end))
    written = {row[0] for row in server.query("app", "SELECT xid FROM written")}
    commits = [record for record in records if isinstance(record, Ended) and record.committed]
    cuts = 0
    for lsn, snapshot, rows in seen:
        found = find_cut(records, snapshot, consistent_at=start)
        if isinstance(found, NoCut):
            assert "being committed while" in found.reason
            continue
        cuts += 1
        assert found.lsn is not None
        assert abs(found.lsn - lsn) < 16 << 20
        before = {
            snapshot.widened(each.xid)
            for each in commits
            if each.lsn < found.lsn or (found.inclusive and each.lsn == found.lsn)
        }
        assert rows == before & written
    assert cuts >= 2
    assert 100 < len(seen[-1][2]) < len(written)


def test_an_unfinished_segment_is_read_up_to_its_end(make_physical: MakePhysical, tmp_path: Path) -> None:
    """What a partial becomes: the beginning of a segment, then zeros."""
    server = make_physical(18)
    server.execute("postgres", "CREATE TABLE t AS SELECT 1", "CHECKPOINT")
    [(name, lsn)] = server.query("postgres", "SELECT pg_walfile_name(l), l FROM pg_current_wal_lsn() l")
    data = (server.pgdata / "pg_wal" / name).read_bytes()[: parse_lsn(lsn) % SEGMENT_BYTES - 3]
    (tmp_path / name).write_bytes(data.ljust(SEGMENT_BYTES, b"\0"))
    with Scope() as scope:
        assert read_records(Tools(server.bindir, 18, ""), scope, tmp_path, [name])


def test_wal_that_is_none_is_damage(make_physical: MakePhysical, tmp_path: Path) -> None:
    server = make_physical(18)
    name = "000000010000000000000001"
    (tmp_path / name).write_bytes(b"\xa5" * SEGMENT_BYTES)
    with Scope() as scope, pytest.raises(IntegrityError, match="the WAL cannot be read"):
        read_records(Tools(server.bindir, 18, ""), scope, tmp_path, [name])


def filled(server: Cluster, megabytes: int) -> tuple[int, int]:
    """One record of this length: where the WAL ended before it, and behind it."""
    lsn = "SELECT pg_current_wal_insert_lsn()::text"
    begin = parse_lsn(server.query("app", lsn)[0][0])
    server.query("app", f"SELECT pg_logical_emit_message(false, 'pra', repeat('x', {megabytes << 20}))")
    return begin, parse_lsn(server.query("app", lsn)[0][0])


@pytest.fixture
def long_record(tmp_path: Path) -> Iterator[tuple[Tools, Path, list[str], int]]:
    """Segments of 1 MiB that one record fills, with small ones before and behind it; where it ends."""
    server = small_server()
    try:
        server.start()
        server.createdb("app")
        server.execute(
            "app", "CREATE TABLE t AS SELECT 1", "SELECT pg_switch_wal()", "CREATE TABLE u (n int)"
        )
        begin, end = filled(server, 3)
        server.execute("app", "CREATE TABLE v AS SELECT 1", "SELECT pg_switch_wal()", "CHECKPOINT")
        names = list(segments_between(1, begin, end, 1 << 20))
        for name in names:
            shutil.copy(server.pgdata / "pg_wal" / name, tmp_path / name)
        yield Tools(server.bindir, 18, ""), tmp_path, names, end
    finally:
        server.remove()


def test_a_segment_that_one_record_fills_holds_none(long_record: tuple[Tools, Path, list[str], int]) -> None:
    tools, folder, names, end = long_record
    with Scope() as scope:
        assert read_records(tools, scope, folder, names[1:2]) == []
        assert read_records(tools, scope, folder, names[1:3]) == []
        assert read_records(tools, scope, folder, names[-1:])
        # What was received of the last one ends in that record, behind it, or within the next.
        last = folder / names[-1]
        data = last.read_bytes()
        for cut in (end % (1 << 20) - 100, end % (1 << 20), end % (1 << 20) + 30):
            last.write_bytes(data[:cut].ljust(1 << 20, b"\0"))
            assert read_records(tools, scope, folder, names[-1:]) == [], cut


def test_a_segment_whose_first_record_is_damaged_is_not_empty(
    long_record: tuple[Tools, Path, list[str], int],
) -> None:
    tools, folder, names, end = long_record
    last = folder / names[-1]
    data = bytearray(last.read_bytes())
    data[end % (1 << 20) + 4] ^= 1  # whose transaction it is: its checksum does not fit any more
    last.write_bytes(data[: end % (1 << 20) + 200].ljust(1 << 20, b"\0"))
    with Scope() as scope, pytest.raises(IntegrityError, match="the WAL cannot be read"):
        read_records(tools, scope, folder, names[-1:])


def test_segments_of_two_timelines_are_no_empty_stretch(
    long_record: tuple[Tools, Path, list[str], int],
) -> None:
    tools, folder, names, _ = long_record
    renamed = f"00000002{names[1][8:]}"
    (folder / names[1]).rename(folder / renamed)
    with Scope() as scope, pytest.raises(IntegrityError, match="could not find file"):
        read_records(tools, scope, folder, [names[0], renamed])
