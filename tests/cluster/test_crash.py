"""A backup killed at every step: never half a backup, nothing in the way of the next, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from pra.procedures import expiry
from tests import fix_faults as after
from tests.fix_faults import Nursery, Snapshot
from tests.fix_world import World

ROUNDS = {
    "phases, tools and publishers": ("phases",),
    "writes to the first repository": ("near", "near half"),
}
EVERYTHING = {
    "writes to the second repository": ("far", "far half"),
    "every call of the first repository": ("near every",),
    "every call of the second repository": ("far every",),
}


@pytest.fixture
def nursery(tiny: World) -> Iterator[Nursery]:
    with after.nursery(tiny) as found:
        yield found


def kill_at_every_step(
    world: World, nursery: Nursery, folder: Path, kinds: tuple[str, ...], stride: int = 1
) -> list[str]:
    """Each time from the same repositories, which hold one backup that is due to expire."""
    after.keep_one_hour(world)
    after.make_old_backup(world, days=40)
    begin = Snapshot(world, folder)
    begin.save()
    steps: list[str] = []
    for at in count(1, stride):
        begin.restore()
        died = nursery.backup(kinds, at, signal.SIGKILL)
        if died.step is None:
            assert died.ended == 0, "the backup that was not killed failed"
            return steps
        assert died.ended == -signal.SIGKILL
        steps.append(died.step)
        try:
            after.demand_whole(world)
            after.demand_quiet_server(world)
            again = world.backup()
            assert again.ok, again.repositories
            assert not [line for line in again.warnings if "expire" in line or "catch up" in line]
            after.demand_whole(world)
            after.demand_clean_state(world)
            after.age(world, hours=48)
            after.collect_garbage(world)
            for name in ("near", "far"):
                assert again.backup_id in after.committed(world, name)
                after.demand_nothing_but_backups(world, name)
        except BaseException as error:
            error.add_note(f"after being killed {died.step}")
            raise
    raise AssertionError("unreachable")


@pytest.mark.timeout(400)  # some fifty rounds
@pytest.mark.parametrize(
    ("kinds", "stride"),
    [
        pytest.param(("phases",), 3, id="every third phase, tool or publisher"),
        *(pytest.param(kinds, 1, id=name, marks=pytest.mark.all) for name, kinds in ROUNDS.items()),
    ],
)
def test_killed_at_any_step_it_leaves_no_half_backup_and_nothing_in_the_way(
    tiny: World, nursery: Nursery, tmp_path: Path, kinds: tuple[str, ...], stride: int
) -> None:
    steps = kill_at_every_step(tiny, nursery, tmp_path, kinds, stride)
    assert len(steps) * stride > 20, steps


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("kinds", "stride"),
    [
        pytest.param(("phases",), 5, id="every fifth phase, tool or word"),
        pytest.param(("phases",), 1, id="every phase, tool or word", marks=pytest.mark.all),
        pytest.param(("near", "far"), 1, id="every write", marks=pytest.mark.all),
    ],
)
def test_stopped_at_any_step_it_tidies_up_after_itself(
    tiny: World, nursery: Nursery, tmp_path: Path, kinds: tuple[str, ...], stride: int
) -> None:
    """A signal, unlike a kill, leaves time: what was sent is taken back, and the state directory is empty."""
    begin = Snapshot(tiny, tmp_path)
    begin.save()
    for at in count(1, stride):
        begin.restore()
        stopped = nursery.backup(kinds, at, signal.SIGTERM)
        if stopped.step is None:
            assert stopped.ended == 0
            assert at > 10
            return
        try:
            assert stopped.ended == 128 + signal.SIGTERM
            after.demand_whole(tiny)
            after.demand_clean_state(tiny)
            after.demand_quiet_server(tiny)
            for name in ("near", "far"):
                after.demand_nothing_but_backups(tiny, name)
        except BaseException as error:
            error.add_note(f"after being stopped {stopped.step}")
            raise


@pytest.mark.timeout(400)  # some fifty rounds
@pytest.mark.all
@pytest.mark.parametrize("kinds", EVERYTHING.values(), ids=EVERYTHING)
def test_killed_before_any_call_of_a_storage(
    tiny: World, nursery: Nursery, tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    assert len(kill_at_every_step(tiny, nursery, tmp_path, kinds)) > 20


def test_gc_leaves_alone_what_is_under_way_on_another_host(tiny: World, nursery: Nursery) -> None:
    slow = nursery.backup(("near",), 3, signal.SIGSTOP)  # it stands still after its first object
    assert slow.step is not None
    assert "before put" in slow.step
    (lease,) = (tiny.folder("near") / "leases").iterdir()
    kept_lease = lease.read_bytes()
    after.age(tiny, hours=48)
    lease.write_bytes(kept_lease)  # that one is alive: it is renewed
    before = after.keys(tiny, "near")
    assert [key for key in before if "/objects/" in key]
    with tiny.context() as context:
        report = expiry.gc(context, "near")
    assert report.removed == report.aborted == ()
    assert [reason for _, reason in report.kept] == [f"covered by db/leases/{lease.name}"]
    assert after.keys(tiny, "near") == before
    assert nursery.resume(slow.pid) == 0
    after.demand_whole(tiny)
    assert len(after.committed(tiny, "near")) == 1


def test_gc_leaves_alone_what_is_younger_than_the_longest_backup(tiny: World, nursery: Nursery) -> None:
    died = nursery.backup(("near",), 4, signal.SIGKILL)
    assert died.step is not None
    after.age(tiny, hours=expiry.LONGEST_BACKUP.total_seconds() / 3600 - 1)
    before = after.keys(tiny, "near")
    assert [key for key in before if "/objects/" in key]
    with tiny.context() as context:
        report = expiry.gc(context, "near")
    assert report.removed == report.aborted == ()
    assert [reason for _, reason in report.kept] == ["younger than the longest backup"]
    assert after.keys(tiny, "near") == before
    after.age(tiny, hours=expiry.LONGEST_BACKUP.total_seconds() / 3600 + 1)
    after.collect_garbage(tiny)
    after.demand_nothing_but_backups(tiny, "near")


def copying(world: World) -> int:
    """The server process that feeds a dump's worker, stopped in the middle of a table."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        rows = world.cluster.query(
            "postgres", f"SELECT pid FROM pg_stat_activity WHERE datname = '{world.database}' "
            "AND state = 'active' AND query LIKE 'COPY %large%TO stdout%'"
        )  # fmt: skip
        if rows:
            os.kill(rows[0][0], signal.SIGSTOP)
            return int(rows[0][0])
        time.sleep(0.005)
    raise AssertionError("no dump began to copy the table")


def test_killed_amid_a_table_no_dump_tool_lives_on(tiny: World) -> None:
    """The workers of a parallel dump look for their leader only between two tables."""
    tiny.execute("CREATE TABLE large AS SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 600000) g")
    backup = subprocess.Popen(
        [sys.executable, "-m", "deployments.cli", "backup"], env=os.environ | tiny.environment
    )
    server_process = copying(tiny)
    try:
        assert len(after.dump_tools(tiny)) > 1, "no worker beside its leader"
        backup.kill()
        backup.wait(10)
        deadline = time.monotonic() + 5
        while left := after.dump_tools(tiny):
            assert time.monotonic() < deadline, f"still running: {left}"
            time.sleep(0.02)
    finally:
        os.kill(server_process, signal.SIGCONT)
        backup.kill()
    after.demand_quiet_server(tiny)
    assert tiny.backup().ok
    after.demand_clean_state(tiny)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_a_signal_amid_the_dump_ends_everything_at_once(tiny: World, signum: signal.Signals) -> None:
    config = tiny.home / "pra.toml"
    config.write_text(config.read_text().replace('lock_wait = "2s"', 'lock_wait = "60s"'))
    # Its own limit would end the dump in a minute: what must end it is the signal.
    with tiny.cluster.connect(tiny.database, autocommit=False) as other:
        backup = None
        try:
            other.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
            backup = subprocess.Popen(
                [sys.executable, "-m", "deployments.cli", "backup", "--json"],
                env=os.environ | tiny.environment,
                stdout=subprocess.PIPE,
                text=True,
            )
            wait_for_queue(tiny)
            backup.send_signal(signum)
            started = time.monotonic()
            out, _ = backup.communicate(timeout=30)
            assert time.monotonic() - started < 15
            assert backup.returncode == 128 + signum
            assert json.loads(out)["error"]["message"] == f"stopped by signal {int(signum)}"
            assert after.dump_tools(tiny) == []
        finally:
            if backup is not None:
                backup.kill()
            other.rollback()
    after.demand_quiet_server(tiny)
    after.demand_clean_state(tiny)
    assert after.keys(tiny, "near") == after.keys(tiny, "far") == []


def wait_for_queue(world: World) -> None:
    """Until somebody waits for a lock in the world's database."""
    deadline = time.monotonic() + 30
    waiting = (
        "SELECT count(*) FROM pg_stat_activity "
        f"WHERE datname = '{world.database}' AND wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'"
    )
    while not world.cluster.query("postgres", waiting)[0][0]:
        assert time.monotonic() < deadline, after.sessions(world)
        time.sleep(0.02)
