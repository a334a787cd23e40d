"""A past to measure: samples, evidence and backups made up day by day, and what is true of them.

Written as the software writes it, straight into folders: 20,000 objects one by one through a storage's own
fsync would take minutes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from pra import keys
from pra import manifest as manifests
from pra.evidence_record import GENESIS, compose
from pra.keys import Signer, load_signer
from pra.layout import evidence_key, manifest_key, samples_key
from pra.proc import Scope
from pra.procedures.context import Context
from pra.settings import Settings, load_settings
from pra.storage.local import LocalStorage
from pra.watch.bundles import publish_bundle
from pra.watch.samples import pack
from pra.watch.status.record import said
from tests.fix_record import make_manifest

TOML = """\
language = "{language}"

[targets.db]
dsn = "postgresql://backup@127.0.0.1:5432/db"
engine = "{engine}"
rpo = "1h"
rto = "30min"
repositories = ["near", "far"]
api = {{ url = "http://127.0.0.1:4002" }}

[repositories.near]
url = "file://{home}/near"

[repositories.far]
url = "file://{home}/far"

[encryption]
recipients = []
"""
NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
HOST = "watcher"
PUBLISH = timedelta(minutes=4)


@dataclass
class Past:
    """What happened to target ``db``, and where it is written.

    Attributes:
        ticks: Of each sample: moment, up (None: unknown), values, names of what was critical, and unknown.
        backups: By repository, when each was begun; it is published `PUBLISH` later.
        proofs: Bodies of the records, with their kind and moment.
    """

    home: Path
    settings: Settings
    signer: Signer
    now: datetime
    ticks: list[tuple[datetime, bool | None, dict[str, float], list[str], list[str]]] = field(
        default_factory=list
    )
    backups: dict[str, list[datetime]] = field(default_factory=dict)
    proofs: list[tuple[str, datetime, dict[str, Any]]] = field(default_factory=list)
    written: int = 0
    head: str = GENESIS

    def clock(self) -> datetime:
        return self.now

    def folder(self, repository: str) -> Path:
        return self.home / repository

    # -- writing -------------------------------------------------------------------------------

    def write(self, repository: str, key: str, data: bytes, at: datetime | None = None) -> Path:
        path = self.folder(repository) / key
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(data)
        moment = (at or self.now).timestamp()
        os.utime(path, (moment, moment))
        return path

    def record(self, kind: str, at: datetime, body: Mapping[str, Any], signer: Signer | None = None) -> Path:
        """The next record of evidence, in both repositories."""
        self.written += 1
        data = compose(
            signer or self.signer,
            target="db",
            sequence=self.written,
            previous_sha256=self.head,
            at=at,
            kind=kind,
            body=body,
        )
        self.head = hashlib.sha256(data).hexdigest()
        for name in ("far", "near"):
            path = self.write(name, evidence_key("db", self.written), data, at)
        return path

    def backup(self, repository: str, at: datetime) -> str:
        """A backup that was begun then: its manifest alone."""
        taken = at + timedelta(seconds=2)
        backup_id = f"{at:%Y%m%dT%H%M%SZ}-full-0a0a"
        manifest = make_manifest(target="db", backup_id=backup_id, taken_at=taken, started_at=at)
        data = manifests.sign(manifest, self.signer)
        self.write(repository, manifest_key("db", backup_id), data, at + PUBLISH)
        return backup_id

    def publish_samples(self, *, hours: bool = True) -> None:
        """Every hour as one object, and every day that is over as another."""
        by_hour: dict[datetime, list[bytes]] = {}
        for at, _up, values, critical, unknown in self.ticks:
            entry = {"v": values, "c": critical, "u": unknown}
            document = {"t": int(at.timestamp()), "x": {"db": {k: v for k, v in entry.items() if v}}}
            line = json.dumps(document, separators=(",", ":")).encode()
            by_hour.setdefault(at.replace(minute=0, second=0), []).append(line)
        days: dict[datetime, list[bytes]] = {}
        for hour, lines in by_hour.items():
            if hours:
                key = samples_key(HOST, hour.date(), hour.hour, 1)
                self.write("near", key, pack(lines, HOST), hour + timedelta(hours=1))
            days.setdefault(hour.replace(hour=0), []).extend(lines)
        for day, lines in days.items():
            if not hours or day.date() < self.now.date():
                self.write("near", samples_key(HOST, day.date(), None, 1), pack(lines, HOST), day)

    def publish_bundles(self) -> None:
        """As status passes do that have read the evidence, one after the other."""
        place = LocalStorage("near", self.folder("near"))
        with Scope() as scope:
            said(Context(self.settings, self.settings.target(None), scope, self.clock), "near")
        while publish_bundle(self.settings, place):
            pass


def make_past(home: Path, *, now: datetime = NOW, engine: str = "logical", language: str = "en") -> Past:
    """Keys, settings and two empty repositories."""
    state = home / "state"
    state.mkdir(mode=0o700, parents=True)
    keys.make_keys(state / "keys")
    for name in ("near", "far"):
        (home / name).mkdir(mode=0o700)
    config = home / "pra.toml"
    config.write_text(TOML.format(home=home, engine=engine, language=language))
    settings = load_settings(config, {**os.environ, "PRA_STATE_DIR": str(state)})
    return Past(home, settings, load_signer(settings.signing, state), now)


def live(
    past: Past, days: int, *, seed: int = 1, every: int = 5, kept: int = 48, expiries: bool = False
) -> Past:
    """Let so many days go by, up to now, with a share of everything that goes wrong.

    Args:
        every: Minutes between two samples.
        kept: How many backups of each repository have not expired.
        expiries: Each backup is followed by a record of what expired.
    """
    dice = Random(seed)
    begin = past.now.replace(hour=0, minute=0, second=0) - timedelta(days=days)
    hours = [begin + timedelta(hours=n) for n in range(int((past.now - begin) / timedelta(hours=1)) + 1)]
    for name in ("near", "far"):
        past.backups[name] = [h + timedelta(seconds=3) for h in hours if dice.random() > 0.01]
        for at in past.backups[name][-kept:]:
            if at + PUBLISH <= past.now:
                past.backup(name, at)
    _sample(past, begin, dice, every)
    _prove(past, hours, dice, expiries=expiries)
    return past


def _sample(past: Past, begin: datetime, dice: Random, every: int) -> None:
    until_down = until_blind = begin
    newest: dict[str, datetime] = {}
    waiting = {name: list(moments) for name, moments in past.backups.items()}
    at = begin + timedelta(seconds=7)
    while at < past.now:
        for name, moments in waiting.items():
            while moments and moments[0] + PUBLISH <= at:
                newest[name] = moments.pop(0)
        if dice.random() < 0.0005:
            until_down = at + timedelta(minutes=dice.choice([5, 10, 45]))
        if dice.random() < 0.0005:
            until_blind = at + timedelta(minutes=30)
        values: dict[str, float] = {
            f"backup.{name}": round((at - moment).total_seconds()) for name, moment in newest.items()
        }
        critical: list[str] = []
        unknown: list[str] = []
        up: bool | None = True
        if at < until_down:
            up, critical = False, ["database"]
        elif at < until_blind:
            up, unknown, values = None, ["api", "backup.far", "backup.near", "database"], {}
        if up is not None:
            values["api"] = 40.0
        if up:
            values["database"] = 3.5
            values["size"] = 10**9 + int((at - begin).total_seconds() * 20)
        past.ticks.append((at, up, values, critical, unknown))
        at += timedelta(minutes=every)


def _prove(past: Past, hours: list[datetime], dice: Random, *, expiries: bool) -> None:
    """Sundays at three, from both repositories; a drill each first of a month at nine."""
    for hour in hours:
        if hour.weekday() == 6 and hour.hour == 3:
            for name in ("near", "far"):
                newest = [b for b in past.backups[name] if b + PUBLISH <= hour]
                if newest:
                    body = proof(dice, name, f"{newest[-1]:%Y%m%dT%H%M%SZ}-full-0a0a")
                    past.proofs.append(("verification", hour + timedelta(minutes=20), body))
        if hour.day == 1 and hour.hour == 9:
            past.proofs.append(("drill", hour + timedelta(minutes=30), proof(dice, "near", "", drill=True)))
        if expiries:
            past.proofs.append(("expiry", hour - timedelta(minutes=50), {"removed": []}))
    for kind, at, body in past.proofs:
        past.record(kind, at, body)


def proof(dice: Random, repository: str, backup_id: str, *, drill: bool = False) -> dict[str, Any]:
    """The part of a record's body that metrics read."""
    rto, rpo = dice.randint(60_000, 2_000_000), dice.randint(60_000, 4_000_000)
    objective = {"met": True, "how": "as made up"}
    common: dict[str, Any] = {
        "verdict": dice.choices(["PASS", "PARTIAL", "FAIL"], [8, 1, 1])[0],
        "rto": {"target_milliseconds": 1_800_000, "actual_milliseconds": rto, **objective},
        "rpo": {"target_milliseconds": 3_600_000, "actual_milliseconds": rpo, **objective},
        "backup": {"backup_id": backup_id, "repository": repository, "bytes": dice.randint(10**8, 2 * 10**8)},
    }
    if drill:
        return {**common, "scenario": "database-down", "proven_milliseconds": rto + 60_000}
    return {
        **common,
        "backup_id": backup_id,
        "repository": repository,
        "rto_milliseconds": rto,
        "proof_milliseconds": rto + 60_000,
        "environment": "sandbox",
    }
