"""``pra restore`` of base backups: the real thing, on the command line, and what it leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fix_archive import archive_wal, commit, tablespace_folder
from tests.fix_cluster import Cluster
from tests.fix_physical import SETTINGS, SUMMARIES, bindir_of, world_of
from tests.fix_recovery import Standing
from tests.fix_stream import pra
from tests.fix_world import MakeWorld, World


@dataclass
class Past:
    """A server with a tablespace, a full and an incremental backup, and five rows behind them."""

    world: World
    tablespace: Path
    backups: tuple[str, str] = ("", "")
    xids: list[int] = field(default_factory=list)
    moments: list[str] = field(default_factory=list)

    def restore(self, place: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
        moved = ("--tablespace", f"{self.tablespace}={place}/aside")
        words = ("--into", str(place / "restored"), "--repository", "near", *moved, *arguments)
        done = pra(self.world, "restore", "db", *words, "--json", code=code, timeout=200)
        document: dict[str, Any] = json.loads(done.stdout)
        return document


@pytest.fixture(scope="module")
def past(world_maker: MakeWorld) -> Iterator[Past]:
    server = Cluster(bindir_of(18), settings=SETTINGS + SUMMARIES)
    try:
        server.start()
        world = world_of(server, world_maker)
        found = Past(world, tablespace_folder(world, "aside"))
        server.execute("postgres", f"CREATE TABLESPACE aside LOCATION '{found.tablespace}'")
        world.execute("CREATE TABLE apart TABLESPACE aside AS SELECT generate_series(1, 3000) AS n")
        full = world.backup().backup_id
        world.execute("UPDATE apart SET n = -n WHERE n % 100 = 0")
        found.backups = (full, world.backup().backup_id)
        for number in range(2001, 2006):
            xid, moment = commit(world, f"INSERT INTO numbered (id, note) VALUES ({number}, 'behind it')")
            found.xids.append(xid)
            found.moments.append(moment)
            time.sleep(0.02)
        server.query("app", "SELECT pg_create_restore_point('before-release')")
        archive_wal(world)
        commit(world, "DELETE FROM numbered WHERE id > 1000")
        archive_wal(world)
        yield found
    finally:
        server.remove()


def stored(world: World) -> list[str]:
    """Everything in both repositories but the record and who is busy there."""
    return sorted(
        str(path.relative_to(world.home))
        for name in ("near", "far")
        for path in (world.home / name).rglob("*")
        if path.is_file() and not {"evidence", "leases"} & set(path.parts)
    )


TARGETS = [
    # what is given as --to, further arguments, rows behind the backup
    pytest.param(lambda p: p.moments[2], (), 3, id="a time"),
    pytest.param(lambda p: f"xid:{p.xids[3]}", (), 4, id="a transaction"),
    pytest.param(lambda p: f"xid:{p.xids[3]}", ("--exclusive",), 3, id="just before a transaction"),
    pytest.param(lambda _: "name:before-release", (), 5, id="a restore point"),
    pytest.param(lambda _: "latest", (), 0, id="the end"),
]


@pytest.mark.parametrize(("to", "more", "rows"), TARGETS)
def test_it_starts_by_itself_with_the_rows_of_that_moment(
    past: Past, place: Path, to: Any, more: tuple[str, ...], rows: int
) -> None:
    """On a timeline of its own, its tablespace in its new place, and in nobody's way."""
    before = stored(past.world)
    said = past.restore(place, "--to", to(past), *more)
    assert said["verdict"] == "PASS"
    assert said["chain"] == list(past.backups)
    with Standing(past.world.cluster, place / "restored").started() as connection:
        row = connection.execute("SELECT count(*) FROM numbered WHERE id > 1000").fetchone()
        assert row == (rows,)
        row = connection.execute("SELECT count(*), count(*) FILTER (WHERE n < 0) FROM apart").fetchone()
        assert row == (3000, 30)
        found = dict(
            connection.execute(
                "SELECT name, setting FROM pg_settings WHERE name IN ('archive_mode', 'primary_conninfo', "
                "'restore_command', 'recovery_target_time')"
            ).fetchall()
        )
        assert found == {
            "archive_mode": "off", "primary_conninfo": "", "restore_command": "", "recovery_target_time": "",
        }  # fmt: skip
        assert connection.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)
        location = "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'aside'"
        assert connection.execute(location).fetchone() == (f"{place}/aside",)
        switched = "SELECT timeline_id FROM pg_control_checkpoint()"
        assert connection.execute(switched).fetchone() == (2,)
    assert stored(past.world) == before, "a restored server wrote into the real archive"
    assert sorted(path.name for path in place.iterdir()) == ["aside", "restored", "restored.log"]


def test_the_plan_says_everything_and_touches_nothing(past: Past, place: Path) -> None:
    said = past.restore(place, "--to", past.moments[2], "--dry-run")
    assert said["schema"] == "pra/physical-restore-plan/1"
    assert said["chain"] == list(past.backups)
    assert said["wal"]["segments"] >= 1
    assert said["tablespaces"] == [{"location": str(past.tablespace), "into": f"{place}/aside"}]
    assert said["loses_seconds"] > 0
    assert said["lost_after"] == said["to_utc"]
    assert list(place.iterdir()) == []
    words = pra(past.world, "restore", "db", "--into", f"{place}/restored", "--to", past.moments[2],
                "--dry-run", code=64).stdout  # fmt: skip
    assert f"Full backup: {past.backups[0]}" in words
    assert f"Incremental backup: {past.backups[1]}" in words
    assert f"Tablespace {past.tablespace} goes to ?" in words


OLDEST = "2001-01-01 00:00:00+00"
BAD = [
    # arguments, exit code, the complaint
    pytest.param(("--to", OLDEST), 64, "lies before the end of the oldest backup", id="before the oldest"),
    pytest.param(("--to", "lsn:FF/0"), 64, "lies behind", id="behind the last WAL"),
    pytest.param(("--to", "xid:4000000000"), 1, "the WAL ended before", id="no such transaction"),
    pytest.param(("--to", "name:nobody-made-it"), 64, "is nowhere in the WAL", id="no such restore point"),
    pytest.param(("--to", "yesterday noon"), 64, "not a recovery target: 'yesterday noon'", id="no moment"),
    pytest.param(("--backup", "20200101T000000Z-full-0000"), 64, "no backup", id="no such backup"),
]


@pytest.mark.parametrize(("arguments", "code", "says"), BAD)
def test_what_cannot_be_reached_says_so_and_leaves_nothing(
    past: Past, place: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    error = past.restore(place, *arguments, code=code)["error"]
    assert says in error["message"]
    assert error["hint"]
    assert list(place.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(past: Past, place: Path) -> None:
    (place / "restored").mkdir()
    (place / "restored" / "mine").write_text("keep me")
    said = past.restore(place, code=64)
    assert "not empty" in said["error"]["message"]
    assert (place / "restored" / "mine").read_text() == "keep me"


def test_a_tablespace_needs_a_place_of_its_own(past: Past, place: Path) -> None:
    """Where production's still is, a copy must never go."""
    words = ("--into", f"{place}/restored", "--json")
    error = json.loads(pra(past.world, "restore", "db", *words, code=64).stdout)["error"]
    assert "tablespace" in error["message"]
    assert f"--tablespace {past.tablespace}=" in error["hint"]
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("where", ["an object", "the WAL"])
def test_damage_leaves_neither_half_a_server_nor_a_tablespace(past: Past, place: Path, where: str) -> None:
    near = past.world.folder("near")
    kept = past.world.home / "kept"
    shutil.copytree(near, kept)
    try:
        if where == "an object":
            victim = next((near / "backups" / past.backups[0] / "objects").glob("base-*"))
        else:
            victim = max((near / "wal").rglob("0*.zst.age"))
        data = bytearray(victim.read_bytes())
        data[len(data) // 2] ^= 1
        victim.unlink()
        victim.write_bytes(data)
        said = past.restore(place, code=1)
        assert victim.name.split("-")[0] in said["error"]["message"]
        assert list(place.iterdir()) == []
    finally:
        shutil.rmtree(near)
        kept.rename(near)


def test_a_killed_restore_is_no_server_and_the_next_one_clears_up(past: Past, place: Path) -> None:
    words = ("--into", f"{place}/restored", "--tablespace", f"{past.tablespace}={place}/aside")
    process = subprocess.Popen(
        [sys.executable, "-m", "deployments.cli", "restore", "db", *words],
        env=os.environ | past.world.environment, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(place.glob(".restored.pra-partial-*/data/global/pg_control")):
        assert process.poll() is None, "it had ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert not (place / "restored").exists()
    shutil.rmtree(place / "aside", ignore_errors=True)
    assert past.restore(place)["verdict"] == "PASS"
    assert list(place.glob(".restored*")) == []


def test_tables_come_back_beside_the_live_ones_as_they_were(past: Past) -> None:
    live = past.world.cluster.dsn("app")
    words = ("--into", live, "--table", "numbered", "--to", past.moments[2], "--json")
    said = json.loads(pra(past.world, "restore", "db", *words, code=0, timeout=200).stdout)
    schema = said["tables_schema"]
    try:
        assert said["verdict"] == "PASS"
        found = past.world.cluster.query("app", f"SELECT count(*) FROM {schema}.numbered WHERE id > 1000")
        assert found == [(3,)]
        assert past.world.cluster.query("app", "SELECT count(*) FROM numbered WHERE id > 1000") == [(0,)]
    finally:
        past.world.execute(f"DROP SCHEMA {schema} CASCADE")


def test_tables_come_back_out_of_a_backup_without_a_digest(physical_world: World) -> None:
    """It says nothing about their rows, which is no fault of the tables."""
    world = physical_world
    physical = {"checkpoint": "fast", "digest_every": timedelta(days=1)}
    target = {"physical": world.settings.target(None).physical.model_copy(update=physical)}
    world.backup(target=target)
    world.backup(target=target)
    archive_wal(world)
    words = ("--into", world.cluster.dsn("app"), "--table", "numbered", "--json")
    said = json.loads(pra(world, "restore", "db", *words, code=2, timeout=200).stdout)
    assert said["verdict"] == "PARTIAL"
    found = {check["name"]: check for check in said["checks"]}
    assert found["tables saved"]["status"] == "skipped"
    assert "digest_every" in found["tables saved"]["reason"]
    assert found["tables restored"]["status"] == "passed"


def break_signature(world: World, repository: str, backup_id: str) -> None:
    path = world.folder(repository) / "backups" / backup_id / "manifest.json"
    text = path.read_text()
    signature = json.loads(text)["signature"]
    path.chmod(0o600)
    path.write_text(text.replace(signature, signature[::-1]))


@pytest.mark.all
def test_a_bad_signature_stops_a_restore_unless_the_targets_name_is_typed(
    physical_world: World, place: Path
) -> None:
    """Also a parent's; and another repository, whose signatures hold, comes first in any case."""
    world = physical_world
    full, newest = world.backup().backup_id, world.backup().backup_id
    into = ("restore", "db", "--into", f"{place}/restored", "--json")
    accept = ("--accept-unverified", "db")

    def refused(*words: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(pra(world, *into, *words, code=1).stdout)
        assert list(place.iterdir()) == []
        found: dict[str, Any] = document["error"]
        return found

    break_signature(world, "near", full)
    error = refused("--repository", "near")
    assert f"{full}: manifest: the signature" in error["message"]
    assert "Do not restore from it" in error["hint"]
    assert full in refused("--repository", "near", "--backup", newest, "--to", "latest")["message"]
    for words in ((), accept):
        said = json.loads(pra(world, *into, "--dry-run", *words, code=0).stdout)
        assert said["repository"] == "far"

    for repository in ("near", "far"):
        break_signature(world, repository, newest)
    error = refused()
    assert "signature" in error["message"]
    for backup in (("--backup", newest), ()):
        words = (*backup, "--to", "immediate", *accept, "--repository", "near")
        done = pra(world, *into, *words, code=2, timeout=200)
        assert f"warning: near: {full}, {newest}: manifest: the signature" in done.stderr
        said = json.loads(done.stdout)
        assert said["verdict"] == "PARTIAL"
        [signature] = [check for check in said["checks"] if check["name"] == "signature"]
        assert signature["status"] == "skipped"
        assert f"{full}, {newest}: manifest: the signature" in signature["observed"]
        shutil.rmtree(place / "restored")
    problems = pra(world, "windows", "db", "--json", code=2).stdout
    assert f"{newest}: manifest: the signature" in problems


def test_a_whole_server_does_not_go_into_a_database(past: Past) -> None:
    words = ("--into", past.world.cluster.dsn("app"), "--json")
    error = json.loads(pra(past.world, "restore", "db", *words, code=64).stdout)["error"]
    assert "cannot go into a database" in error["message"]


def test_windows_begin_with_a_backup_and_end_with_the_wal_or_a_gap(past: Past) -> None:
    said = json.loads(pra(past.world, "windows", "db", "--json", code=0).stdout)
    by_name = {item["repository"]: item for item in said["items"]}
    assert set(by_name) == {"near", "far"}
    for item in by_name.values():
        assert item["backups"] == list(past.backups)
        assert (item["timeline"], item["end"], item["missing"]) == (1, "wal", None)
    segments = sorted((past.world.folder("far") / "wal").rglob("0*.zst.age"))
    victim, aside = segments[-2], past.world.home / "aside"
    victim.rename(aside)
    try:
        done = pra(past.world, "windows", "db", "--json", code=0)
    finally:
        aside.rename(victim)
    gaps = [item for item in json.loads(done.stdout)["items"] if item["repository"] == "far"]
    assert gaps[0]["end"] == "gap"
    assert gaps[0]["missing"] == victim.name.split("-")[0]
