"""Full or incremental: the worked examples of the rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pra.manifest import FingerprintRef, Manifest, PhysicalFacts, ServerFacts
from pra.model import StoredObject
from pra.procedures.choice import Situation, depth_of, parent_of
from pra.settings_model import Physical, Target

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SYSTEM = "7710966572446080729"


def backup(hours: float, parents: tuple[str, ...] = (), **changed: Any) -> Manifest:
    """A physical backup of that many hours ago; full unless it has parents."""
    taken_at = NOW - timedelta(hours=hours)
    kind = "incremental" if parents else "full"
    system, timeline = changed.pop("system", SYSTEM), changed.pop("timeline", 1)
    fields: dict[str, Any] = {
        "target": "db",
        "backup_id": f"{taken_at:%Y%m%dT%H%M%SZ}-{kind}-0000",
        "engine": "physical",
        "kind": kind,
        "database": "app",
        "started_at": taken_at,
        "taken_at": taken_at,
        "read_finished_at": taken_at,
        "finished_at": taken_at,
        "server": ServerFacts(
            version_num=180000, version="18.0", system_identifier=system, encoding="UTF8", collate="C",
            ctype="C", locale_provider="libc", bootstrap_role="postgres", data_checksums=True,
            database_bytes=1,
        ),
        "snapshot": "1:1:",
        "objects": (StoredObject("lineage.zst", 1, "0" * 64, 1, "0" * 64),),
        "parents": parents,
        "physical": PhysicalFacts(
            timeline=timeline, start_lsn="0/2000028", stop_lsn="0/2000120", wal=(),
            wal_segment_bytes=16 << 20, lineage="lineage.zst",
        ),
        "fingerprint": FingerprintRef(depth="digest", sha256="0" * 64, tables=1, rows=1),
        "encryption": "none",
        "tools": "pg_basebackup 18.0",
    }  # fmt: skip
    return Manifest(**{**fields, **changed})


def chain(*hours: float) -> list[Manifest]:
    """A full backup and its increments, oldest first."""
    made: list[Manifest] = []
    for each in hours:
        made.append(backup(each, tuple(earlier.backup_id for earlier in made)))
    return made


def target(**policy: Any) -> Target:
    return Target(name="db", dsn="host=/tmp dbname=app", repositories=["near"], physical=Physical(**policy))


def situation(*backups: Manifest, **changed: Any) -> Situation:
    plain = Situation(
        target=target(), backups=backups, major=18, summarize_wal=True, system_identifier=SYSTEM,
        timeline=1, now=NOW,
    )  # fmt: skip
    return replace(plain, **changed)


FULLS: dict[str, tuple[Situation, str]] = {
    "the very first": (situation(), "it is the first"),
    "asked for": (situation(*chain(1), asked_full=True), "asked for"),
    "PostgreSQL 16": (situation(*chain(1), major=16), "PostgreSQL 16 takes no incremental backups"),
    "summaries off": (situation(*chain(1), summarize_wal=False), "summarize_wal is off"),
    "another server": (
        situation(backup(1, system="42")),
        "the server is another one than before",
    ),
    "promoted": (
        situation(backup(1), timeline=2),
        "the server is on timeline 2, the backup before on 1",
    ),
    "major upgraded": (situation(backup(1), major=19), "the server's major version has changed"),
    "25 hours after a full": (situation(*chain(25, 24, 1)), "the last full backup is 1 d 01 h old"),
    "a second less than a day after, since a schedule is not exact": (
        situation(*chain(23.9997)),
        "the last full backup is 23 h 59 min old",
    ),
    "a chain as long as may be": (
        situation(*chain(3, 2, 1), target=target(longest_chain=2)),
        "the chain has 2 incremental backups, and may have 2",
    ),
    "no chains wanted": (situation(*chain(1), target=target(longest_chain=0)), "longest_chain is 0"),
    "a parent that is nowhere": (
        situation(*chain(3, 2, 1)[1:]),
        "20261122T090000Z-full-0000, which 20261122T110000Z-incremental-0000 stands upon, is nowhere",
    ),
    "only logical backups": (
        situation(backup(1, engine="logical", physical=None)),
        "it is the first",
    ),
}


@pytest.mark.parametrize(("given", "reason"), FULLS.values(), ids=FULLS)
def test_a_full_backup_says_why(given: Situation, reason: str) -> None:
    assert parent_of(given) == reason


def test_an_increment_stands_upon_the_newest() -> None:
    made = chain(3, 2, 1)
    found = parent_of(situation(made[2], made[0], made[1]))
    assert isinstance(found, Manifest)
    assert found.backup_id == made[-1].backup_id


DEPTHS = {
    "every backup, by default": (None, (1.0,), "digest"),
    "a digest of 5 hours ago, one every 6": (timedelta(hours=6), (5.0,), "none"),
    "a digest of 7 hours ago, one every 6": (timedelta(hours=6), (7.0,), "digest"),
    "none ever": (timedelta(hours=6), (), "digest"),
}


@pytest.mark.parametrize(("every", "hours", "expected"), DEPTHS.values(), ids=DEPTHS)
def test_how_deep_the_fingerprint_looks(
    every: timedelta | None, hours: tuple[float, ...], expected: str
) -> None:
    given = situation(*(backup(each) for each in hours), target=target(digest_every=every))
    assert depth_of(given) == expected
