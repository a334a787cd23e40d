"""`pra up` in a process of its own, as it runs in earnest; and what it may have left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.running import stopping
from deployments.running.manager import Manager, State
from deployments.running.place import Place
from deployments.supervise import free_port
from tests.fix_world import World

ROOT = Path(__file__).parents[1]


class Up:
    """One `pra up` around a world. ``output`` is what a person would see."""

    def __init__(self, world: World, *arguments: str) -> None:
        self.world = world
        self.place = Place(world.settings.state_dir)
        self.port = free_port()
        self.output = world.home / f"up-{time.monotonic_ns()}.log"
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deployments.cli", "up", "--port", str(self.port), *arguments],
                env=clean(world),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def states(self) -> dict[str, State]:
        return Manager(self.place).states()

    def wait_ready(self, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while "pra down" not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said() + self.logs()
            time.sleep(0.2)

    def logs(self) -> str:
        return "\n".join(
            f"== {log.name}\n{log.read_text(errors='replace')[-2000:]}"
            for log in sorted(self.place.logs.glob("*.log"))
        )

    def kill(self, part: str) -> int:
        """As the kernel does it; return the process that was killed."""
        pid = self.states()[part].pid
        os.kill(pid, signal.SIGKILL)
        return pid


def clean(world: World) -> dict[str, str]:
    """The test's own server must not be what a child finds."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return inherited | world.environment


def pra(world: World, *arguments: str, code: int | None = 0, timeout: float = 200) -> dict[str, Any]:
    """Run a command around a world with ``--json``, demand its exit code (None: any), return its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "deployments.cli", *arguments, "--json"],
        env=clean(world),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    said = f"pra {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert code is None or done.returncode == code, said
    found = json.loads(done.stdout)
    assert isinstance(found, dict), said
    return found


def mention(folder: Path) -> dict[int, str]:
    """Every process that has this folder in its arguments or its environment, whoever it belongs to."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            arguments, environment = ((entry / name).read_bytes() for name in ("cmdline", "environ"))
        except OSError:
            continue
        if os.fsencode(folder) in arguments + environment:
            found[int(entry.name)] = arguments.replace(b"\0", b" ").decode(errors="replace")
    return found


StartUp = Callable[..., Up]


@pytest.fixture
def start_up() -> Iterator[StartUp]:
    """Start `pra up`s; all that they ran is gone at the end."""
    started: list[Up] = []

    def start(world: World, *arguments: str) -> Up:
        started.append(Up(world, *arguments))
        return started[-1]

    yield start
    for up in started:
        if up.process.poll() is None:
            up.process.terminate()
            try:
                up.process.wait(150)
            except subprocess.TimeoutExpired:
                up.process.kill()
        stopping.stop_all(up.place)
