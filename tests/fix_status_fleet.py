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

[repositories.far]
url = "s3://bucket/pra"
endpoint = "{endpoint}"
access_key_id = "{key_id}"

[encryption]
recipients = ["{recipient}"]

[postgres]
bindir = "{bindir}"

[status]
disk_warning = 0.0
disk_critical = 0.0
"""
_TARGET = """
[targets.{name}]
dsn = "{dsn}"
repositories = ["near", "far"]
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
        (home / "s3" / "bucket").mkdir(parents=True)
        with serve_s3(home / "s3") as server:
            yield make_fleet(home, cluster, server)
    finally:
        cluster.remove()


def make_fleet(home: Path, cluster: Cluster, server: Server) -> Fleet:
    for number in range(DATABASES):
        cluster.createdb(f"d{number:02d}")
    cluster.execute("d00", "CREATE TABLE users AS SELECT generate_series(1, 1000) AS id")
    state = home / "state"
    state.mkdir(mode=0o700)
    recipient = keys.make_keys(state / "keys").recipient
    (home / "near").mkdir(mode=0o700)
    text = _HEAD.format(
        home=home, endpoint=server.endpoint, key_id=KEY_ID, recipient=recipient, bindir=cluster.bindir
    )
    for number in range(DATABASES * NAMES):
        text += _TARGET.format(name=f"t{number:03d}", dsn=cluster.dsn(f"d{number % DATABASES:02d}"))
    config = home / "pra.toml"
    config.write_text(text)
    environment = {
        "PRA_CONFIG": str(config),
        "PRA_STATE_DIR": str(state),
        "PRA_REPOSITORIES__FAR__SECRET_ACCESS_KEY": SECRET,
    }
    settings = load_settings(config, {**os.environ, **environment})
    with Scope() as scope:
        context = Context(settings, settings.target("t000"), scope)
        backup.run(context)
        [entry] = context.catalog("near").backups()
    assert entry.manifest is not None
    _multiply(home, settings, entry.manifest)
    return Fleet(home, cluster, server, settings, environment)


def _multiply(home: Path, settings: Settings, real: Manifest) -> None:
    signer, now = load_signer(settings.signing, settings.state_dir), utc_now()
    far = home / "s3" / "bucket" / "pra"
    volumes = {
        place: sorted((place / objects_prefix("t000", real.backup_id)).iterdir())
        for place in (home / "near", far)
    }
    for target in settings.targets:
        newest = ""
        for number in range(BACKUPS):
            taken = now - timedelta(minutes=10, hours=number)
            made = _taken(real, target, taken)
            newest = newest or made.backup_id
            data = manifest.sign(made, signer)
            for place, files in volumes.items():
                folder = place / objects_prefix(target, made.backup_id)
                folder.mkdir(parents=True)
                for file in files:
                    os.link(file, folder / file.name)
                _write(place / manifest_key(target, made.backup_id), data, taken + timedelta(minutes=1))
        _prove(target, newest, signer, now, (home / "near", far))


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
    # What the real backup has left is not theirs.
    begin, head = (0, GENESIS)
    there = sorted((places[0] / evidence_key(target, 1)).parent.glob("*.json"))
    if there:
        begin, head = len(there), hashlib.sha256(there[-1].read_bytes()).hexdigest()
    for number, (kind, body) in enumerate(records, begin + 1):
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
