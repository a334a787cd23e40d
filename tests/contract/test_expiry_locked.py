"""Expiry where Object Lock has a say: what is still listed can still be restored."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from pra.errors import PraError
from pra.procedures import expiry
from pra.procedures.publishing import retain_until
from pra.timing import utc_now
from tests.fix_locked import SEGMENT, SYSTEM, LockedVault

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def days_ago(days: float) -> datetime:
    """So long before the midnight that today began with."""
    return utc_now().replace(hour=0, minute=0, second=0, microsecond=0) - days * DAY


def test_what_a_locked_increment_stands_upon_stays_with_it(locked_vault: LockedVault) -> None:
    """The locks of the chain itself are over, that of its last increment is not."""
    locked_vault.retain(hourly=1, daily=0, weekly=0, monthly=0, pitr_window=HOUR)
    full = locked_vault.put("far", locked_vault.manifest(days_ago(20)))
    middle = locked_vault.put("far", locked_vault.manifest(days_ago(19), [full.backup_id]))
    chain = [full.backup_id, middle.backup_id]
    last = locked_vault.put("far", locked_vault.manifest(days_ago(18), chain))
    for key in locked_vault.keys_of(last):
        locked_vault.lock("far", key, utc_now() + HOUR)
    other = locked_vault.put("far", locked_vault.manifest(days_ago(15)))
    stay = {locked_vault.put("far", locked_vault.manifest(days_ago(days))).backup_id for days in (10, 0)}
    with locked_vault.context() as context:
        report = expiry.expire(context, "far")
        with pytest.raises(PraError, match="3 backups had to stay"):
            expiry.expire_names(context, "far")
    assert report.removed == (other.backup_id,)
    assert report.retained == (last.backup_id, *reversed(chain))
    stands = f"{last.backup_id}, which had to stay, stands upon it"
    assert "under object lock until" in report.reasons[0]
    assert report.reasons[1:] == (stands, stands)
    assert locked_vault.committed("far") == {*chain, last.backup_id, *stay}


def test_a_chain_goes_whole_once_its_locks_are_over(locked_vault: LockedVault) -> None:
    locked_vault.retain(hourly=1, daily=0, weekly=0, monthly=0, pitr_window=HOUR)
    full = locked_vault.put("far", locked_vault.manifest(days_ago(20)))
    last = locked_vault.put("far", locked_vault.manifest(days_ago(18), [full.backup_id]))
    stay = {locked_vault.put("far", locked_vault.manifest(days_ago(days))).backup_id for days in (10, 0)}
    with locked_vault.context() as context:
        report = expiry.expire(context, "far")
    assert report.removed == (last.backup_id, full.backup_id)
    assert locked_vault.committed("far") == stay


def test_the_window_keeps_what_it_begins_from_and_the_wal_behind_it(locked_vault: LockedVault) -> None:
    """The schedule keeps two days: without the window nothing older would stay."""
    locked_vault.retain(hourly=1, daily=2, weekly=0, monthly=0, pitr_window=7 * DAY)
    made = {}
    for days in range(12, 0, -1):
        locked_vault.stream("near", 20 - days)
        made[days] = locked_vault.put("near", locked_vault.manifest(days_ago(days), wal=[20 - days]))
    with locked_vault.context() as context:
        planned = expiry.expire(context, "near", dry_run=True)
        report = expiry.expire(context, "near")
    gone = {made[days].backup_id for days in (12, 11, 10)}
    assert {one.backup_id for one in planned.plan.expire} == gone == set(report.removed)
    assert {one.backup_id for one in report.plan.keep} == locked_vault.committed("near")
    # The newest is of yesterday: seven days before it, the window begins from the one of that midnight.
    assert [one.keep_from for one in planned.wal] == [12 * SEGMENT + 40]
    assert planned.wal == report.wal


def test_a_base_backup_is_locked_for_as_long_as_the_window_may_begin_from_it(
    locked_vault: LockedVault,
) -> None:
    locked_vault.retain(hourly=1, daily=2, weekly=0, monthly=0, pitr_window=7 * DAY)
    midnight = days_ago(1)
    locked_vault.put("near", locked_vault.manifest(midnight + HOUR))
    with locked_vault.context() as context:
        locks = {
            (hours, system_id): retain_until(context, "near", midnight + hours * HOUR, system_id)
            for hours, system_id in ((0.5, SYSTEM), (5, SYSTEM), (5, "another"), (5, None), (5, ""))
        }
    assert locks == {
        (0.5, SYSTEM): midnight + 9 * DAY,
        (5, SYSTEM): midnight + 6 * HOUR,
        (5, "another"): midnight + 9 * DAY,
        (5, None): midnight + 6 * HOUR,
        (5, ""): midnight + 6 * HOUR,
    }
