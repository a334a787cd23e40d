"""Samples and the state of a scrub on every kind of repository."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pra.layout import scrub_key
from pra.scrub import state as scrub_state
from pra.scrub.state import ScrubState
from pra.storage.base import Storage
from pra.watch.publishing import publish
from pra.watch.samples import LocalSamples, read
from pra.watch.status.finding import Finding, Level, StatusPass

DAY = datetime(2026, 11, 22, tzinfo=UTC)


def test_samples_are_published_and_read_back(store: Storage, tmp_path: Path) -> None:
    here = LocalSamples(tmp_path / "samples", "vm")
    for hours in (0, 1, 2):
        found = (Finding("database", "akig", Level.OK, "x", 3.1, "ms"),)
        here.append(StatusPass(DAY + timedelta(hours=hours), "vm", 0.5, found))
    assert len(publish(here, store, DAY + timedelta(hours=2))) == 2
    back = list(read(DAY, DAY + timedelta(days=1), storages=[store]))
    assert [sample.at.hour for sample in back] == [0, 1]


def test_two_scrubs_at_once_are_merged(store: Storage) -> None:
    """The later check of each object counts; what is gone is forgotten."""
    keys = [f"db/backups/x/objects/{name}" for name in "abc"]
    first, previous = scrub_state.load(store, "db")
    assert previous is None
    first.passed(keys[0], DAY)
    scrub_state.store(store, "db", first, None, keys)
    other = ScrubState()
    other.passed(keys[1], DAY + timedelta(hours=1), "ab" * 32)
    other.failed(keys[2], "it has changed", DAY + timedelta(hours=1))
    scrub_state.store(store, "db", other, None, keys)
    merged, data = scrub_state.load(store, "db")
    assert data == store.read(scrub_key("db"))
    assert len(merged.checked) == 3
    assert merged.is_damaged(keys[2])
    assert merged.same_hash(keys[1], "ab" * 32)
    assert merged.same_hash(keys[1], "cd" * 32) is False
    scrub_state.store(store, "db", merged, data, keys[:1])
    assert list(scrub_state.load(store, "db")[0].checked) == ["backups/x/objects/a"]
