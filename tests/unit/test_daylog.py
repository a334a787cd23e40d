"""Logs to follow: a file a day, set aside, kept for a month, and archived once."""

from __future__ import annotations

import fcntl
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zstandard

from pra import daylog
from pra.errors import StorageError
from pra.model import PublishResult, Verdict
from pra.settings import Settings
from pra.storage.local import LocalStorage
from pra.watch import backup_log

NOW = datetime(2026, 11, 26, 8, 40, 6, tzinfo=UTC)
DAY = timedelta(days=1)


def written(state: Path, *days: datetime) -> None:
    """One line a day, as on those days."""
    for day in days:
        daylog.append(state, "akig_backup", [f"{day:%Y-%m-%d} a line"], day)
        os.utime(state / "logs" / "akig_backup.log", (day.timestamp(), day.timestamp()))


def names(state: Path) -> list[str]:
    return sorted(path.name for path in (state / "logs").glob("*.log"))


def test_a_day_that_is_over_is_set_aside_and_a_month_is_kept(tmp_path: Path) -> None:
    written(tmp_path, NOW - 40 * DAY, NOW - 2 * DAY, NOW - DAY, NOW, NOW)
    assert names(tmp_path) == ["akig_backup-2026-11-24.log", "akig_backup-2026-11-25.log", "akig_backup.log"]
    assert (tmp_path / "logs" / "akig_backup.log").read_text() == "2026-11-26 a line\n" * 2
    assert (tmp_path / "logs" / "akig_backup.log").stat().st_mode & 0o777 == 0o600


def test_each_day_is_archived_once_and_the_running_one_not_yet(
    tmp_path: Path, local_store: LocalStorage
) -> None:
    written(tmp_path, NOW - 2 * DAY, NOW - DAY, NOW)
    keys = daylog.archive(tmp_path, ["akig_backup"], "host", local_store)
    assert keys == [
        "_status/host/2026/11/24/akig_backup-1.log.zst",
        "_status/host/2026/11/25/akig_backup-1.log.zst",
    ]
    assert zstandard.decompress(local_store.read(keys[1])) == b"2026-11-25 a line\n"
    assert daylog.archive(tmp_path, ["akig_backup"], "host", local_store) == []
    for mark in (tmp_path / "logs").glob(".*.archived"):
        mark.unlink()  # as when the answer of a write was lost
    assert daylog.archive(tmp_path, ["akig_backup"], "host", local_store) == keys
    assert len(list(local_store.list("_status/"))) == 2


def test_another_log_of_the_same_day_gets_the_next_number(tmp_path: Path, local_store: LocalStorage) -> None:
    for state in (tmp_path / "one", tmp_path / "two"):
        daylog.append(state, "akig_backup", [f"of {state.name}"], NOW - DAY)
        os.utime(state / "logs" / "akig_backup.log", ((NOW - DAY).timestamp(),) * 2)
        written(state, NOW)
        keys = daylog.archive(state, ["akig_backup"], "host", local_store)
    assert keys == ["_status/host/2026/11/25/akig_backup-2.log.zst"]


def test_a_repository_that_is_away_gets_it_later(tmp_path: Path, local_store: LocalStorage) -> None:
    written(tmp_path, NOW - DAY, NOW)
    with pytest.raises(StorageError):
        daylog.archive(tmp_path, ["akig_backup"], "host", LocalStorage("away", tmp_path / "away"))
    assert len(daylog.archive(tmp_path, ["akig_backup"], "host", local_store)) == 1


def test_a_line_says_how_it_went_and_holds_no_secret(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    results = [PublishResult("near", True), PublishResult("far", False, "the bucket is gone")]
    backup_log.backed_up(settings, "akig", "20261126T084003Z-full-3f9c", 1200, 3.1, results)
    backup_log.proven(settings, "akig", "verification", Verdict.FAIL, "20261126T084003Z-full-3f9c", "near")
    backup_log.write(settings, "CRITICAL", "akig", "backup", "postgresql://me:hunter2@host/x\nDETAIL: a row")
    lines = (tmp_path / "logs" / "akig_backup.log").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == [
        "WARNING akig backup: 20261126T084003Z-full-3f9c, 1200 bytes in 3.10 s, in near; "
        "far: the bucket is gone",
        "CRITICAL akig verification: FAIL: 20261126T084003Z-full-3f9c read from near",
        "CRITICAL akig backup: postgresql://me:***@host/x",
    ]


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "logs").write_text("in the way")
    backup_log.write(Settings(state_dir=tmp_path), "OK", "akig", "backup", "taken")
    assert "akig_backup.log" in caplog.text


def test_a_writer_that_hangs_is_not_waited_for_without_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been stopped, or wait for a disk; the backup that would add its line is done."""
    monkeypatch.setattr(daylog, "LOCK_SECONDS", 0.2)
    (tmp_path / "logs").mkdir()
    with (tmp_path / "logs" / ".akig_backup.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        adding = threading.Thread(
            target=backup_log.write,
            args=(Settings(state_dir=tmp_path), "OK", "akig", "backup", "taken"),
            daemon=True,
        )
        adding.start()
        adding.join(5)
        assert not adding.is_alive()
    assert "held for more than" in caplog.text


def test_a_name_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    backup_log.write(Settings(state_dir=tmp_path), "OK", "akig", "backup", os.fsdecode(b"/srv/\xff"))
    assert "/srv/\\udcff" in (tmp_path / "logs" / "akig_backup.log").read_text()
