"""Expiry where Object Lock has a say: what is still listed can still be restored."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pra.errors import PraError
from pra.procedures import expiry
from pra.timing import utc_now
from tests.fix_locked import Vault

HOUR = timedelta(hours=1)


def test_what_a_locked_increment_stands_upon_stays_with_it(vault: Vault) -> None:
    """The chain's own locks are over, that of its last increment is not."""
    vault.retain(hourly=1, daily=0, weekly=0, monthly=0, pitr_window=HOUR)
    now = utc_now()
    full = vault.put("far", vault.manifest(now - 90 * HOUR))
    middle = vault.put("far", vault.manifest(now - 80 * HOUR, [full.backup_id]))
    chain = [full.backup_id, middle.backup_id]
    last = vault.put("far", vault.manifest(now - 70 * HOUR, chain))
    for key in vault.keys_of(last):
        vault.lock("far", key, now + HOUR)
    other = vault.put("far", vault.manifest(now - 60 * HOUR))
    newest = vault.put("far", vault.manifest(now - HOUR))
    with vault.context() as context:
        report = expiry.expire(context, "far")
        with pytest.raises(PraError, match="3 backups had to stay"):
            expiry.expire_names(context, "far")
    assert report.removed == (other.backup_id,)
    assert report.retained == (last.backup_id, *reversed(chain))
    stands = f"{last.backup_id}, which had to stay, stands upon it"
    assert "under object lock until" in report.reasons[0]
    assert report.reasons[1:] == (stands, stands)
    assert vault.committed("far") == {*chain, last.backup_id, newest.backup_id}


def test_a_chain_goes_whole_once_its_locks_are_over(vault: Vault) -> None:
    vault.retain(hourly=1, daily=0, weekly=0, monthly=0, pitr_window=HOUR)
    now = utc_now()
    full = vault.put("far", vault.manifest(now - 90 * HOUR))
    last = vault.put("far", vault.manifest(now - 70 * HOUR, [full.backup_id]))
    newest = vault.put("far", vault.manifest(now - HOUR))
    with vault.context() as context:
        report = expiry.expire(context, "far")
    assert report.removed == (last.backup_id, full.backup_id)
    assert vault.committed("far") == {newest.backup_id}
