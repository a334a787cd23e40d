"""``pra wal stream`` on real servers: nothing is lost whoever is killed, and whatever is away for a while."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pra.layout import wal_segment_key
from pra.postgres.wal import parse_lsn, segment_end
from pra.wal.shipping import streamed_until
from tests.fix_cluster import PASSWORD, Cluster
from tests.fix_physical import world_of
from tests.fix_store import a_disk
from tests.fix_stream import (
    SMALL_SEGMENTS,
    StartStreamer,
    archive_in,
    holes,
    open_repository,
    pra,
    promote,
    reached,
    read_through,
    small_server,
    wait_until,
)
from tests.fix_world import MakeWorld, World

BOTH = ("near", "far")
ALIGNMENT = 8
"""Of WAL records: zeros behind the last one are not shipped where the server cannot be asked."""
MakeStreamed = Callable[..., World]


@pytest.fixture
def streamed(make_world: MakeWorld) -> Iterator[MakeStreamed]:
    """A world on a server with segments of 1 MiB."""
    servers: list[Cluster] = []

    def make(major: int = 18, *, settings: str = "", extra: str = "", **options: Any) -> World:
        servers.append(small_server(major, settings=settings))
        servers[-1].start()
        return world_of(servers[-1], make_world, extra=extra, **options)

    yield make
    for server in servers:
        server.remove()


def write(world: World, rows: int = 500) -> int:
    """Commit rows of 600 bytes that compress badly; returns a position that has the commit before it."""
    with world.cluster.connect("app") as connection:
        connection.execute(
            "INSERT INTO numbered SELECT (SELECT max(id) FROM numbered) + n, clock_timestamp(), "
            "(SELECT string_agg(md5(n::text || k || random()), '') FROM generate_series(1, 18) k) "
            "FROM generate_series(1, %s) n",
            (rows,),
        )
        row = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    return parse_lsn(row[0])


def arrived(world: World, lsn: int, *repositories: str, timeline: int = 1, seconds: float = 30) -> None:
    """Wait until each repository leads there without a hole."""
    for name in repositories or BOTH:
        wait_until(
            lambda name=name: reached(world, name, timeline) > lsn - ALIGNMENT,  # type: ignore[misc]
            seconds=seconds,
            what=f"WAL in {name}: {archive_in(world, name).segments.keys()}",
        )


def told(world: World, code: int) -> str:
    """What ``pra wal check`` says, to people."""
    done = pra(world, "wal", "check", code=code)
    return done.stdout + done.stderr


def receivers(world: World) -> list[tuple[int, str]]:
    """pg_receivewal's processes for this world, with their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "pg_receivewal" in line and str(world.home) in line and "setpriv" not in line:
            found.append((int(path.parent.name), line))
    return found


@pytest.mark.parametrize("major", [18, pytest.param(15, marks=pytest.mark.all)])
def test_everything_committed_arrives_whoever_is_killed(
    streamed: MakeStreamed, streaming: StartStreamer, tmp_path: Path, major: int
) -> None:
    """The streamer, its receiver and the server, by SIGKILL, at moments that nobody chose."""
    world = streamed(major)
    dice = random.Random(major)
    streamer = streaming(world)
    # Before the slot is there nothing promises anything: what a slow start missed is no loss.
    wait_until(lambda: "starting log streaming" in streamer.said(), what="streaming")
    commits = 0
    for victim in ("receiver", "streamer", "server", "streamer", "receiver"):
        for _ in range(3):
            write(world)
            commits += 1
            time.sleep(dice.random())
        if victim == "streamer":
            streamer.kill()
            streamer = streaming(world)
        elif victim == "receiver":
            for pid, _ in receivers(world):
                os.kill(pid, signal.SIGKILL)
        else:
            world.cluster.stop(signal.SIGKILL)
            world.cluster.start()
    last = write(world)
    arrived(world, last)
    for name in BOTH:
        assert holes(world, name) == ()
        assert read_through(world, name, tmp_path / name) >= commits + 1
    assert archive_in(world, "near").segments.keys() == archive_in(world, "far").segments.keys()


def test_a_commit_is_there_within_seconds_and_the_repository_says_until_when(
    streamed: MakeStreamed, streaming: StartStreamer
) -> None:
    world = streamed()
    streaming(world)
    arrived(world, write(world, 1))
    for _ in range(3):
        time.sleep(0.7)
        lsn, before = write(world, 1), time.monotonic()
        arrived(world, lsn)
        assert time.monotonic() - before < 4.5
    far = open_repository(world, "far")
    moment = world.cluster.query("app", "SELECT clock_timestamp()")[0][0]
    wait_until(
        lambda: (streamed_until(far, "db") or moment) > moment, seconds=20, what="word of an idle server"
    )
    said = json.loads(pra(world, "wal", "check", "--json", code=0).stdout)
    assert [item["gaps"] for item in said["items"]] == [[], []]
    assert all(item["streaming"] and item["lag_seconds"] < 30 for item in said["items"])


def test_the_end_ships_what_was_received_and_gives_the_leases_back(
    streamed: MakeStreamed, streaming: StartStreamer
) -> None:
    world = streamed(extra='ship_every = "1h"\n')
    streamer = streaming(world)
    wait_until(lambda: "starting log streaming" in streamer.said(), what="streaming")
    last = write(world)
    time.sleep(1)
    assert reached(world, "far") < last
    assert streamer.stop() == 143
    for name in BOTH:
        assert reached(world, name) > last - ALIGNMENT
        assert streamed_until(open_repository(world, name), "db") is None
    assert receivers(world) == []
    assert "no streamer is running" in told(world, code=2)


def test_one_repository_away_holds_nobody_up_and_catches_up_in_order(
    streamed: MakeStreamed, streaming: StartStreamer, tmp_path: Path
) -> None:
    world = streamed()
    streamer = streaming(world)
    arrived(world, write(world))
    (world.home / "far").rename(world.home / "away")
    for _ in range(6):
        last = write(world, 1500)
    arrived(world, last, "near")
    streamer.kill()  # what waits for it must also outlive us
    streamer = streaming(world)
    last = write(world, 1500)
    arrived(world, last, "near")
    assert "repository far is not there" in streamer.said()
    (world.home / "away").rename(world.home / "far")
    arrived(world, last, "far", seconds=45)
    landed = [found[0] for _, found in sorted(archive_in(world, "far").segments.items())]
    assert [one.name for one in sorted(landed, key=lambda one: one.modified)] == [one.name for one in landed]
    assert holes(world, "far") == ()
    spool = next((world.home / "state" / "wal" / "db").glob("[0-9]*")) / "sealed"
    wait_until(lambda: len(list(spool.glob("wal-*"))) == 0, what=f"nothing left in {spool}")


@pytest.mark.all  # a copy that failed is tried again after a minute
def test_past_the_backlog_the_others_keep_what_one_must_fetch_later(
    streamed: MakeStreamed, streaming: StartStreamer
) -> None:
    world = streamed(extra='backlog = "3MB"\n')
    streamer = streaming(world)
    arrived(world, write(world))
    world.backup()
    (world.home / "far").rename(world.home / "away")
    for _ in range(20):
        last = write(world, 1500)
    arrived(world, last, "near")
    wait_until(lambda: "bytes of WAL were waiting for far" in streamer.said(), what="a loud error")
    spool = next((world.home / "state" / "wal" / "db").glob("[0-9]*")) / "sealed"
    assert sum(path.stat().st_size for path in spool.glob("wal-*")) < 6_000_000
    (world.home / "away").rename(world.home / "far")
    arrived(world, last, "far", seconds=100)


@pytest.mark.all
def test_when_no_repository_takes_wal_it_waits_on_the_server(
    streamed: MakeStreamed, streaming: StartStreamer
) -> None:
    world = streamed(extra='backlog = "2MB"\n')
    streamer = streaming(world)
    arrived(world, write(world))
    for name in BOTH:
        (world.home / name).rename(world.home / f"{name}-away")
    for _ in range(30):
        last = write(world, 1500)
    wait_until(lambda: "receiving stops" in streamer.said(), what="no more receiving")
    last = write(world, 1500)
    for name in BOTH:
        (world.home / f"{name}-away").rename(world.home / name)
    arrived(world, last, seconds=60)
    assert all(holes(world, name) == () for name in BOTH)


@pytest.mark.parametrize("major", [18, pytest.param(15, marks=pytest.mark.all)])
def test_a_promoted_server_is_followed_and_its_history_comes_first(
    streamed: MakeStreamed, streaming: StartStreamer, tmp_path: Path, major: int
) -> None:
    world = streamed(major)
    streaming(world)
    arrived(world, write(world))
    write(world)
    promote(world.cluster)
    last = write(world)
    arrived(world, last, timeline=2, seconds=45)
    for name in BOTH:
        archive = archive_in(world, name)
        history = archive.histories[2][0]
        own = [found[0] for segment, found in archive.segments.items() if segment.startswith("00000002")]
        own += [part for segment, part in archive.partials.items() if segment.startswith("00000002")]  # type: ignore[misc]
        assert own
        assert all(history.modified <= one.modified for one in own)
        assert holes(world, name) == ()
    assert "timelines" in pra(world, "wal", "check", "--json", code=0).stdout


@pytest.mark.all
def test_a_server_put_back_to_an_earlier_point_is_followed_from_there(
    streamed: MakeStreamed, streaming: StartStreamer
) -> None:
    """A standby that had not everything becomes the server: segments ahead of it belong to nobody."""
    world = streamed()
    server = world.cluster
    streamer = streaming(world)
    arrived(world, write(world))
    copy = server.directory / "copy"
    server.run("pg_basebackup", "-D", copy, "-X", "stream", "-c", "fast", as_account=True)
    ahead = 0
    for _ in range(6):
        ahead = write(world, 2000)
    arrived(world, ahead)
    server.stop(signal.SIGKILL)
    server.pgdata.rename(server.directory / "lost")
    copy.rename(server.pgdata)
    promote(server)
    last = write(world)
    assert last < ahead
    arrived(world, last, timeline=2, seconds=60)
    assert "following it" in streamer.said()
    for name in BOTH:
        assert holes(world, name) == ()
        assert archive_in(world, name).forked == ()


@pytest.mark.all
def test_after_a_promotion_a_new_streamer_begins_where_repositories_end_not_where_the_timeline_does(
    streamed: MakeStreamed, streaming: StartStreamer
) -> None:
    """The streamer's disk is lost and the server was promoted; it still has all WAL, and all of it comes."""
    world = streamed()
    streamer = streaming(world)
    arrived(world, write(world, 3000))
    streamer.kill()
    for _ in range(4):
        write(world, 1500)
    shutil.rmtree(world.home / "state" / "wal")
    promote(world.cluster)
    last = write(world, 1500)
    for name in BOTH:
        open_repository(world, name).delete("db/leases/wal-stream")
    streamer = streaming(world)
    arrived(world, last, timeline=2, seconds=60)
    assert all(holes(world, name) == () for name in BOTH)
    assert "removed" not in streamer.said()


def test_a_full_disk_stops_receiving_and_says_so_until_there_is_room(
    streamed: MakeStreamed, streaming: StartStreamer, tmp_path: Path
) -> None:
    world = streamed()
    with a_disk(tmp_path / "disk", 8) as disk:
        state = disk / "state"
        state.mkdir(mode=0o700)
        shutil.copytree(world.home / "state" / "keys", state / "keys")
        streamer = streaming(world, state=state)
        arrived(world, write(world))
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(disk).free - (2 << 20)))
        for _ in range(3):
            last = write(world, 3000)
        reason = re.compile("receiving stops below 3 MiB|no space left on device")
        wait_until(lambda: reason.search(streamer.said()), what="the reason")
        assert "Free space" in streamer.said()
        assert streamer.process.poll() is None
        ballast.unlink()
        arrived(world, last, seconds=60)
        streamer.kill()
    assert all(holes(world, name) == () for name in BOTH)


def test_a_second_streamer_is_refused_here_and_elsewhere(
    streamed: MakeStreamed, streaming: StartStreamer, tmp_path: Path
) -> None:
    world = streamed()
    first = streaming(world)
    arrived(world, write(world))
    second = streaming(world)
    assert second.ended() == 75
    assert "another streamer of db is running on this machine" in second.said()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    third = streaming(world, state=elsewhere)
    assert third.ended() == 75
    assert "the lease is held by" in third.said()
    arrived(world, write(world))
    assert first.process.poll() is None


@pytest.mark.all
def test_a_lost_spool_is_made_good_from_what_the_server_still_has(
    streamed: MakeStreamed, streaming: StartStreamer
) -> None:
    """The streamer's host is gone: where repositories end is where the next one begins."""
    world = streamed()
    streamer = streaming(world)
    arrived(world, write(world, 3000))
    (world.home / "far").rename(world.home / "away")
    write(world, 3000)
    time.sleep(3)
    streamer.kill()
    (world.home / "state" / "wal").rename(world.home / "gone")
    (world.home / "away").rename(world.home / "far")
    last = write(world)
    # The dead one's lease lives on for a minute where another host would have to wait for it.
    for name in BOTH:
        open_repository(world, name).delete("db/leases/wal-stream")
    streaming(world)
    arrived(world, last)
    assert all(holes(world, name) == () for name in BOTH)


@pytest.mark.all
def test_a_lost_slot_is_said_aloud_and_the_gap_found(
    streamed: MakeStreamed, streaming: StartStreamer
) -> None:
    world = streamed(settings="max_slot_wal_keep_size = 2MB\nmax_wal_size = 4MB\nmin_wal_size = 2MB\n")
    streamer = streaming(world)
    wait_until(lambda: "starting log streaming" in streamer.said(), what="streaming")
    arrived(world, write(world, 4000))
    streamer.kill()
    for _ in range(12):
        write(world, 2000)
        world.execute("CHECKPOINT")
    status = world.cluster.query("app", "SELECT wal_status FROM pg_replication_slots")[0][0]
    assert status == "lost"
    streamer = streaming(world)
    wait_until(lambda: "has lost its WAL" in streamer.said(), what="a loud error")
    assert "SELECT pg_drop_replication_slot('pra_db')" in streamer.said()
    assert streamer.process.poll() is None
    assert "has lost its WAL" in told(world, code=1)
    world.execute("SELECT pg_drop_replication_slot('pra_db')")
    wait_until(lambda: streamer.said().count("starting log streaming") == 2, what="streaming behind the gap")
    arrived_behind = write(world, 4000)
    wait_until(lambda: [gap.segments for gap in holes(world, "far")] != [], seconds=60, what="the gap")
    assert "the server removed it before it was streamed" in streamer.said()
    (gap,) = holes(world, "far")
    assert segment_end(gap.last, SMALL_SEGMENTS) <= arrived_behind
    wait_until(lambda: len(holes(world, "near")) == 1, what="the same in the other one")
    said = json.loads(pra(world, "wal", "check", "--json", code=1).stdout)
    assert all(len(item["gaps"]) == 1 for item in said["items"])
    assert "segments are missing on timeline 1" in said["critical"][0]


def test_what_is_left_is_shipped_also_when_the_server_is_gone(
    streamed: MakeStreamed, streaming: StartStreamer
) -> None:
    world = streamed(extra='ship_every = "1h"\n')
    streamer = streaming(world)
    wait_until(lambda: "starting log streaming" in streamer.said(), what="streaming")
    last = write(world, 3000)
    time.sleep(1)
    streamer.kill()
    world.cluster.stop(signal.SIGKILL)
    for name in BOTH:
        assert reached(world, name) < last
    streamer = streaming(world)
    arrived(world, last)
    assert streamer.process.poll() is None


def test_the_password_reaches_the_receiver_and_no_command_line(
    streamed: MakeStreamed, streaming: StartStreamer
) -> None:
    world = streamed()
    world.environment["PRA_TARGETS__DB__PASSWORD"] = PASSWORD
    config = Path(world.environment["PRA_CONFIG"])
    tcp = psycopg.conninfo.make_conninfo(world.cluster.dsn("app"), host="127.0.0.1")
    config.write_text(config.read_text().replace(world.cluster.dsn("app"), tcp))
    streamer = streaming(world)
    arrived(world, write(world))
    ((_, line),) = receivers(world)
    assert "host=127.0.0.1" in line
    assert PASSWORD not in line
    assert PASSWORD not in streamer.said()


def test_a_role_without_the_right_is_told_the_sql(streamed: MakeStreamed, streaming: StartStreamer) -> None:
    world = streamed()
    world.cluster.execute("app", "CREATE ROLE weak LOGIN")
    config = Path(world.environment["PRA_CONFIG"])
    config.write_text(config.read_text().replace("user=postgres", "user=weak"))
    streamer = streaming(world)
    assert streamer.ended() == 1
    assert "ALTER ROLE" in streamer.said()
    assert "weak" in streamer.said()
    assert world.cluster.query("app", "SELECT count(*) FROM pg_replication_slots")[0][0] == 0


@pytest.mark.all
def test_a_plain_replication_role_is_enough(streamed: MakeStreamed, streaming: StartStreamer) -> None:
    """It may not see its own sender's position, so the repository is vouched for one look later."""
    world = streamed()
    world.cluster.execute(
        "app", "CREATE ROLE streams LOGIN REPLICATION", "GRANT CONNECT ON DATABASE app TO streams"
    )
    config = Path(world.environment["PRA_CONFIG"])
    config.write_text(config.read_text().replace("user=postgres", "user=streams"))
    streaming(world)
    arrived(world, write(world))
    moment = world.cluster.query("app", "SELECT clock_timestamp()")[0][0]
    far = open_repository(world, "far")
    wait_until(
        lambda: (streamed_until(far, "db") or moment) > moment, seconds=25, what="word of an idle server"
    )


def test_a_logical_slot_of_that_name_and_a_logical_target_are_refused(
    streamed: MakeStreamed, streaming: StartStreamer
) -> None:
    world = streamed(settings="wal_level = logical\n")
    world.execute("SELECT pg_create_logical_replication_slot('pra_db', 'test_decoding')")
    streamer = streaming(world)
    assert streamer.ended() == 64
    assert "the replication slot pra_db is a logical one" in streamer.said()
    config = Path(world.environment["PRA_CONFIG"])
    config.write_text(config.read_text().replace('engine = "physical"', 'engine = "logical"'))
    streamer = streaming(world)
    assert streamer.ended() == 64
    assert "WAL would be of no use to it" in streamer.said()


@pytest.mark.all
def test_a_fork_is_stored_said_and_found(streamed: MakeStreamed, streaming: StartStreamer) -> None:
    """Another server wrote other WAL under the same name: ours arrives all the same."""
    world = streamed()
    streamer = streaming(world)
    arrived(world, write(world, 3000))
    archive = archive_in(world, "far")
    ahead = max(archive.segments)[:-2] + f"{int(max(archive.segments)[-2:], 16) + 3:02X}"
    foreign = wal_segment_key("db", archive.system_id, ahead, "0" * 64, encrypted=True)
    open_repository(world, "far").create(foreign, b"of another server")
    for _ in range(5):
        last = write(world, 2000)
    arrived(world, last, "near")
    wait_until(lambda: f"timeline forked: {ahead}" in streamer.said(), what="a loud error")
    wait_until(lambda: len(archive_in(world, "far").segments[ahead]) == 2, what="both contents")
    assert f"timeline forked: {ahead}" in told(world, code=1)
