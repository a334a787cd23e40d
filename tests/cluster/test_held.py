"""What a backup holds on the server while it reads, a slot and a lock: losing one is never passed over."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from pra.engines.logical import Report
from pra.engines.tarcut import Cutter
from pra.errors import BusyError, PostgresError, PraError
from pra.postgres.connect import Server
from pra.postgres.replication import hold_wal
from pra.procedures import backup
from pra.procedures.context import Context, exclusive
from pra.procedures.target_lock import TargetLock
from tests import fix_faults as after
from tests.fix_cluster import Cluster
from tests.fix_physical import SETTINGS, MakePhysical, bindir_of, world_of
from tests.fix_world import MakeWorld, World

IMPATIENT = "idle_session_timeout = 300ms\n"
SLOT, LOCK = "pra slot", "pra backup db"
SLOTS = "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'pra_backup_%'"


def end(server: Cluster, application: str) -> int:
    """End the connections of that name; how many there were."""
    of_that_name = f"FROM pg_stat_activity WHERE application_name = '{application}'"
    return len(server.query("postgres", f"SELECT pg_terminate_backend(pid, 5000) {of_that_name}"))


def once(action: Callable[[], object]) -> Report:
    """A progress report that does this the first time something is reported."""
    left = [action]

    def report(phase: str, done: int, total: int) -> None:
        while left:
            left.pop()()

    return report


@contextmanager
def losing(context: Context, server: Cluster, application: str) -> Iterator[None]:
    """The connection of that name is ended, once, while the server is being read."""
    ended: list[int] = []
    context.report = once(lambda: ended.append(end(server, application)))
    yield
    assert ended == [1]


def test_an_idle_slot_and_an_idle_lock_outlive_the_servers_patience(
    make_physical: MakePhysical, make_world: MakeWorld
) -> None:
    server = make_physical(18, settings=IMPATIENT)
    world = world_of(server, make_world)
    with world.context() as context, exclusive(context), hold_wal(context.server):
        assert context.lock is not None
        time.sleep(1)
        context.lock.check()
        assert server.query("postgres", SLOTS) == [(1,)]
    assert server.query("postgres", SLOTS) == [(0,)]
    assert world.backup().ok


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    found = Cluster(bindir_of(18), settings=SETTINGS)
    found.start()
    yield found
    found.remove()


@pytest.fixture
def held(server: Cluster, make_world: MakeWorld) -> Iterator[World]:
    yield world_of(server, make_world)
    server.dropdb("app")


def test_a_slot_that_was_lost_is_said_so(held: World) -> None:
    with (
        pytest.raises(PostgresError, match=r"the replication slot .* was lost") as caught,
        hold_wal(Server.parse(held.cluster.dsn())),
    ):
        assert end(held.cluster, SLOT) == 1
    assert caught.value.transient


def test_what_failed_under_the_slot_is_said_rather_than_its_loss(held: World) -> None:
    def fail() -> None:
        with hold_wal(Server.parse(held.cluster.dsn())):
            end(held.cluster, SLOT)
            raise KeyError

    with pytest.raises(KeyError):
        fail()


@pytest.mark.parametrize(
    ("application", "complaint"),
    [(SLOT, "the replication slot .* was lost"), (LOCK, "kept other backups of db away was lost")],
    ids=["slot", "lock"],
)
def test_what_is_lost_while_the_server_is_read_makes_the_attempt_void(
    held: World, monkeypatch: pytest.MonkeyPatch, application: str, complaint: str
) -> None:
    monkeypatch.setattr(backup, "TAKE_TRIES", 1)
    with (
        held.context() as context,
        losing(context, held.cluster, application),
        pytest.raises(PostgresError, match=complaint) as caught,
    ):
        backup.run(context)
    assert caught.value.transient
    assert caught.value.hint
    assert after.committed(held, "near") == after.committed(held, "far") == set()


@pytest.mark.parametrize("application", [SLOT, LOCK], ids=["slot", "lock"])
def test_it_is_read_again_under_a_new_one(held: World, application: str) -> None:
    with held.context() as context, losing(context, held.cluster, application):
        report = backup.run(context)
        assert context.lock is None
    assert report.ok
    assert [phase.name for phase in report.phases].count("take") == 2
    assert after.committed(held, "near") == {report.backup_id}


def test_after_a_restart_the_lock_is_taken_again(held: World) -> None:
    with held.context() as first, exclusive(first):
        held.cluster.restart()
        assert first.lock is not None
        with pytest.raises(PostgresError):
            first.lock.check()
        first.lock.hold()
        with pytest.raises(BusyError):
            held.backup()
    assert held.backup().ok


def test_a_lock_that_was_given_back_is_free_at_once(held: World) -> None:
    """A session ends some time after its connection: whoever runs again at once would be told to wait."""
    lock = TargetLock(Server.parse(held.cluster.dsn()), "db")
    seen = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    with psycopg.connect(held.cluster.dsn(), autocommit=True) as other:
        lock.take()
        held_by = other.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory'").fetchone()
        assert held_by is not None
        os.kill(held_by[0], signal.SIGSTOP)  # as slow as a busy server may be
        timer = threading.Timer(0.5, os.kill, (held_by[0], signal.SIGCONT))
        timer.start()
        lock.release()
        assert other.execute(seen).fetchone() == (0,)
        timer.join()


def test_whoever_took_the_lock_meanwhile_keeps_it(held: World) -> None:
    with held.context() as first, held.context() as second, ExitStack() as stack:

        def overtaken() -> None:
            end(held.cluster, LOCK)
            stack.enter_context(exclusive(second))

        first.report = once(overtaken)
        with pytest.raises(BusyError, match="another backup of db is running"):
            backup.run(first)
    assert after.committed(held, "near") == set()


def test_what_ended_the_copy_is_said_however_long_the_clearing_up_takes(
    held: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "TAKE_TRIES", 1)
    abort = Cutter.abort

    def slowly(self: Cutter) -> None:
        time.sleep(1)
        abort(self)

    monkeypatch.setattr(Cutter, "abort", slowly)
    with held.context() as context, losing(context, held.cluster, "pra"), pytest.raises(PraError) as caught:
        backup.run(context)
    assert caught.value.transient
    assert "is over" not in caught.value.message
