"""What keeps a base backup from being taken: the exact complaint, what to do, and nothing lost."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pra.errors import ConnectError, PostgresError, PraError, RightsError, SpaceError, UsageError
from pra.storage.local import LocalStorage
from tests import fix_faults as after
from tests.fix_cluster import Cluster
from tests.fix_physical import MakePhysical, world_of
from tests.fix_world import MakeWorld, World


@pytest.fixture
def held(physical_world: World) -> Iterator[World]:
    """A world that holds a backup, which is whole afterwards."""
    world = physical_world
    first = world.backup().backup_id
    yield world
    after.demand_whole(world)
    for name in ("near", "far"):
        assert after.committed(world, name) >= {first}
    after.demand_clean_state(world)


def refused(world: World, kind: type[PraError], **changed: object) -> PraError:
    """The error of a backup that cannot be taken, which has left everything as it was."""
    before = [after.keys(world, name) for name in ("near", "far")]
    with pytest.raises(kind) as caught:
        world.backup(**changed)
    assert [after.keys(world, name) for name in ("near", "far")] == before
    after.demand_clean_state(world)
    after.demand_quiet_server(world)
    return caught.value


def as_role(world: World, role: str) -> dict[str, object]:
    return {"dsn": world.cluster.dsn("app", role)}


def restart_with(world: World, settings: str) -> None:
    world.cluster.stop()
    world.cluster.configure(settings)
    world.cluster.start()


def test_a_role_without_the_right_to_replicate(held: World) -> None:
    held.execute("CREATE ROLE weak LOGIN", "GRANT pg_read_all_data TO weak")
    error = refused(held, RightsError, target=as_role(held, "weak"))
    assert error.message == "the role weak may not replicate"
    assert error.hint == 'Run as a superuser: ALTER ROLE "weak" REPLICATION;'
    held.execute("ALTER ROLE weak REPLICATION")
    assert held.backup(target=as_role(held, "weak")).ok, "what the hint says must be enough"


def test_a_role_that_may_replicate_but_not_read(held: World) -> None:
    """Its base backup would be whole; the fingerprint that proves it could not be taken."""
    held.execute("CREATE ROLE blind LOGIN REPLICATION")
    error = refused(held, RightsError, target=as_role(held, "blind"))
    assert error.message == "no SELECT: table public.numbered"
    assert 'GRANT SELECT ON TABLE "public"."numbered" TO "blind";' in error.hint


def test_pg_hba_that_lets_no_replication_in(held: World) -> None:
    hba = held.cluster.pgdata / "pg_hba.conf"
    text = hba.read_text()
    hba.write_text("".join(line for line in text.splitlines(True) if "replication" not in line))
    held.execute("SELECT pg_reload_conf()")
    error = refused(held, ConnectError)
    assert error.message == "pg_hba.conf lets no replication connection in"
    assert error.hint == (
        "Add to the server's pg_hba.conf, then SELECT pg_reload_conf(): local replication postgres peer"
    )
    assert not error.transient
    hba.write_text(text)
    held.execute("SELECT pg_reload_conf()")
    assert held.backup().ok


def test_wal_level_minimal(held: World) -> None:
    restart_with(held, "wal_level = minimal\nmax_wal_senders = 0\nsummarize_wal = off\n")
    error = refused(held, UsageError)
    assert error.message == "wal_level is minimal: the server writes too little WAL to recover from"
    assert error.hint == (
        "Run as a superuser: ALTER SYSTEM SET wal_level = 'replica'; then restart the server."
    )
    restart_with(held, "wal_level = replica\nmax_wal_senders = 10\nsummarize_wal = on\n")
    assert held.backup().full_reason.startswith("WAL summaries are missing since 0/"), "what it never wrote"


def test_no_wal_sender(held: World) -> None:
    restart_with(held, "max_wal_senders = 1\n")
    error = refused(held, UsageError)
    assert error.message == "max_wal_senders is 1, a base backup takes 2"
    assert error.hint == "Run as a superuser: ALTER SYSTEM SET max_wal_senders = 10; then restart the server."


def test_every_wal_sender_is_taken(held: World) -> None:
    restart_with(held, "max_wal_senders = 2\n")
    with streaming(held):
        error = refused(held, PostgresError)
    assert error.message == "no WAL sender is free: 1 of 2 in use, 2 needed"
    assert "pg_stat_replication" in error.hint
    assert error.transient


def test_every_replication_slot_is_taken(held: World) -> None:
    restart_with(held, "max_replication_slots = 1\n")
    held.execute("SELECT pg_create_physical_replication_slot('other')")
    error = refused(held, PostgresError)
    assert error.message == "no replication slot is free: 1 of 1 in use, 1 needed"
    assert "SELECT slot_name, active FROM pg_replication_slots;" in error.hint
    assert error.transient


def test_summaries_that_are_off_make_it_a_full_backup_which_says_so(held: World) -> None:
    held.execute("ALTER SYSTEM SET summarize_wal = off", "SELECT pg_reload_conf()")
    report = held.backup()
    assert (report.kind, report.full_reason) == ("full", "summarize_wal is off")


def test_summaries_that_are_missing_make_it_a_full_backup_which_says_so(held: World) -> None:
    """Removed behind the server's back, and a role that may not look beforehand: the backup finds out."""
    held.execute(
        "CREATE ROLE plain LOGIN REPLICATION",
        "GRANT pg_read_all_data TO plain",
        "REVOKE EXECUTE ON FUNCTION pg_available_wal_summaries() FROM public",
    )
    held.execute("INSERT INTO numbered (id) VALUES (5000)", "CHECKPOINT")
    summaries = held.cluster.pgdata / "pg_wal" / "summaries"
    before = set(summaries.iterdir())
    held.execute("INSERT INTO numbered (id) VALUES (5001)", "CHECKPOINT")
    wait_for(lambda: len(set(summaries.iterdir()) - before) > 0)
    for path in summaries.iterdir():
        path.unlink()
    report = held.backup(target=as_role(held, "plain"))
    assert report.ok
    assert report.kind == "full"
    assert "WAL summaries are required" in report.full_reason


def test_another_server_behind_the_same_name(
    held: World, make_physical: MakePhysical, make_world: MakeWorld
) -> None:
    other = make_physical(18)
    other.createdb("app")
    error = refused(held, UsageError, target={"dsn": other.dsn("app")})
    assert error.message == "the server is not the one that earlier backups came from"
    assert "--accept-new-server" in error.hint
    report = held.backup(target={"dsn": other.dsn("app")}, accept_new_server=True)
    assert report.full_reason == "the server is another one than before"


def test_a_backup_before_the_engine_was_changed_is_no_parent(
    make_physical: MakePhysical, make_world: MakeWorld
) -> None:
    world = world_of(make_physical(18), make_world)
    assert world.backup(target={"engine": "logical"}).ok
    report = world.backup()
    assert (report.kind, report.full_reason) == ("full", "it is the first")
    assert world.backup().kind == "incremental"


def test_no_streamer_is_said_with_every_backup(held: World) -> None:
    (warning,) = held.backup().warnings
    assert warning.startswith("no streamer has ever run for db (slot pra_db)")
    assert warning.endswith("run: pra wal stream db")


def test_a_slot_nobody_reads_and_no_limit_to_what_it_keeps(held: World) -> None:
    held.execute(
        "SELECT pg_create_physical_replication_slot('pra_db', true)",
        "ALTER SYSTEM SET max_slot_wal_keep_size = -1",
        "SELECT pg_reload_conf()",
    )
    idle, unlimited = held.backup().warnings
    assert idle.startswith("no streamer is connected to slot pra_db, which keeps ")
    assert unlimited == (
        "max_slot_wal_keep_size is not set: a streamer that stays away fills the server's disk; run as a "
        "superuser: ALTER SYSTEM SET max_slot_wal_keep_size = '16GB'; SELECT pg_reload_conf();"
    )


def test_a_slot_that_is_lost(held: World) -> None:
    restart_with(held, "max_slot_wal_keep_size = 64MB\nmin_wal_size = 32MB\nmax_wal_size = 32MB\n")
    held.execute("SELECT pg_create_physical_replication_slot('pra_db', true)")
    for _ in range(9):
        held.execute("SELECT pg_switch_wal()", "CREATE TABLE t (a int)", "DROP TABLE t", "CHECKPOINT")
    (warning,) = held.backup().warnings
    assert warning.startswith("slot pra_db is lost: the server removed WAL that the streamer had not read")
    assert "SELECT pg_drop_replication_slot('pra_db');" in warning


def test_tablespaces_that_do_not_fit_into_the_spool_are_said_before_anything_is_read(
    make_physical: MakePhysical, make_world: MakeWorld, small_disk: Path
) -> None:
    server = make_physical(18)
    place = server.directory / "elsewhere"
    place.mkdir()
    if server.account:
        shutil.chown(place, server.account)
    world = world_of(server, make_world)
    world.execute(f"CREATE TABLESPACE elsewhere LOCATION '{place}'")
    world.settings = world.settings.model_copy(update={"state_dir": with_keys(world, small_disk)})
    error = refused(world, SpaceError)
    assert "the server has tablespaces, so its tar files lie there for a while" in error.message
    assert "PRA_STATE_DIR" in error.hint
    assert after.keys(world, "near") == []


def test_a_repository_that_is_full_fails_alone_and_is_not_left_full(held: World, small_disk: Path) -> None:
    far = LocalStorage("far", small_disk / "far")
    far.initialise()
    free = shutil.disk_usage(small_disk).free
    with held.context() as context:
        repositories = {**context.repositories, "far": far}
    report = held.backup(full=True, repositories=repositories)
    assert [(each.name, each.ok) for each in report.repositories] == [("near", True), ("far", False)]
    assert "no space left on device" in report.repositories[1].error
    assert shutil.disk_usage(small_disk).free >= free - 20_000


def with_keys(world: World, folder: Path) -> Path:
    state = folder / "state"
    shutil.copytree(world.home / "state", state)
    return state


def streaming(world: World) -> Streaming:
    return Streaming(world)


class Streaming:
    """Somebody else who reads the WAL, and so holds a sender."""

    def __init__(self, world: World) -> None:
        self._cluster: Cluster = world.cluster
        self._folder = world.home / "streamed"

    def __enter__(self) -> None:
        self._folder.mkdir()
        self._process = subprocess.Popen(
            [self._cluster.bindir / "pg_receivewal", "-D", self._folder, "-d", self._cluster.dsn("app")],
            env=self._cluster.environment,
        )
        wait_for(lambda: self._cluster.query("app", "SELECT 1 FROM pg_stat_replication") != [])

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(10)
        wait_for(lambda: self._cluster.query("app", "SELECT 1 FROM pg_stat_replication") == [])


def wait_for(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)
