"""A drill killed with SIGKILL in any phase: nothing runs on, the next start clears up and records it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pra.drill.record import INTERRUPTED, record_of
from pra.postgres.sandbox import sandbox_root
from pra.procedures import drill
from tests.fix_drill import keys_of, rehearsals
from tests.fix_world import World

pytestmark = pytest.mark.timeout(300)
QUICK = ("recover",)
SHORT = ("inject", "detect", "switch", "report")
"""Over within milliseconds: killed at once, and maybe in the next phase already."""


@pytest.mark.parametrize(
    "phase",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.all)
        for name in drill.PHASES
        if name != "approve"  # automatic here: over in no time
    ],
)
def test_killed_in_a_phase_it_leaves_nothing_and_says_so(drill_world: World, phase: str) -> None:
    world, before, keys = drill_world, rehearsals(drill_world), keys_of(drill_world)
    child = subprocess.Popen(
        [sys.executable, "-m", "deployments.cli", "drill", "--scenario", "database-down"],
        env=os.environ | world.environment,
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        folder = wait_for_phase(world, child, phase)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait(30)
    wait_until_alone(folder)
    reached = json.loads((folder / "drill.json").read_text())["phase"]
    assert reached == phase or phase in SHORT
    wait_until_swept(world, folder)
    assert rehearsals(drill_world) == before
    assert keys_of(world) == keys
    with world.context() as context:
        head = context.evidence.head()
    assert head is not None
    found = record_of(head.kind, head.body)
    assert (found.verdict, found.scenario) == (INTERRUPTED, "database-down")
    assert f"in its phase {reached};" in found.deviations[0]


def wait_for_phase(world: World, child: subprocess.Popen[bytes], phase: str) -> Path:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        for folder in rehearsals(world):
            file = folder / "drill.json"
            if file.exists() and has_come_to(phase, json.loads(file.read_text())["phase"]):
                time.sleep(0 if phase in SHORT else 0.1)  # into the middle of it
                return folder
        assert child.poll() is None, "the drill ended before that phase"
        time.sleep(0.001)
    raise AssertionError(f"it never came to {phase}")


def has_come_to(phase: str, reached: str) -> bool:
    """One that is over within milliseconds may be over before anybody looks."""
    order = ["start", *drill.PHASES]
    return reached == phase or (phase in SHORT and order.index(reached) > order.index(phase))


def wait_until_alone(folder: Path) -> None:
    """No process has this folder on its command line or works in it."""
    deadline = time.monotonic() + 30
    while left := users(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def wait_until_swept(world: World, folder: Path) -> None:
    """What it was just starting may hold its lock for a moment longer."""
    root = sandbox_root(world.settings.sandbox.dir, world.settings.state_dir)
    deadline = time.monotonic() + 60
    while folder.exists():
        assert time.monotonic() < deadline, "its lock is still held"
        drill.clean_up(world.settings, root)


def users(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            place = str((process / "cwd").readlink())
        except OSError:
            continue
        if str(folder) in words or place.startswith(str(folder)):
            found.append(f"{process.name} {words}")
    return found
