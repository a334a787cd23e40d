"""A flow's process that is told to stop takes everything with it that it started."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect.settings import get_current_settings

from tests.fix_slack import Slack
from tests.fix_world import World
from tests.scratch import SANDBOXES

pytestmark = pytest.mark.timeout(300)

BACKUP = "from flows.backup import backup; backup('db')"
VERIFY = "from flows.restore_verify import restore_verify; restore_verify('db', 'newest', 'near')"


def commands_with(text: str) -> dict[int, str]:
    """Processes, those of other accounts too, whose command line holds a text."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in line:
                found[int(entry.name)] = line
    return found


def wait_for(condition: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


@contextmanager
def flow_process(world: World, code: str) -> Iterator[subprocess.Popen[str]]:
    """The flow in a process of its own, as a worker would start it."""
    url = get_current_settings().api.url
    environment = {**os.environ, **world.environment, "PREFECT_API_URL": str(url)}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_backup_that_is_told_to_stop_ends_its_dump(flow_world: World, slack: Slack) -> None:
    """The dump waits for a lock when SIGTERM comes: it ends, the lock's queue is empty, people are told."""
    home = str(flow_world.home)
    with flow_world.cluster.connect(flow_world.database, autocommit=False) as holder:
        holder.execute(b"LOCK TABLE artist IN ACCESS EXCLUSIVE MODE")
        with flow_process(flow_world, BACKUP) as process:
            wait_for(lambda: any("pg_dump" in line for line in commands_with(home).values()))
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=60)
        assert process.returncode != 0, output
        assert commands_with(home) == {}
    assert not list(flow_world.folder("near").glob("backups/*/manifest.json"))
    assert [path for path in (flow_world.home / "state" / "spool").rglob("*") if path.is_file()] == []
    (post,) = slack.posts
    assert "the run crashed" in post.text


@pytest.fixture
def sandboxes() -> Iterator[Path]:
    """A folder that the sandbox's account can reach: pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="pra-sb-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_a_verification_that_is_told_to_stop_ends_its_sandbox(flow_world: World, sandboxes: Path) -> None:
    """SIGTERM while the sandbox runs: neither a server nor its files are left."""
    flow_world.backup()
    config = flow_world.home / "pra.toml"
    config.write_text(config.read_text().replace(f'"{SANDBOXES}"', f'"{sandboxes}"'))

    def servers() -> list[str]:
        return [line for line in commands_with(str(sandboxes)).values() if "/postgres -D" in line]

    with flow_process(flow_world, VERIFY) as process:
        wait_for(lambda: servers() or process.poll() is not None)
        assert process.poll() is None, process.communicate()[0]
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode != 0, output
    assert commands_with(str(sandboxes)) == {}
    assert [path for path in sandboxes.rglob("*") if path.is_file()] == []
