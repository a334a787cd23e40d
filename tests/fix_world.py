"""A whole small world: a database on a real server, two repositories, fresh keys, settings.

``make_world`` builds one around any database of any cluster; ``world`` is Chinook on PostgreSQL 18.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from checks import Checks
from pra import keys
from pra.model import CheckResult, Status
from pra.proc import Scope
from pra.procedures import backup, verify
from pra.procedures.backup import BackupReport
from pra.procedures.context import Context
from pra.procedures.judging import VerifyReport
from pra.settings import Settings, load_settings
from pra.storage.base import Storage
from pra.timing import Clock, utc_now
from tests.fix_cluster import Cluster
from tests.scratch import SANDBOXES, SCRATCH

TOML = """\
[targets.db]
dsn = "{dsn}"
engine = "{engine}"
repositories = ["near", "far"]
lock_wait = "2s"

[repositories.near]
url = "file://{home}/near"

[repositories.far]
url = "file://{home}/far"

[retention]
hourly = 24

[encryption]
recipients = ["{recipient}"]

[postgres]
bindir = "{bindir}"

[sandbox]
dir = "{sandboxes}"
"""


@dataclass
class World:
    """One protected database and its surroundings. ``repositories`` may replace the configured ones."""

    cluster: Cluster
    database: str
    home: Path
    settings: Settings
    environment: dict[str, str]
    repositories: dict[str, Storage] = field(default_factory=dict)
    clock: Clock = utc_now

    @contextmanager
    def context(self, **changed: Any) -> Iterator[Context]:
        """A fresh context, as every command and flow makes one."""
        with Scope() as scope:
            yield Context(
                settings=changed.pop("settings", self.settings),
                target=replace_model(self.settings.target(None), changed.pop("target", {})),
                scope=scope,
                clock=changed.pop("clock", self.clock),
                repositories=dict(changed.pop("repositories", self.repositories)),
            )

    def backup(self, **changed: Any) -> BackupReport:
        accept, full = changed.pop("accept_new_server", False), changed.pop("full", False)
        with self.context(**changed) as context:
            return backup.run(context, accept_new_server=accept, full=full)

    def verify(self, repository: str = "near", which: str = "newest", **changed: Any) -> VerifyReport:
        with self.context(**changed) as context:
            return verify.run(context, Checks(), which=which, repository=repository)

    def folder(self, repository: str) -> Path:
        return self.home / repository / "db"

    def objects(self, repository: str, backup_id: str) -> list[Path]:
        return sorted((self.folder(repository) / "backups" / backup_id / "objects").iterdir())

    def execute(self, *statements: str) -> None:
        self.cluster.execute(self.database, *statements)


def replace_model(model: Any, changed: Mapping[str, Any]) -> Any:
    return model.model_copy(update=dict(changed)) if changed else model


def failed(report: VerifyReport) -> dict[str, CheckResult]:
    """The checks that did not pass, by name."""
    bad = (Status.FAILED, Status.SKIPPED)
    return {check.name: check for check in report.checks if check.status in bad}


def complaints(report: VerifyReport) -> str:
    """Everything a person would read about what is wrong, in one text."""
    lines = []
    for check in failed(report).values():
        lines.append(f"{check.name}: {check.observed} {check.reason}")
        lines += [f"{check.name}: {line}" for line in check.details]
    return "\n".join(lines)


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(world_maker: MakeWorld) -> MakeWorld:
    """Build a world around a database; keys are made anew."""
    return world_maker


@pytest.fixture(scope="session")
def world_maker(tmp_path_factory: pytest.TempPathFactory) -> MakeWorld:
    """The same for fixtures that outlive a test."""

    def make(
        cluster: Cluster,
        database: str,
        *,
        user: str | None = None,
        engine: str = "logical",
        extra: str = "",
        sandboxes: Path | None = None,
    ) -> World:
        home = tmp_path_factory.mktemp("world")
        state = home / "state"
        state.mkdir(mode=0o700)
        report = keys.make_keys(state / "keys")
        for name in ("near", "far"):
            (home / name).mkdir(mode=0o700)
        text = TOML.format(
            dsn=cluster.dsn(database, user).replace("\\", "\\\\").replace('"', '\\"'),
            engine=engine,
            home=home,
            recipient=report.recipient,
            bindir=cluster.bindir,
            sandboxes=sandboxes or SANDBOXES,
        )
        config = home / "pra.toml"
        config.write_text(text + extra)
        environment = {"PRA_CONFIG": str(config), "PRA_STATE_DIR": str(state)}
        settings = load_settings(config, {**os.environ, **environment})
        return World(cluster, database, home, settings, environment)

    return make


@pytest.fixture
def world(pg18: Cluster, chinook: str, make_world: MakeWorld) -> World:
    """Chinook on PostgreSQL 18 with two local repositories."""
    return make_world(pg18, chinook)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder whose owner may run a server; below one that everybody may enter."""
    folder = SCRATCH / f"pra-t-{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


def later(hours: float) -> Clock:
    """A clock that runs ahead."""
    return lambda: utc_now() + timedelta(hours=hours)


__all__ = ["MakeWorld", "World", "complaints", "failed", "later", "replace"]
