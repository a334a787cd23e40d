"""Verification of base backups: exact at a cut, rolled on to the target; never green without comparing."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from checks import Checks
from pra.engines.recovery import RecoveryTarget
from pra.errors import UsageError
from pra.model import CheckResult, Status, Verdict
from pra.postgres.wal import SEGMENT_BYTES, parse_lsn, segment_name
from pra.procedures import physical_verify, planning, verify
from pra.procedures.context import recipients
from pra.procedures.judging import VerifyReport
from pra.procedures.session import Session
from pra.timing import from_iso, to_iso
from pra.wal.arrival import Streaming
from pra.wal.shipping import seal_segment, ship
from tests.fix_archive import archive_wal, commit
from tests.fix_cluster import Cluster
from tests.fix_pages import replace_bytes
from tests.fix_physical import MakePhysical, world_of
from tests.fix_recovery import Standing
from tests.fix_stream import StartStreamer, pra, promote, reached, wait_until
from tests.fix_world import MakeWorld, World, complaints, failed

LOAD = """
\\set id random(1, 20000)
BEGIN;
UPDATE busy SET n = n + 1 WHERE id = :id;
INSERT INTO grows (note) VALUES ('of ' || :id);
COMMIT;
"""
CLIENTS = 8


@dataclass
class Load:
    """Small transactions of two statements by several clients, as fast as they go."""

    cluster: Cluster
    process: subprocess.Popen[bytes]

    def committed(self) -> int:
        [(count,)] = self.cluster.query("app", "SELECT count(*) FROM grows")
        return int(count)


@contextmanager
def loaded(world: World) -> Iterator[Load]:
    server = world.cluster
    world.execute(
        "CREATE TABLE busy (id int PRIMARY KEY, n int)",
        "INSERT INTO busy SELECT n, 0 FROM generate_series(1, 20000) n",
        "CREATE TABLE grows (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text)",
        "CREATE TABLE still (id int PRIMARY KEY, name text)",
        "INSERT INTO still SELECT n, 'victim number ' || n FROM generate_series(1, 2000) n",
    )
    script = world.home / "load.sql"
    script.write_text(LOAD)
    argv = [str(server.bindir / "pgbench"), "-n", f"-c{CLIENTS}", "-T300", f"-f{script}", server.dsn("app")]
    process = subprocess.Popen(
        argv, env=server.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield Load(server, process)
        assert process.poll() is None, "the load had ended before"
    finally:
        process.kill()
        process.wait()


def backed_up_under_load(world: World) -> float:
    """A full and an incremental backup while clients write; how many transactions a second they made."""
    with loaded(world) as load:
        time.sleep(1)
        before, started = load.committed(), time.monotonic()
        world.backup()
        world.backup()
        return (load.committed() - before) / (time.monotonic() - started)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "major", [18, pytest.param(17, marks=pytest.mark.all), pytest.param(15, marks=pytest.mark.all)]
)
def test_under_load_every_table_is_compared_exactly_at_a_cut(
    make_physical: MakePhysical, make_world: MakeWorld, streaming: StartStreamer,
    monkeypatch: pytest.MonkeyPatch, major: int,
) -> None:  # fmt: skip
    """And one row changed behind our back, its page's checksum made right, is found by the same."""
    world = world_of(make_physical(major), make_world)
    streaming(world)
    rate = backed_up_under_load(world)
    assert rate >= 1000, f"the load was too light for this test: {rate:.0f} transactions a second"
    [(path,)] = world.cluster.query("app", "SELECT pg_relation_filepath('still')")
    commit(world, "INSERT INTO still VALUES (9999, 'the last')")
    [(end,)] = world.cluster.query("app", "SELECT pg_current_wal_flush_lsn()::text")
    wait_until(
        lambda: reached(world, "far", size=SEGMENT_BYTES) >= parse_lsn(end),
        seconds=60,
        what="the last commit",
    )

    report = world.verify("far")
    assert report.verdict is Verdict.PASS, complaints(report)
    assert report.recovery is not None
    assert report.recovery.cut is not None
    assert report.recovery.reached is not None
    assert report.recovery.reached > report.recovery.cut
    found = {check.name: check for check in report.checks}
    tables = world.cluster.query("app", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")[0][0]
    assert f"{tables} tables" in found["fingerprint"].observed

    report = damaged(world, path, monkeypatch)
    assert report.verdict is Verdict.FAIL
    assert "table public.still: content" in complaints(report)
    wrong = [name for name, check in failed(report).items() if check.status is Status.FAILED]
    assert wrong == ["fingerprint"]


def damaged(world: World, path: str, monkeypatch: pytest.MonkeyPatch) -> VerifyReport:
    fetch = physical_verify.fetch

    def damaging(this: Session) -> None:
        fetch(this)
        assert this.recovery is not None
        file = this.recovery.data / path
        replace_bytes(file, b"victim number 77", b"victim number 78", with_checksum=True)

    with monkeypatch.context() as patch:
        patch.setattr(physical_verify, "fetch", damaging)
        return world.verify("far")


def status(report: VerifyReport, name: str) -> CheckResult:
    return next(check for check in report.checks if check.name == name)


def test_a_quiet_server_needs_no_streamer_to_be_proven(physical_world: World) -> None:
    physical_world.backup()
    report = physical_world.verify()
    assert report.verdict is Verdict.PASS, complaints(report)
    assert {check.name for check in report.checks} >= {"fingerprint", "recovery", "page-checksums", "amcheck"}


@pytest.mark.all
@pytest.mark.timeout(300)
def test_a_busy_server_without_a_streamer_is_proven_once_its_wal_is_there(physical_world: World) -> None:
    """The backup's own WAL ends before the snapshot: what cannot be compared is never green."""
    world = physical_world
    backed_up_under_load(world)
    report = world.verify()
    assert report.verdict is Verdict.PARTIAL, complaints(report)
    assert status(report, "fingerprint").status is Status.SKIPPED
    assert "the WAL ends before the snapshot" in status(report, "fingerprint").reason
    assert status(report, "sequences").status is Status.SKIPPED
    archive_wal(world)
    report = world.verify()
    assert report.verdict is Verdict.PASS, complaints(report)
    # The first consistent state, seconds before the snapshot: nobody read what it held.
    report = verified_to(world, RecoveryTarget("lsn", stop_of_newest(world)))
    assert report.verdict is Verdict.PARTIAL, complaints(report)
    assert "before the backup's snapshot" in status(report, "fingerprint").reason


def stop_of_newest(world: World) -> str:
    newest = max((world.folder("near") / "backups").iterdir()) / "manifest.json"
    return str(json.loads(newest.read_bytes())["physical"]["stop_lsn"])


def test_a_backup_without_a_digest_is_never_green(physical_world: World) -> None:
    physical = {"checkpoint": "fast", "digest_every": timedelta(days=1)}
    target = {"physical": physical_world.settings.target(None).physical.model_copy(update=physical)}
    physical_world.backup(target=target)
    second = physical_world.backup(target=target).backup_id
    report = physical_world.verify("near", second)
    assert report.verdict is Verdict.PARTIAL, complaints(report)
    assert "digest_every" in status(report, "fingerprint").reason
    assert status(report, "definitions").status is Status.PASSED


def test_a_target_is_where_the_other_checks_look(physical_world: World) -> None:
    """Compared at the cut, rolled on to just before the rows were gone."""
    world = physical_world
    world.backup()
    commit(world, "INSERT INTO numbered (id) VALUES (2001)")
    gone, _ = commit(world, "DELETE FROM numbered")
    archive_wal(world)
    target = RecoveryTarget("xid", str(gone), inclusive=False)
    report = verified_to(world, target)
    assert report.verdict is Verdict.PASS, complaints(report)
    assert report.recovery is not None
    assert report.recovery.target == target.argument()
    assert status(report, "recovery").status is Status.PASSED


@pytest.mark.parametrize("checkpoint", [False, True], ids=["alone", "and a checkpoint"])
def test_only_rollbacks_between_a_moment_and_the_next_commit(
    physical_world: World, *, checkpoint: bool
) -> None:
    """PostgreSQL stops at them: where everything is compared must not lie behind."""
    world = physical_world
    world.backup()
    [(moment,)] = world.cluster.query("postgres", "SELECT clock_timestamp()::text")
    with world.cluster.connect("app", autocommit=False) as connection:
        connection.execute("DELETE FROM numbered")
        connection.rollback()
    if checkpoint:
        world.execute("CHECKPOINT")
    commit(world, "DELETE FROM numbered WHERE id > 10")
    archive_wal(world)
    report = verified_to(world, RecoveryTarget("time", to_iso(from_iso(moment))))
    assert report.verdict is Verdict.PASS, complaints(report)
    assert status(report, "fingerprint").status is Status.PASSED
    assert report.recovery is not None
    assert report.recovery.last_commit is None or report.recovery.last_commit <= from_iso(moment)


def test_a_backup_from_before_the_window_is_proven_with_its_own_wal_alone(physical_world: World) -> None:
    """All behind it up to the window has expired, as it is meant to. In the window it would be lost."""
    world = physical_world
    backups = []
    for number in range(3):
        backups.append(world.backup().backup_id)
        time.sleep(1.1)
        archive_wal(world)
        commit(world, f"INSERT INTO numbered (id) VALUES ({2000 + number})")
        archive_wal(world)
    expired = world.settings.retention.model_copy(update={"pitr_window": timedelta(seconds=1)})
    first, second = (needed(world, backup_id) for backup_id in backups[:2])
    for path in (world.folder("near") / "wal").rglob("0*"):
        if max(first) < path.name[:24] < min(second):
            path.unlink()
    settings = world.settings.model_copy(update={"retention": expired})
    report = world.verify("near", backups[0], settings=settings)
    assert report.verdict is Verdict.PASS, complaints(report)
    found = status(report, "wal-continuity")
    assert found.status is Status.NOT_APPLICABLE
    assert "pitr_window" in found.observed
    assert "WAL segment" in complaints(world.verify("near", backups[0]))


def needed(world: World, backup_id: str) -> list[str]:
    """The WAL segments that a backup brought."""
    path = world.folder("near") / "backups" / backup_id / "manifest.json"
    return [each["name"] for each in json.loads(path.read_bytes())["physical"]["wal"]]


def test_a_target_that_no_backup_leads_to_names_the_range(physical_world: World) -> None:
    world = physical_world
    [(before,)] = world.cluster.query("app", "SELECT (now() - interval '1 hour')::text")
    world.backup()
    archive_wal(world)
    with pytest.raises(UsageError, match="lies before the end of the oldest backup") as caught:
        verified_to(world, RecoveryTarget("time", before))
    assert caught.value.exit_code == 64
    assert re.search("near can recover from .* to about ", caught.value.hint)


def restore_point(world: World, name: str, number: int) -> None:
    """A row, and a restore point behind it; all of it archived."""
    commit(world, f"INSERT INTO numbered (id) VALUES ({number})")
    world.cluster.query("app", f"SELECT pg_create_restore_point('{name}')")
    archive_wal(world)


@pytest.mark.all
def test_a_restore_point_before_the_newest_backup_is_reached_from_the_one_before_it(
    physical_world: World, place: Path
) -> None:
    world = physical_world
    backups = []
    for number, name in enumerate(("early", "twice", "twice", "late")):
        backups.append(world.backup().backup_id)
        restore_point(world, name, 2001 + number)
    for name, backup_id in (("early", backups[0]), ("twice", backups[2]), ("late", backups[3])):
        report = verified_to(world, RecoveryTarget("name", name))
        assert report.verdict is Verdict.PASS, complaints(report)
        assert report.backup_id == backup_id
    words = ("--into", f"{place}/restored", "--to", "name:early", "--json")
    said = json.loads(pra(world, "restore", "db", *words, code=0, timeout=200).stdout)
    assert said["chain"] == backups[:1]
    with Standing(world.cluster, place / "restored").started() as connection:
        assert connection.execute("SELECT max(id) FROM numbered").fetchone() == (2001,)


def test_a_target_that_is_not_in_the_wal_is_no_fault_of_a_good_backup(physical_world: World) -> None:
    """Nothing is recorded against it; the answer says what can be had."""
    world = physical_world
    first = world.backup().backup_id
    restore_point(world, "early", 2001)
    second = world.backup().backup_id
    archive_wal(world)

    def refused(target: RecoveryTarget, which: str = "newest") -> UsageError:
        with world.context() as context, pytest.raises(UsageError) as caught:
            verify.run(context, Checks(), which=which, repository="near", target=target)
        assert not list((world.folder("near") / "evidence").glob("*.json"))
        return caught.value

    error = refused(RecoveryTarget("name", "nowhere"))
    assert "restore point nowhere is nowhere in the WAL of near" in error.message
    assert re.search("near can recover from .* to about ", error.hint)
    assert f"behind {second}" in refused(RecoveryTarget("name", "early"), second).message
    assert first not in refused(RecoveryTarget("name", "early"), second).message
    error = refused(RecoveryTarget("xid", "4000000"))
    assert "the WAL ended before transaction 4000000" in error.message
    assert "pra windows" in error.hint
    with world.context() as context:
        verified = verify.run(context, Checks(), which=first, repository="near",
                              target=RecoveryTarget("name", "early"))  # fmt: skip
    assert verified.verdict is Verdict.PASS, complaints(verified)


def test_a_promoted_server_is_followed_to_the_end_of_its_new_timeline(physical_world: World) -> None:
    world = physical_world
    world.backup()
    promote(world.cluster)
    commit(world, "INSERT INTO numbered (id, note) VALUES (5001, 'on timeline 2')")
    archive_wal(world)
    report = world.verify()
    assert report.verdict is Verdict.PASS, complaints(report)
    assert report.recovery is not None
    assert report.recovery.timeline == 2


def verified_to(world: World, target: RecoveryTarget) -> VerifyReport:
    with world.context() as context:
        return verify.run(context, Checks(), repository="near", target=target)


def test_damaged_wal_is_not_taken_for_a_quiet_time(
    physical_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment whose bytes end early and whose hash fits: for PostgreSQL the WAL ends there.

    Up to the target all WAL is known to have come, so its end would be the target's state.
    """
    world = physical_world
    world.backup()
    commit(world, "INSERT INTO numbered (id) VALUES (2001)")
    [(torn,)] = world.cluster.query("app", "SELECT pg_current_wal_insert_lsn()::text")
    commit(world, "INSERT INTO numbered (id) VALUES (2002)")
    archive_wal(world)
    _, moment = commit(world, "INSERT INTO numbered (id) VALUES (2003)")
    archive_wal(world)
    known = world.clock()
    monkeypatch.setattr(planning, "look_at_stream", lambda *_: Streaming(known, alive=True))
    target = RecoveryTarget("time", to_iso(from_iso(moment)))
    report = verified_to(world, target)
    assert report.verdict is Verdict.PASS, complaints(report)

    name = segment_name(1, parse_lsn(torn))
    data = (world.cluster.pgdata / "pg_wal" / name).read_bytes()[: parse_lsn(torn) % SEGMENT_BYTES]
    put_segment(world, "near", name, data.ljust(SEGMENT_BYTES, b"\0"))
    report = verified_to(world, target)
    assert report.verdict is Verdict.FAIL
    assert "before the WAL in near does" in complaints(report)


def put_segment(world: World, repository: str, name: str, data: bytes) -> None:
    """Other bytes under this name, and a hash that fits them."""
    for path in (world.folder(repository) / "wal").rglob(f"{name}-*"):
        path.unlink()
    system_id = str(
        world.cluster.query("postgres", "SELECT system_identifier FROM pg_control_system()")[0][0]
    )
    with world.context() as context:
        sealed = seal_segment(
            data, name, world.home, system_id=system_id, recipients=recipients(context.settings)
        )
        ship(context.storage(repository), "db", sealed, retain_until=None)
        sealed.path.unlink()
