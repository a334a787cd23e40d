"""A world whose server can be failed over for real: hooks that act, an approver with a key of his own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from checks import Checks
from pra import keys
from pra.approval import Challenge, answer
from pra.engines.recovery import LATEST
from pra.failover.plan import Order
from pra.failover.state import Reply
from pra.model import Status
from pra.procedures import failover
from pra.procedures.failover import FailoverReport
from pra.restored import CheckSet
from pra.settings import load_settings
from pra.signing import Signer
from tests.fix_cluster import Cluster
from tests.fix_physical import MakePhysical, world_of
from tests.fix_stream import Streamer, wait_until
from tests.fix_world import MakeWorld, World

ROOT = Path(__file__).parents[1]

SETTINGS = """
[targets.db.failover]
directory = "{place}/recovered"
dsn = "{dsn}"
approvers = ["{approver}"]
fence = "{hooks}/fence"
announce = "{hooks}/announce"
streamer = "{hooks}/streamer"
switch = "{hooks}/switch"
service_file = "{place}/pg_service.conf"
service = "app"
protect = "60s"
"""
FENCE = """\
#!{python}
import os, signal, sys
from pathlib import Path
with open("{place}/fenced", "a") as out:
    out.write(os.environ["FAILOVER_ID"] + "\\n")
if not Path("{place}/fence-is-broken").exists():
    try:
        os.kill(int(Path("{pgdata}/postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    except (OSError, ValueError):
        pass
"""
NOTE = """\
#!/bin/sh
echo "$FAILOVER_TARGET" >> {place}/{name}
"""
STREAMER = """\
#!{python}
import os, signal, subprocess, time
try:
    old = int(open("{place}/streamer.pid").read())
    os.killpg(old, signal.SIGKILL)
    time.sleep(0.2)
except (OSError, ValueError):
    pass
with open("{place}/streamer.log", "ab") as log:
    child = subprocess.Popen(
        ["{python}", "-m", "deployments.cli", "wal", "stream"], start_new_session=True, cwd="{root}",
        env=dict(os.environ, PRA_CONFIG="{config}", PRA_STATE_DIR="{state}"),
        stdin=subprocess.DEVNULL, stdout=log, stderr=log,
    )
with open("{place}/streamer.pid", "w") as out:
    out.write(str(child.pid))
"""


@dataclass
class Hands:
    """See `pra.failover.state.Hands`: an approver who signs what he is shown."""

    signer: Signer
    reply: Callable[[Challenge], Reply] | None = None
    typed: str = ""
    shown: list[Challenge] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def approve(self, challenge: Challenge) -> Reply:
        self.shown.append(challenge)
        if self.reply is not None:
            return self.reply(challenge)
        return Reply(answer(challenge, self.signer), comment="as agreed")

    def old_is_off(self, target: str, place: str) -> str:
        return self.typed

    def say(self, line: str) -> None:
        self.said.append(line)


@dataclass
class FailoverWorld:
    """A physical world, an approver with a key file, hooks that leave a line each, a place to recover to."""

    world: World
    place: Path
    approver: Signer
    key_file: Path

    @property
    def directory(self) -> Path:
        return self.place / "recovered"

    @property
    def cluster(self) -> Cluster:
        return self.world.cluster

    def times(self, name: str) -> int:
        """How often a hook was run."""
        file = self.place / name
        return len(file.read_text().splitlines()) if file.exists() else 0

    def hands(self, **changed: Any) -> Hands:
        return Hands(**{"signer": self.approver, **changed})

    def change(self, **changed: Any) -> None:
        """Change the failover's settings, in pra.toml and as loaded; None takes a key out."""
        config = self.world.home / "pra.toml"
        lines = config.read_text().splitlines()
        start = lines.index("[targets.db.failover]") + 1
        until = next((i for i in range(start, len(lines)) if lines[i].startswith("[")), len(lines))
        section = [line for line in lines[start:until] if line.partition(" =")[0] not in changed]
        section += [f"{key} = {json.dumps(value)}" for key, value in changed.items() if value is not None]
        config.write_text("\n".join([*lines[:start], *section, *lines[until:]]) + "\n")
        self.world.settings = load_settings(config, {**os.environ, **self.world.environment})

    def failover(
        self, hands: Hands | None = None, *, checks: CheckSet | None = None, **order: Any
    ) -> FailoverReport:
        with self.world.context() as context:
            asked = replace(Order(moment=LATEST), **order)
            return failover.run(context, checks or Checks(), asked, hands or self.hands())

    def told(self, done: FailoverReport) -> str:
        """What a failing test has to show: the checks that did not pass, and the streamer's words."""
        bad = (Status.FAILED, Status.SKIPPED)
        lines = [
            f"{c.name} {c.status}: {c.observed} {c.reason}" for c in done.record.checks if c.status in bad
        ]
        log = self.place / "streamer.log"
        return "\n".join([*lines, log.read_text()[-3000:] if log.exists() else "no streamer"])

    def rows(self) -> int:
        """Of the server that answers where the old one did."""
        return int(self.cluster.query("app", "SELECT count(*) FROM numbered")[0][0])

    def keys(self) -> dict[str, list[str]]:
        """What both repositories hold, evidence apart."""
        found = {}
        for name in ("near", "far"):
            root = self.world.folder(name)
            paths = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
            found[name] = sorted(str(path) for path in paths if path.parts[0] != "evidence")
        return found

    def evidence(self, kind: str) -> list[dict[str, Any]]:
        """Bodies of that kind, oldest first; none of them may be doubtful."""
        with self.world.context() as context:
            records = list(context.evidence.records())
        assert not any(record.problem for record in records)
        return [dict(record.body) for record in records[::-1] if record.kind == kind]

    def end(self) -> None:
        """Stop what the failover left running, as it was meant to."""
        with suppress(OSError, ValueError):
            os.killpg(int((self.place / "streamer.pid").read_text()), signal.SIGKILL)
        if (self.directory / "postmaster.pid").exists():
            self.cluster.run(
                "pg_ctl", "-D", self.directory, "-m", "immediate", "-w", "stop", check=False, as_account=True
            )


@pytest.fixture
def failing(
    make_physical: MakePhysical, make_world: MakeWorld, place: Path, tmp_path: Path
) -> Iterator[FailoverWorld]:
    """PostgreSQL 18 with a thousand rows, one backup, and all it takes to fail over."""
    cluster = make_physical(18)
    approver = keys.make_approver_key(tmp_path / "approver.key")
    hooks = place / "hooks"
    hooks.mkdir()
    text = SETTINGS.format(place=place, dsn=cluster.dsn("app"), approver=approver.public_key, hooks=hooks)
    world = world_of(cluster, make_world, extra='ship_every = "1s"\n' + text)
    words = {
        "python": sys.executable, "place": place, "pgdata": cluster.pgdata, "root": ROOT,
        "config": world.home / "pra.toml", "state": world.home / "state",
    }  # fmt: skip
    for name, script in (
        ("fence", FENCE.format(**words)),
        ("announce", NOTE.format(place=place, name="announced")),
        ("switch", NOTE.format(place=place, name="switched")),
        ("streamer", STREAMER.format(**words)),
    ):
        (hooks / name).write_text(script)
        (hooks / name).chmod(0o755)
    found = FailoverWorld(world, place, approver, tmp_path / "approver.key")
    ended = threading.Event()
    reaper = threading.Thread(target=_reap, args=(cluster, ended), daemon=True)
    reaper.start()
    yield found
    ended.set()
    reaper.join()
    found.end()


def _reap(cluster: Cluster, ended: threading.Event) -> None:
    """Its parent is this process: killed by a hook and not waited for, it would look alive to PostgreSQL."""
    while not ended.wait(0.02):
        if cluster.process is not None:
            cluster.process.poll()


def streamed_rows(failing: FailoverWorld, first: int, count: int) -> None:
    """Commit rows while a streamer ships them; when this returns they are in both repositories."""
    streamer = Streamer(failing.world)
    try:
        failing.world.execute(
            *(f"INSERT INTO numbered (id) VALUES ({n})" for n in range(first, first + count))
        )
        with failing.world.context() as context:
            from pra.timing import utc_now
            from pra.wal.shipping import streamed_until

            since = utc_now()

            def shipped() -> bool:
                found = [streamed_until(context.storage(name), "db") for name in ("near", "far")]
                return all(moment is not None and moment >= since for moment in found)

            wait_until(shipped, seconds=60, what=streamer.said())
    finally:
        streamer.kill()


def run_pra(
    failing: FailoverWorld, *arguments: str, stdin: str = "", program: str = "", timeout: float = 100
) -> subprocess.CompletedProcess[str]:
    """The command line as a child; ``program`` is Python that runs before it, in the same process."""
    code = f"{program}\nfrom deployments.cli import main\nmain({list(arguments)!r})"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | failing.world.environment,
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


__all__ = ["FailoverWorld", "Hands", "run_pra", "streamed_rows"]
