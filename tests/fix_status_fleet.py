"""A fleet: 20 databases on one server, each named 10 times, with backups and evidence in two repositories.

One backup is real; all others are its objects under manifests of their own, signed anew: taking 4,800 would
last longer than what is measured. The second repository is an S3 server nobody here wrote.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pra import keys, manifest
from pra.evidence_record import GENESIS, compose
from pra.keys import Signer, load_signer
from pra.layout import evidence_key, manifest_key, objects_prefix
from pra.manifest import Manifest
from pra.proc import Scope
from pra.procedures import backup
from pra.procedures.context import Context
from pra.settings import Settings, load_settings
from pra.timing import utc_now
from tests.fix_cluster import PASSWORD, Cluster, embedded_bindir
from tests.fix_store import KEY_ID, SECRET, Server, serve_s3

DATABASES, NAMES, BACKUPS, EXPIRIES = 20, 10, 24, 20
ROOT = Path(__file__).parents[1]

_HEAD = """\
[repositories.near]
url = "file://{home}/near"

[encryption]
recipients = ["{recipient}"]

[postgres]
bindir = "{bindir}"

[status]
disk_warning = 0.0
disk_critical = 0.0
"""
_FAR = """
[repositories.far]
url = "s3://bucket/pra"
endpoint = "{endpoint}"
access_key_id = "{key_id}"
"""
_TARGET = """
[targets.{name}]
dsn = "{dsn}"
repositories = [{repositories}]
"""


@dataclass
class Fleet:
    """``environment``: what the commands need to find it."""

    home: Path
    cluster: Cluster
    server: Server
    settings: Settings
    environment: dict[str, str]

    @property
    def names(self) -> list[str]:
        return list(self.settings.targets)

    def run(self, *argv: str, **variables: str) -> tuple[int, dict[str, Any], float]:
        """One command in a process of its own, as an operator starts it: exit code, its JSON, seconds."""
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "deployments.cli", *argv, "--json"],
            env={**os.environ, **self.environment, **variables},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        seconds = time.monotonic() - begin
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout), seconds

    def through(self, port: int, target: str) -> dict[str, str]:
        """A target behind a way of its own."""
        words = self.settings.targets[target].dsn.split("dbname=")[1].split()[0]
        name = target.upper()
        return {
            f"PRA_TARGETS__{name}__DSN": f"host=127.0.0.1 port={port} user=postgres dbname={words}",
            f"PRA_TARGETS__{name}__PASSWORD": PASSWORD,
        }


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    home = tmp_path_factory.mktemp("fleet")
    cluster = Cluster(embedded_bindir())
    cluster.start()
    try:
        with make_fleet(home, cluster) as found:
            yield found
    finally:
        cluster.remove()


@contextmanager
def make_fleet(home: Path, cluster: Cluster) -> Iterator[Fleet]:
    for number in range(DATABASES):
        cluster.createdb(f"d{number:02d}")
    cluster.execute("d00", "CREATE TABLE users AS SELECT generate_series(1, 1000) AS id")
    state = home / "state"
    state.mkdir(mode=0o700)
    head = _HEAD.format(home=home, recipient=keys.make_keys(state / "keys").recipient, bindir=cluster.bindir)
    near, far = home / "near", home / "s3" / "bucket" / "pra"
    near.mkdir(mode=0o700)
    far.mkdir(parents=True)
    config, environment = home / "pra.toml", {"PRA_STATE_DIR": str(state)}

    def settings(*parts: str) -> Settings:
        config.write_text("".join(parts))
        return load_settings(config, {**os.environ, **environment})

    first = settings(head, _TARGET.format(name="real", dsn=cluster.dsn("d00"), repositories='"near"'))
    with Scope() as scope:
        context = Context(first, first.target("real"), scope)
        backup.run(context)
        [entry] = context.catalog("near").backups()
    assert entry.manifest is not None
    targets = [
        _TARGET.format(name=name, dsn=cluster.dsn(f"d{number % DATABASES:02d}"), repositories='"near", "far"')
        for number, name in enumerate(f"t{number:03d}" for number in range(DATABASES * NAMES))
    ]
    # The server looks at a directory once, and then for minutes not again.
    _multiply((near, far), first, entry.manifest)
    with serve_s3(home / "s3") as server:
        environment |= {"PRA_CONFIG": str(config), "PRA_REPOSITORIES__FAR__SECRET_ACCESS_KEY": SECRET}
        every = settings(head, _FAR.format(endpoint=server.endpoint, key_id=KEY_ID), *targets)
        yield Fleet(home, cluster, server, every, environment)


def _multiply(places: tuple[Path, ...], settings: Settings, real: Manifest) -> None:
    signer, now = load_signer(settings.signing, settings.state_dir), utc_now()
    volumes = sorted((places[0] / objects_prefix("real", real.backup_id)).iterdir())
    for number in range(DATABASES * NAMES):
        target = f"t{number:03d}"
        made = [_taken(real, target, now - timedelta(minutes=10, hours=hours)) for hours in range(BACKUPS)]
        for one in made:
            data = manifest.sign(one, signer)
            for place in places:
                folder = place / objects_prefix(target, one.backup_id)
                folder.mkdir(parents=True)
                for file in volumes:
                    os.link(file, folder / file.name)
                published = one.taken_at + timedelta(minutes=1)
                _write(place / manifest_key(target, one.backup_id), data, published)
        _prove(target, made[0].backup_id, signer, now, places)


def _taken(real: Manifest, target: str, taken: datetime) -> Manifest:
    changed = {
        "target": target,
        "backup_id": f"{taken:%Y%m%dT%H%M%SZ}-full-0a0a",
        "started_at": taken,
        "taken_at": taken,
        "read_finished_at": taken,
        "finished_at": taken,
        "previous": None,
        "evidence_head": None,
    }
    return real.model_copy(update=changed)


def _prove(target: str, newest: str, signer: Signer, now: datetime, places: tuple[Path, ...]) -> None:
    proof = {"backup_id": newest, "verdict": "PASS"}
    records: list[tuple[str, dict[str, Any]]] = [("expiry", {"removed": []})] * EXPIRIES
    records += [("verification", {**proof, "repository": name}) for name in ("near", "far")]
    records += [("drill", {"verdict": "PASS"}), ("scrub", {"verdict": "PASS"})]
    head = GENESIS
    for number, (kind, body) in enumerate(records, 1):
        data = compose(
            signer,
            target=target,
            sequence=number,
            previous_sha256=head,
            at=now - timedelta(minutes=5),
            kind=kind,
            body=body,
        )
        head = hashlib.sha256(data).hexdigest()
        for place in places:
            _write(place / evidence_key(target, number), data, now)


def _write(path: Path, data: bytes, at: datetime) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (at.timestamp(), at.timestamp()))
