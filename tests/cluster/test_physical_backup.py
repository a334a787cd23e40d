"""Physical backups: what a base backup and its increments are made of, where they land, what they cost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from pra import leases
from pra.engines import lineage
from pra.engines.configuration import Configuration
from pra.layout import manifest_key, object_key
from pra.manifest import Manifest
from pra.model import PublishResult
from pra.procedures import inventory, publishing
from pra.procedures.backup import BackupReport
from pra.settings_model import Physical
from pra.storage.pipe import unseal
from pra.wal.archive import missing_exact, read_archive
from tests import fix_faults as after
from tests.fix_cluster import Cluster
from tests.fix_physical import MakePhysical, world_of
from tests.fix_world import MakeWorld, World, later

REPOSITORIES = ("near", "far")


def policy(**fields: Any) -> dict[str, Any]:
    """A target whose physical section says this; a fast checkpoint unless told otherwise."""
    return {"physical": Physical(**{"checkpoint": "fast", **fields})}


def manifest_of(world: World, backup_id: str, repository: str = "near") -> Manifest:
    with world.context() as context:
        return context.catalog(repository).load(backup_id)


def plain(world: World, backup_id: str, name: str, repository: str = "near") -> bytes:
    """The plaintext of one object."""
    stored = manifest_of(world, backup_id, repository).object(name)
    identity = (world.home / "state" / "keys" / "identity.txt").read_text()
    found = [line for line in identity.splitlines() if line.startswith("AGE-SECRET-KEY-")]
    with (
        after.storage(world, repository).open(object_key("db", backup_id, name)) as source,
        unseal(source, stored, identities=found) as stream,
    ):
        return stream.read()


def names_in(world: World, backup_id: str, prefix: str) -> list[str]:
    """Members of the volumes whose object names begin like this."""
    found: list[str] = []
    for stored in manifest_of(world, backup_id).objects:
        if stored.name.startswith(prefix):
            with tarfile.open(fileobj=BytesIO(plain(world, backup_id, stored.name))) as volume:
                found += volume.getnames()
    return found


def demand_wal(world: World) -> None:
    """Every repository that lists a backup has each WAL segment, and each parent, that it names."""
    with world.context() as context:
        for name in REPOSITORIES:
            listed = context.catalog(name).backups()
            here = {entry.backup_id for entry in listed}
            for entry in listed:
                assert entry.manifest is not None
                assert entry.manifest.physical is not None
                assert set(entry.manifest.parents) <= here
                wanted = [(segment.name, segment.sha256) for segment in entry.manifest.physical.wal]
                system_id = entry.manifest.server.system_identifier
                assert missing_exact(read_archive(context.storage(name), "db", system_id), wanted) == ()


def result_of(report: BackupReport, repository: str) -> PublishResult:
    return next(each for each in report.repositories if each.name == repository)


def change_rows(world: World, number: int) -> None:
    world.execute(
        "UPDATE numbered SET note = 'changed' WHERE id % 10 = 0",
        f"INSERT INTO numbered (id) SELECT n FROM generate_series({number}, {number + 99}) AS n",
    )


@pytest.mark.parametrize("major", [18, pytest.param(17, marks=pytest.mark.all)])
def test_an_incremental_backup_stands_upon_the_newest_and_holds_what_changed(
    major: int, make_physical: MakePhysical, make_world: MakeWorld
) -> None:
    world = world_of(make_physical(major), make_world)
    world.execute("CREATE TABLE large AS SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 30000) g")
    full = world.backup()
    assert (full.kind, full.parents, full.full_reason) == ("full", (), "it is the first")
    chain = [full.backup_id]
    for number in (2000, 3000):
        change_rows(world, number)
        report = world.backup()
        assert report.ok, report.repositories
        assert (report.kind, report.parents) == ("incremental", tuple(chain))
        assert report.bytes < full.bytes / 5
        chain.append(report.backup_id)
    after.demand_whole(world)
    demand_wal(world)
    after.demand_clean_state(world)
    newest = manifest_of(world, chain[-1])
    assert newest.physical is not None
    assert newest.fingerprint.rows == 30000 + 1000 + 200
    assert newest.physical.start < newest.physical.stop
    assert [name for name in names_in(world, chain[-1], "base-") if name.startswith("pg_wal/0")] == []
    assert "backup_manifest" in names_in(world, chain[-1], "base-")
    assert world.cluster.query("app", "SELECT count(*) FROM pg_replication_slots") == [(0,)]


def test_before_17_every_backup_is_a_full_one(make_physical: MakePhysical, make_world: MakeWorld) -> None:
    world = world_of(make_physical(15), make_world)
    assert world.backup().full_reason == "PostgreSQL 15 takes no incremental backups"
    again = world.backup()
    assert (again.kind, again.parents) == ("full", ())
    assert again.ok
    demand_wal(world)


def test_an_increment_costs_the_server_what_changed(physical_world: World) -> None:
    """By the kernel's count of what the server's processes read, the postmaster's ended children included."""
    world = physical_world
    world.execute(
        "CREATE TABLE large AS SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 90000) g",
        "VACUUM FREEZE large",  # else the first reading would set hint bits, which changes every page
    )
    before = bytes_read(world.cluster)
    full = world.backup(target=policy(digest_every=timedelta(hours=1)))
    middle = bytes_read(world.cluster)
    change_rows(world, 2000)
    world.cluster.execute("app", "CHECKPOINT")
    start = bytes_read(world.cluster)
    report = world.backup(target=policy(digest_every=timedelta(hours=1)))
    assert (report.kind, full.kind) == ("incremental", "full")
    spent = bytes_read(world.cluster) - start
    size = world.cluster.query("app", "SELECT pg_database_size('app')")[0][0]
    assert middle - before > size
    spent -= 16 << 20  # the WAL segment that comes along
    assert spent < size / 5, f"{spent >> 20} of {size >> 20} MiB read for a hundred rows"


def bytes_read(cluster: Cluster) -> int:
    """By the postmaster and those of its children that have ended; a walsender ends with its connection."""
    time.sleep(0.3)
    assert cluster.process is not None
    words = Path(f"/proc/{cluster.process.pid}/io").read_text().split()
    return int(words[words.index("rchar:") + 1])


def test_a_digest_of_contents_is_taken_as_often_as_was_asked(physical_world: World) -> None:
    world = physical_world
    every = policy(digest_every=timedelta(hours=6))
    first, second = world.backup(target=every), world.backup(target=every)
    third = world.backup(target=every, clock=later(7))
    found = [manifest_of(world, report.backup_id) for report in (first, second, third)]
    assert [each.fingerprint.depth for each in found] == ["digest", "none", "digest"]
    assert [each.fingerprint.rows for each in found] == [1000, 0, 1000]
    assert plain(world, second.backup_id, "fingerprint.json.zst.age")


def test_a_full_backup_is_taken_when_asked_for_when_due_and_when_the_chain_is_long(
    physical_world: World,
) -> None:
    world = physical_world
    world.backup()
    short = policy(longest_chain=2)
    reports = [world.backup(target=short) for _ in range(3)]
    assert [report.kind for report in reports] == ["incremental", "incremental", "full"]
    assert reports[-1].full_reason == "the chain has 2 incremental backups, and may have 2"
    assert world.backup(full=True).full_reason == "asked for"
    due = world.backup(clock=later(25))
    assert due.full_reason.startswith("the last full backup is 1 d")


# -- several repositories ------------------------------------------------------------------------


def test_a_repository_that_was_away_gets_the_parents_first(physical_world: World) -> None:
    world = physical_world
    first = world.backup()
    set_aside(world, "far")
    change_rows(world, 2000)
    second = world.backup()
    assert [(each.name, each.ok) for each in second.repositories] == [("near", True), ("far", False)]
    bring_back(world, "far")
    change_rows(world, 3000)
    third = world.backup()
    assert third.ok, third.repositories
    assert third.parents == (first.backup_id, second.backup_id)
    for name in REPOSITORIES:
        assert after.committed(world, name) == {*third.parents, third.backup_id}
    after.demand_whole(world)
    demand_wal(world)
    after.demand_clean_state(world)


def test_a_repository_that_cannot_get_a_parent_fails_alone_and_says_what_helps(physical_world: World) -> None:
    world = physical_world
    first = world.backup()
    shutil.rmtree(world.folder("far"))
    volume = next(path for path in world.objects("near", first.backup_id) if path.name.startswith("base-"))
    kept = volume.read_bytes()
    volume.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    report = world.backup()
    assert report.kind == "incremental"
    assert [(each.name, each.ok) for each in report.repositories] == [("near", True), ("far", False)]
    far = result_of(report, "far")
    assert f"the parent {first.backup_id} is missing in far and could not be copied (near: " in far.error
    assert far.hint == "Take a full backup: pra backup db --full"
    assert after.committed(world, "far") == set()
    volume.write_bytes(kept)
    assert world.backup(full=True).ok
    demand_wal(world)


def test_a_backup_that_others_have_is_copied_with_its_wal(physical_world: World) -> None:
    world = physical_world
    world.backup()
    world.backup()
    shutil.rmtree(world.folder("far"))
    report = world.backup(full=True)
    assert set(report.caught_up) == set(after.committed(world, "near")) - {report.backup_id}
    demand_wal(world)


def test_nobody_may_remove_a_parent_while_an_increment_is_being_published(
    physical_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = physical_world
    first = world.backup()
    seen: dict[str, set[str]] = {}
    put = publishing._Publisher.put

    def watched(self: publishing._Publisher, backup_id: str, *rest: Any) -> None:
        with world.context() as context:
            found = leases.live(context.storage(self.repository), "db", context.clock())
        seen.setdefault(self.repository, set()).update(*(lease.covers for lease in found))
        put(self, backup_id, *rest)

    monkeypatch.setattr(publishing._Publisher, "put", watched)
    report = world.backup()
    assert seen == {name: {first.backup_id, report.backup_id} for name in REPOSITORIES}


def test_a_manifest_lands_only_where_its_wal_is(physical_world: World) -> None:
    world = physical_world
    report = world.backup()
    manifest = manifest_of(world, report.backup_id)
    assert manifest.physical is not None
    with world.context() as context:
        catalog = context.catalog("far")
        data = catalog.manifest_bytes(report.backup_id)
        context.storage("far").delete(manifest_key("db", report.backup_id))
        archive = read_archive(context.storage("far"), "db", manifest.server.system_identifier)
        (segment,) = manifest.physical.wal
        context.storage("far").delete(archive.segments[segment.name][0].key)
        with pytest.raises(Exception, match=f"needs WAL segment {segment.name}, not in far"):
            catalog.commit(data, manifest)
        assert catalog.committed() == set()


def set_aside(world: World, repository: str) -> None:
    """A file where its directory should be: even root cannot write there."""
    (world.home / repository).rename(world.home / f"{repository}.aside")
    (world.home / repository).write_text("not a directory")


def bring_back(world: World, repository: str) -> None:
    (world.home / repository).unlink()
    (world.home / f"{repository}.aside").rename(world.home / repository)


# -- what comes along ----------------------------------------------------------------------------


def test_configuration_and_lineage_come_along(physical_world: World) -> None:
    world = physical_world
    report = world.backup()
    manifest = manifest_of(world, report.backup_id)
    configured = Configuration.from_json(
        json.loads(plain(world, report.backup_id, "configuration.json.zst.age"))
    )
    assert configured.setting("work_mem") is None  # nobody changed it
    assert configured.setting("shared_buffers") == "64MB"
    assert configured.file("pg_hba.conf") == (world.cluster.pgdata / "pg_hba.conf").read_text()
    assert [rule.method for rule in configured.hba][:2] == ["trust", "trust"]
    facts = lineage.read_backup_manifest(plain(world, report.backup_id, "lineage.zst"))
    assert manifest.physical is not None
    assert (facts.start, facts.stop) == (manifest.physical.start, manifest.physical.stop)
    assert set(manifest.physical.databases) == {"app", "postgres", "template1"}


def test_tablespaces_go_through_the_private_spool_and_leave_nothing_in_it(
    make_physical: MakePhysical, make_world: MakeWorld
) -> None:
    server = make_physical(18)
    world = world_of(server, make_world)
    place = server.directory / "elsewhere"
    place.mkdir()
    if server.account:
        shutil.chown(place, server.account)
    world.execute(
        f"CREATE TABLESPACE elsewhere LOCATION '{place}'",
        "CREATE TABLE far_away TABLESPACE elsewhere AS SELECT g FROM generate_series(1, 5000) g",
    )
    full = world.backup()
    world.execute("INSERT INTO far_away SELECT 1")
    report = world.backup()
    assert (full.kind, report.kind) == ("full", "incremental")
    oid = server.query("app", "SELECT oid FROM pg_tablespace WHERE spcname = 'elsewhere'")[0][0]
    for each in (full, report):
        manifest = manifest_of(world, each.backup_id)
        assert manifest.physical is not None
        assert [(t.oid, t.location) for t in manifest.physical.tablespaces] == [(oid, str(place))]
        volumes = [stored.name for stored in manifest.objects if stored.name.startswith("tblspc")]
        assert volumes == [f"tblspc-{oid}-0001.tar.zst.age"]
        assert any(name.startswith("PG_18_") for name in names_in(world, each.backup_id, "tblspc-"))
        assert "backup_manifest" in names_in(world, each.backup_id, "base-")
    assert any("INCREMENTAL." in name for name in names_in(world, report.backup_id, "tblspc-"))
    demand_wal(world)
    after.demand_clean_state(world)


def test_the_listing_knows_engine_and_chain(physical_world: World) -> None:
    world = physical_world
    full, more = world.backup(), world.backup()
    with world.context() as context:
        rows = inventory.take_stock(context).rows
    assert [(row.backup_id, row.engine, row.kind, row.parents) for row in rows] == [
        (more.backup_id, "physical", "incremental", (full.backup_id,)),
        (full.backup_id, "physical", "full", ()),
    ]


# -- the server goes away ------------------------------------------------------------------------


def slow_backup(world: World, reports: list[BackupReport]) -> threading.Thread:
    """A backup that takes some seconds to read."""
    thread = threading.Thread(
        target=lambda: reports.append(world.backup(target=policy(max_rate=6 << 20, volume_bytes=1 << 20)))
    )
    thread.start()
    return thread


def published_id(world: World) -> str:
    """The id of a backup whose first volume has just arrived."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for path in world.folder("near").glob("backups/*/objects/base-*"):
            if not path.name.startswith("."):
                return path.parents[1].name
        time.sleep(0.002)
    raise AssertionError("nothing was published")


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(signal.SIGINT, id="restarted", marks=pytest.mark.all),
        pytest.param(signal.SIGKILL, id="killed"),
    ],
)
def test_a_server_that_goes_away_is_read_again_under_a_new_id(
    physical_world: World, how: signal.Signals
) -> None:
    world = physical_world
    reports: list[BackupReport] = []
    thread = slow_backup(world, reports)
    first = published_id(world)
    world.cluster.restart(how)
    thread.join(60)
    (report,) = reports
    assert report.ok
    assert report.backup_id != first
    for repository in REPOSITORIES:
        assert after.committed(world, repository) == {report.backup_id}
        assert [key for key in after.keys(world, repository) if first in key] == []
    demand_wal(world)
    after.demand_clean_state(world)


def test_a_server_promoted_meanwhile_takes_a_full_backup_on_its_new_timeline(physical_world: World) -> None:
    world = physical_world
    world.backup()
    world.cluster.stop()
    (world.cluster.pgdata / "standby.signal").touch()
    world.cluster.start()
    with pytest.raises(Exception, match="the server is a standby"):
        world.backup()
    world.cluster.execute("postgres", "SELECT pg_promote()")
    report = world.backup()
    assert report.full_reason == "the server is on timeline 2, the backup before on 1"
    manifest = manifest_of(world, report.backup_id)
    assert manifest.physical is not None
    assert manifest.physical.timeline == 2
    for name in REPOSITORIES:
        with world.context() as context:
            archive = read_archive(context.storage(name), "db", manifest.server.system_identifier)
        assert list(archive.histories) == [2]
    assert world.backup().kind == "incremental"
    demand_wal(world)


# -- killed --------------------------------------------------------------------------------------


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("signum", "stride"),
    [
        pytest.param(signal.SIGKILL, 7, id="killed at every seventh step"),
        pytest.param(signal.SIGTERM, 9, id="stopped at every ninth step", marks=pytest.mark.all),
        pytest.param(signal.SIGKILL, 1, id="killed at every step", marks=pytest.mark.all),
    ],
)
def test_ended_at_any_step_it_leaves_no_half_backup_and_nothing_in_the_way(
    physical_world: World, tmp_path: Path, signum: signal.Signals, stride: int
) -> None:
    """From a repository that holds a full backup, so that it is an increment that is ended."""
    world = physical_world
    world.backup()
    begin = after.Snapshot(world, tmp_path)
    begin.save()
    with after.nursery(world) as nursery:
        for at in range(1, 1000, stride):
            begin.restore()
            died = nursery.backup(("phases", "near"), at, signum)
            if died.step is None:
                assert died.ended == 0
                assert at > 20
                return
            try:
                after.demand_whole(world)
                demand_wal(world)
                after.demand_quiet_server(world)
                assert world.cluster.query("app", "SELECT count(*) FROM pg_replication_slots") == [(0,)]
                again = world.backup()
                assert again.ok, again.repositories
                demand_wal(world)
                after.demand_clean_state(world)
            except BaseException as error:
                error.add_note(f"after being ended {died.step}")
                raise


def test_killed_amid_the_copy_no_tool_lives_on(physical_world: World) -> None:
    world = physical_world
    config = world.home / "pra.toml"
    config.write_text(
        config.read_text().replace('checkpoint = "fast"', 'checkpoint = "fast"\nmax_rate = "1MB"')
    )
    backup = subprocess.Popen(
        [sys.executable, "-m", "deployments.cli", "backup"], env=os.environ | world.environment
    )
    try:
        deadline = time.monotonic() + 30
        while not after.dump_tools(world):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        backup.kill()
        backup.wait(10)
        after.demand_quiet_server(world)
    finally:
        backup.kill()
