"""The spool: same bytes to every publisher, bounded, and nobody waits for the dead."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from pra.errors import StorageError, UsageError
from pra.model import StoredObject
from pra.storage.spool import Abandoned, Attempt, Event, ObjectReady, Sealed, Spool, sweep

BACKUP = "20261122T070955Z-full-3f9c"
NEXT = "20261122T071955Z-full-77aa"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(12) as pool:
        yield pool


def make(attempt: Attempt, name: str, size: int) -> StoredObject:
    attempt.path(name).write_bytes(b"x" * size)
    return StoredObject(name, size, "0" * 64, size, "0" * 64)


def drain(spool: Spool, publisher: str, pause: float = 0.0) -> list[Event]:
    """A publisher that reads every object, as one that works does."""
    events = []
    for event in spool.follow(publisher):
        events.append(event)
        if isinstance(event, ObjectReady):
            assert event.path.stat().st_size == event.object.bytes
            time.sleep(random.uniform(0, pause))
            spool.done(publisher, event.object.name)
    return events


def waits(future: Future[None]) -> bool:
    """Whether it is still not done after a moment."""
    time.sleep(0.15)
    return not future.done()


def test_every_publisher_gets_every_object_in_order_then_the_manifest(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    with Spool(tmp_path / "spool", 1000, ["local", "offsite"]) as spool:
        publishers = [pool.submit(drain, spool, name, 0.01) for name in ("local", "offsite")]
        attempt = spool.open(BACKUP)
        objects = [make(attempt, f"dump-{n:04d}", 100) for n in range(30)]
        for stored in objects:
            attempt.add(stored)
        attempt.seal(b"manifest")
    for publisher in publishers:
        *ready, sealed = publisher.result(10)
        assert [event.object for event in ready if isinstance(event, ObjectReady)] == objects
        assert sealed == Sealed(BACKUP, b"manifest")
    assert list((tmp_path / "spool").iterdir()) == []


def test_files_go_when_everybody_has_them_and_not_before(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000, ["a", "b"])
    attempt = spool.open(BACKUP)
    attempt.add(make(attempt, "o", 10))
    for publisher, there in (("a", True), ("b", False)):
        event = next(spool.follow(publisher))
        assert isinstance(event, ObjectReady)
        spool.done(publisher, "o")
        assert event.path.exists() is there
    assert spool.unconsumed_bytes == 0


def test_the_producer_waits_for_the_slowest(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    spool = Spool(tmp_path, 100, ["fast", "slow"])
    attempt = spool.open(BACKUP)
    attempt.add(make(attempt, "first", 60))
    adding = pool.submit(attempt.add, make(attempt, "second", 60))
    fast, slow = spool.follow("fast"), spool.follow("slow")
    for _ in range(2):
        event = next(fast)
        assert isinstance(event, ObjectReady)
        spool.done("fast", event.object.name)
    assert waits(adding)
    next(slow)
    assert waits(adding)
    spool.done("slow", "first")
    adding.result(5)
    assert spool.unconsumed_bytes == 60


def test_an_object_larger_than_the_limit_waits_only_for_the_others(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    spool = Spool(tmp_path, 100, ["a"])
    attempt = spool.open(BACKUP)
    attempt.add(make(attempt, "small", 10))
    adding = pool.submit(attempt.add, make(attempt, "huge", 5000))
    assert waits(adding)
    next(spool.follow("a"))
    spool.done("a", "small")
    adding.result(5)
    assert spool.unconsumed_bytes == 5000


def test_a_publisher_that_leaves_holds_nobody_back(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    spool = Spool(tmp_path, 100, ["works", "fails"])
    attempt = spool.open(BACKUP)
    working = pool.submit(drain, spool, "works")

    def produce() -> None:
        for n in range(5):
            attempt.add(make(attempt, f"o{n}", 80))

    adding = pool.submit(produce)
    assert waits(adding)
    spool.leave("fails", "bucket is gone")
    spool.leave("fails")
    adding.result(5)
    attempt.seal(b"m")
    spool.close()
    assert len(working.result(5)) == 6
    assert list(spool.follow("fails")) == []


def test_without_publishers_the_producer_stops_and_says_why(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    spool = Spool(tmp_path, 100, ["local", "offsite"])
    attempt = spool.open(BACKUP)
    attempt.add(make(attempt, "o1", 80))
    adding = pool.submit(attempt.add, make(attempt, "o2", 80))
    assert waits(adding)
    spool.leave("local", "disk is full")
    spool.leave("offsite", "bucket is gone")
    with pytest.raises(
        StorageError, match=r"every repository failed.*disk is full.*bucket is gone"
    ) as caught:
        adding.result(5)
    assert not caught.value.transient
    for call in (lambda: attempt.seal(b"m"), lambda: spool.open(NEXT)):
        with pytest.raises(StorageError, match="every repository failed"):
            call()
    assert list(attempt.path("o1").parent.iterdir()) == []


def test_an_abandoned_attempt_is_taken_back_and_the_next_one_counts(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000, ["a"])
    first = spool.open(BACKUP)
    for name in ("busy", "waiting"):
        first.add(make(first, name, 10))
    stream = spool.follow("a")
    busy = next(stream)
    assert isinstance(busy, ObjectReady)
    first.abandon("the server went away")
    first.abandon("again")
    assert busy.path.exists(), "what is being published must stay readable"
    assert not first.path("waiting").exists()
    second = spool.open(NEXT)
    second.add(make(second, "busy", 20))
    spool.done("a", "busy")
    assert not busy.path.exists()
    assert spool.unconsumed_bytes == 20
    assert next(stream) == Abandoned(BACKUP, "the server went away")
    event = next(stream)
    assert isinstance(event, ObjectReady)
    assert (event.backup_id, event.object.bytes) == (NEXT, 20)


def test_an_abandoned_attempt_takes_no_more(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000, ["a"])
    attempt = spool.open(BACKUP)
    attempt.abandon("no")
    with pytest.raises(StorageError, match="is over"):
        attempt.add(StoredObject("o", 1, "", 1, ""))
    with pytest.raises(StorageError, match="is over"):
        attempt.seal(b"m")


def test_abandoning_wakes_a_producer_that_waits(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    spool = Spool(tmp_path, 10, ["a"])
    attempt = spool.open(BACKUP)
    attempt.add(make(attempt, "one", 10))
    adding = pool.submit(attempt.add, make(attempt, "two", 10))
    assert waits(adding)
    attempt.abandon("interrupted")
    with pytest.raises(StorageError, match="is over"):
        adding.result(5)


def test_closing_abandons_what_is_open_and_ends_the_streams(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    spool = Spool(tmp_path, 1000, ["a"])
    following = pool.submit(drain, spool, "a")
    spool.open(BACKUP)
    spool.close()
    spool.close()
    (event,) = following.result(5)
    assert isinstance(event, Abandoned)
    assert not spool.folder.exists()
    with pytest.raises(StorageError, match="closed"):
        spool.open(NEXT)


def test_nobody_waits_for_ever(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10, ["a"], patience=timedelta(seconds=0.3))
    with pytest.raises(StorageError, match="waited"):
        next(spool.follow("a"))
    attempt = spool.open(BACKUP)
    attempt.add(make(attempt, "one", 10))
    with pytest.raises(StorageError, match="waited"):
        attempt.add(make(attempt, "two", 10))


def test_many_producers_and_publishers_lose_nothing_and_stay_bounded(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    limit, size, producers = 500, 90, 4
    highest = 0
    spool = Spool(tmp_path, limit, ["a", "b", "c"])
    publishers = [pool.submit(drain, spool, name, 0.004) for name in "abc"]
    attempt = spool.open(BACKUP)

    def produce(number: int) -> None:
        nonlocal highest
        for n in range(25):
            attempt.add(make(attempt, f"p{number}-{n}", size))
            highest = max(highest, spool.unconsumed_bytes)

    list(pool.map(produce, range(producers)))
    attempt.seal(b"m")
    spool.close()
    for publisher in publishers:
        names = [e.object.name for e in publisher.result(20) if isinstance(e, ObjectReady)]
        assert len(names) == len(set(names)) == 100
    # Each producer announces one object and only then waits.
    assert highest <= limit + producers * size


def test_names_stay_inside_and_unknown_acknowledgements_are_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10, ["a"])
    attempt = spool.open(BACKUP)
    for name in ("../x", "a/b", "", ".x"):
        with pytest.raises(UsageError):
            attempt.path(name)
    with pytest.raises(UsageError, match="was not delivered"):
        spool.done("a", "o")
    with pytest.raises(UsageError):
        spool.open("../up")
    with pytest.raises(UsageError, match="needs a repository"):
        Spool(tmp_path, 10, [])


def test_directories_are_private(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 10, ["a"])
    attempt = spool.open(BACKUP)
    for folder in (tmp_path / "spool", spool.folder, attempt.folder, attempt.work, attempt.path("o").parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_sweep_takes_the_dead_and_leaves_the_living(tmp_path: Path) -> None:
    program = """
import os, sys, time
from pathlib import Path
from pra.storage.spool import Spool
spool = Spool(Path(sys.argv[1]), 10, ["a"])
spool.open("20261122T070955Z-full-3f9c").path("o").write_bytes(b"x")
print(spool.folder.name, flush=True)
time.sleep(60)
"""
    argv = [sys.executable, "-c", program, str(tmp_path)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        mine = Spool(tmp_path, 10, ["a"])
        (tmp_path / "somebody-elses").mkdir()
        assert sweep(tmp_path, timedelta(0)) == []
    finally:
        process.kill()
        process.wait(10)
    assert sweep(tmp_path, timedelta(hours=1)) == [], "too young"
    assert sweep(tmp_path, timedelta(0)) == [name]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([mine.folder.name, "somebody-elses"])
    assert sweep(tmp_path / "none", timedelta(0)) == []


def test_sweep_does_not_take_a_run_that_is_being_made(tmp_path: Path) -> None:
    made = tmp_path / ".new-1-abcd"
    made.mkdir()
    assert sweep(tmp_path, timedelta(0)) == []
    old = time.time() - 3600
    (made / "lock").touch()
    os.utime(made, (old, old))
    assert sweep(tmp_path, timedelta(0)) == [made.name]


def test_closing_ends_a_stream_that_nothing_was_sent_to(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10, ["a"])
    thread = threading.Thread(target=lambda: next(spool.follow("a"), None))
    thread.start()
    spool.close()
    thread.join(5)
    assert not thread.is_alive()
