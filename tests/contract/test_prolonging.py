"""A lock lasts as long as what depends on it: whoever waits for the first date finds nothing to destroy."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from pra.errors import StorageError
from pra.manifest import Manifest
from pra.procedures.publishing import retain_until
from pra.timing import utc_now
from tests.fix_locked import SYSTEM, LockedVault

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def moment(**before: float) -> datetime:
    return utc_now().replace(microsecond=0) - timedelta(**before)


def end_of(locked_vault: LockedVault, repository: str, manifest: Manifest) -> datetime:
    """Until when retention keeps a backup that is about to arrive there."""
    with locked_vault.context() as context:
        until = retain_until(context, repository, manifest.taken_at, SYSTEM)
    assert until is not None
    return until.replace(microsecond=0)


def free_before(locked_vault: LockedVault, repository: str, manifest: Manifest, until: datetime) -> list[str]:
    """What of a backup somebody could destroy before that date."""
    locks = {key: locked_vault.until(repository, key) for key in locked_vault.keys_of(manifest)}
    return [key for key, lock in locks.items() if lock is None or lock < until]


def refuse_to_prolong(locked_vault: LockedVault, repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        answer: Any = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise ClientError(answer, "PutObjectRetention")

    monkeypatch.setattr(locked_vault.repositories[repository]._client, "put_object_retention", refuse)


def test_wal_that_was_streamed_before_is_locked_for_as_long_as_the_backup(locked_vault: LockedVault) -> None:
    """The first of its month: locked for a year, the WAL of the window for days."""
    locked_vault.stream("far", 5, 6, until=moment(days=-7))
    backup = locked_vault.manifest(moment(hours=1), wal=[5, 6])
    end = end_of(locked_vault, "far", backup)
    assert end > moment(days=-300)
    assert locked_vault.publish("far", backup, 5, 6).ok
    assert free_before(locked_vault, "far", backup, end) == []


def test_a_parent_and_its_wal_are_locked_for_as_long_as_the_increment(locked_vault: LockedVault) -> None:
    locked_vault.stream("far", 1, 2, 3, until=moment(days=-1))
    full = locked_vault.put("far", locked_vault.manifest(moment(hours=3), wal=[1]), moment(hours=-1))
    middle = locked_vault.manifest(moment(hours=2), [full.backup_id], wal=[2])
    locked_vault.put("far", middle, moment(hours=-1))
    last = locked_vault.manifest(moment(hours=1), [full.backup_id, middle.backup_id], wal=[3])
    end = end_of(locked_vault, "far", last)
    assert free_before(locked_vault, "far", full, end)
    assert locked_vault.publish("far", last, 3).ok
    for each in (full, middle, last):
        assert free_before(locked_vault, "far", each, end) == []


def test_a_parent_that_is_locked_for_longer_stays_so(locked_vault: LockedVault) -> None:
    locked_vault.stream("far", 1, 2, until=moment(days=-900))
    full = locked_vault.put("far", locked_vault.manifest(moment(hours=3), wal=[1]), moment(days=-900))
    assert locked_vault.publish(
        "far", locked_vault.manifest(moment(hours=1), [full.backup_id], wal=[2]), 2
    ).ok
    assert free_before(locked_vault, "far", full, moment(days=-899)) == []


def test_a_lock_that_cannot_be_prolonged_keeps_the_manifest_from_landing(
    locked_vault: LockedVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = locked_vault.put("far", locked_vault.manifest(moment(hours=3)), moment(hours=-1))
    refuse_to_prolong(locked_vault, "far", monkeypatch)
    result = locked_vault.publish("far", locked_vault.manifest(moment(hours=1), [full.backup_id]))
    assert not result.ok
    assert "cannot be prolonged" in result.error
    assert locked_vault.committed("far") == {full.backup_id}


def test_neither_does_it_land_where_its_wal_cannot_be_locked(
    locked_vault: LockedVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked_vault.stream("far", 5, until=moment(days=-7))
    refuse_to_prolong(locked_vault, "far", monkeypatch)
    result = locked_vault.publish("far", locked_vault.manifest(moment(hours=1), wal=[5]), 5)
    assert not result.ok
    assert "cannot be prolonged" in result.error
    assert locked_vault.committed("far") == set()


def test_a_copy_is_locked_like_the_backup_with_what_was_there_before(locked_vault: LockedVault) -> None:
    locked_vault.stream("near", 5, 6)
    backup = locked_vault.put("near", locked_vault.manifest(moment(hours=1), wal=[5, 6]))
    locked_vault.stream("far", 5, until=moment(days=-7))
    locked_vault.put_volume("far", backup, until=moment(days=-1))
    end = end_of(locked_vault, "far", backup)
    assert locked_vault.catch_up("far") == [backup.backup_id]
    assert free_before(locked_vault, "far", backup, end) == []


def test_a_copied_parent_keeps_its_own_lock_and_its_own_is_the_longer_one(locked_vault: LockedVault) -> None:
    """The full backup is the first of its month, the increment one of an hour."""
    locked_vault.retain(hourly=24, daily=0, weekly=0, monthly=12, pitr_window=HOUR)
    month = moment().replace(day=1, hour=0, minute=0, second=0)
    full = locked_vault.put("near", locked_vault.manifest(month + HOUR))
    last = locked_vault.put("near", locked_vault.manifest(month + 2 * HOUR, [full.backup_id]))
    end = end_of(locked_vault, "far", full)
    assert locked_vault.catch_up("far") == [full.backup_id, last.backup_id]
    assert free_before(locked_vault, "far", full, end) == []
    lock = locked_vault.until("far", locked_vault.keys_of(last)[-1])
    assert lock is not None
    assert lock < month + 3 * DAY, "what is yet to be copied counts: it is not the first of its month"


def test_what_is_copied_is_not_committed_where_its_wal_cannot_be_locked(
    locked_vault: LockedVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked_vault.stream("near", 5)
    locked_vault.put("near", locked_vault.manifest(moment(hours=1), wal=[5]))
    locked_vault.stream("far", 5, until=moment(days=-7))
    refuse_to_prolong(locked_vault, "far", monkeypatch)
    with pytest.raises(StorageError, match="cannot be prolonged"):
        locked_vault.catch_up("far")
    assert locked_vault.committed("far") == set()


def test_what_the_manifest_says_in_the_end_decides_how_long(locked_vault: LockedVault) -> None:
    """Begun before midnight and taken after it: the first of another day than its id says."""
    locked_vault.retain(hourly=1, daily=7, weekly=0, monthly=0, pitr_window=HOUR)
    midnight = moment().replace(hour=0, minute=0, second=0)
    locked_vault.stream("far", 5, until=midnight + DAY)
    locked_vault.put("far", locked_vault.manifest(midnight - 2 * HOUR))
    begun = locked_vault.manifest(midnight - timedelta(minutes=10), wal=[5])
    sealed = begun.model_copy(update={"taken_at": midnight})
    assert locked_vault.publish("far", begun, 5, sealed=sealed).ok
    assert free_before(locked_vault, "far", sealed, midnight + 7 * DAY) == []
