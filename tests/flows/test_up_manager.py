"""The process manager and the order of the end, with small programs in the place of Prefect's."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.running import processes, stopping
from deployments.running.ending import down
from deployments.running.manager import Manager, start_manager
from deployments.running.parts import Part, supervisor_config
from deployments.running.place import Place, held
from pra.errors import BusyError, PraError
from tests.fix_operator import Operator
from tests.scratch import SCRATCH

# Says when it began and when it was asked to end. With a second argument it starts a run, in its own session.
PROGRAM = """
import os, signal, subprocess, sys, time
from pathlib import Path
journal = Path(sys.argv[1])
def say(word):
    with journal.open("a") as out:
        out.write(f"{word} {os.environ['SUPERVISOR_PROCESS_NAME']} {os.getpid()}\\n")
def end(*_):
    say("end")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
say("begin")
if len(sys.argv) > 2:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True,
                     env={**os.environ, "PREFECT__FLOW_RUN_ID": "a-run"})
Path(journal.parent / "made").touch()
while True:
    time.sleep(60)
"""


@pytest.fixture
def place() -> Iterator[Place]:
    """Named so that a careless file would be misread; short, for the socket in it."""
    folder = SCRATCH / f"pra-u-{os.getpid()}-{secrets.token_hex(3)}"
    folder.mkdir(mode=0o700)
    found = Place(folder / "l'état; là")
    found.make()
    yield found
    stopping.stop_all(found)
    shutil.rmtree(folder)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def manager(place: Place, journal: Path) -> Iterator[subprocess.Popen[bytes]]:
    program = journal.with_name("program.py")
    program.write_text(PROGRAM)

    def part(name: str, rank: int, *more: str) -> Part:
        return Part(name, (sys.executable, str(program), str(journal), *more), rank, patience=5)

    parts = (part("prefect", 100), part("wal-db", 200), part("worker-backup", 300, "with a run"))
    place.config.write_text(supervisor_config(place, parts))
    process = start_manager(place, os.environ)
    wait(lambda: len(said(journal)) == 3)
    wait(lambda: len(processes.runs(place)) == 1)
    yield process
    process.kill()
    process.wait(30)


def said(journal: Path) -> list[list[str]]:
    return [line.split() for line in journal.read_text().splitlines()] if journal.exists() else []


def wait(condition: object, seconds: float = 20) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ends(journal: Path) -> list[str]:
    return [part for word, part, _ in said(journal) if word == "end"]


def test_what_dies_is_started_again_and_all_ends_in_order(
    place: Place, journal: Path, manager: subprocess.Popen[bytes]
) -> None:
    modes = [path.stat().st_mode & 0o777 for path in (place.folder, place.logs, place.socket)]
    assert modes == [0o700, 0o700, 0o700]
    assert (journal.parent / "made").stat().st_mode & 0o077 == 0  # the umask of every part

    victim = Manager(place).states()["wal-db"].pid
    os.kill(victim, signal.SIGKILL)
    wait(lambda: Manager(place).states()["wal-db"].pid not in (0, victim))
    assert Manager(place).why_it_ended("wal-db") == "terminated by SIGKILL"

    wait(lambda: [word for word, part, _ in said(journal) if part == "wal-db"] == ["begin", "begin"])
    told: list[str] = []
    assert set(stopping.stop_all(place, told.append)) == {"worker-backup", "wal-db", "prefect"}
    assert told == ends(journal) == ["worker-backup", "wal-db", "prefect"]
    assert processes.find(place) == ()
    assert manager.wait(10) == 0


def test_without_its_manager_everything_ends_in_the_same_order(
    place: Place, journal: Path, manager: subprocess.Popen[bytes]
) -> None:
    bystander = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)", str(place.folder)],
        env={**os.environ, "SUPERVISOR_SERVER_URL": f"unix://{place.socket}.other"},
    )
    try:
        manager.kill()
        manager.wait(10)
        assert len(processes.find(place)) == 4  # three parts and a run
        ended = down(place)
        assert ended.ran
        assert set(ended.parts) == {"worker-backup", "wal-db", "prefect"}
        assert ends(journal) == ["worker-backup", "wal-db", "prefect"]
        assert processes.find(place) == ()
        assert bystander.poll() is None, "what is not ours was ended"
    finally:
        bystander.kill()
        bystander.wait(10)


def test_a_second_one_at_the_same_place_is_refused(place: Place) -> None:
    with held(place), pytest.raises(BusyError, match=f"process {os.getpid()}") as caught, held(place):
        pass
    assert "pra down" in caught.value.hint


def test_a_number_in_the_lock_that_is_another_process_is_not_ended(place: Place) -> None:
    """So it is for a moment whenever somebody takes the lock, and for good where that is in a container."""
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        with held(place):
            place.lock.write_text(json.dumps({"pid": bystander.pid, "since": "", "role": "pra up"}))
            with pytest.raises(PraError, match=f"process {bystander.pid} of this machine is not it"):
                down(place, limit=1)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait(10)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees another account's processes")
def test_root_finds_what_the_account_of_the_place_left_and_no_third_ones(place: Place) -> None:
    os.chown(place.folder, 65534, -1)
    left = [
        subprocess.Popen(
            ["sleep", "600"],
            user=account,
            env=processes.marked(place, "prefect") | {"PATH": os.environ["PATH"]},
        )
        for account in (65534, 65533)
    ]
    try:
        wait(lambda: (Path("/proc") / str(left[1].pid) / "environ").read_bytes().count(b"sock") == 1)
        wait(lambda: [found.pid for found in processes.find(place)] == [left[0].pid])
    finally:
        for each in left:
            each.kill()
            each.wait(10)


def test_down_where_nothing_runs_says_so(operator: Operator) -> None:
    assert "Nothing was running" in operator.pra("down").out
    assert operator.pra("up", "--status", "--json", code=1).document["running"] is False


def test_a_part_that_there_is_not_is_refused(operator: Operator) -> None:
    assert "worker-backup" in operator.pra("up", "worker-nowhere", code=64).err
