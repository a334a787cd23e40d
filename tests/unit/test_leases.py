"""Leases: seen by others, renewed, given back; every doubt means live."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pra.errors import BusyError, StorageError
from pra.layout import leases_prefix
from pra.leases import Lease, hold, live, survey
from pra.storage.local import LocalStorage
from pra.timing import to_iso, utc_now

MINUTE = timedelta(minutes=1)
LATER = timedelta(hours=1)


def keys(storage: LocalStorage) -> list[str]:
    return [stat.key for stat in storage.list(leases_prefix("akig"))]


def plant(storage: LocalStorage, name: str = "planted", **changed: object) -> str:
    """A lease as a holder that died an hour ago would have left it, unless told otherwise."""
    past = datetime(2026, 1, 1, tzinfo=UTC)
    document: dict[str, object] = {
        "schema": "pra/lease/1",
        "purpose": "backup",
        "holder": "host/1",
        "nonce": "n",
        "covers": [],
        "renewed_at": to_iso(past),
        "expires_at": to_iso(past + 5 * MINUTE),
        "ttl_seconds": 300,
    }
    key = f"akig/leases/{name}"
    storage.create(key, json.dumps({**document, **changed}).encode())
    return key


def test_held_lease_is_seen_and_given_back(local: LocalStorage) -> None:
    with hold(local, "akig", "backup", covers=["b1"]):
        [info] = live(local, "akig", utc_now())
        assert (info.purpose, info.covers, info.covers_all) == ("backup", ("b1",), False)
        assert info.protects("b1")
        assert not info.protects("b2")
        assert "/" in info.holder
        assert live(local, "other", utc_now()) == []
    assert keys(local) == []


def test_lease_is_given_back_when_the_body_fails(local: LocalStorage) -> None:
    with pytest.raises(RuntimeError, match="body"), hold(local, "akig", "backup"):
        raise RuntimeError("body")
    assert keys(local) == []


def test_several_may_hold_one_purpose_unless_exclusive(local: LocalStorage) -> None:
    with hold(local, "akig", "backup"), hold(local, "akig", "backup"):
        assert len(live(local, "akig", utc_now())) == 2
    with hold(local, "akig", "gc", exclusive=True):
        with (
            pytest.raises(BusyError, match=r"held by .+/\d+ for gc, until") as caught,
            hold(local, "akig", "gc", exclusive=True),
        ):
            pytest.fail("two held it")
        assert "akig/leases/gc" in caught.value.hint
    with hold(local, "akig", "gc", exclusive=True):
        pass


def test_of_many_racers_for_an_exclusive_lease_one_wins(local: LocalStorage) -> None:
    holding, most, lock = 0, 0, threading.Lock()
    start, refused = threading.Barrier(8), []

    def race() -> None:
        nonlocal holding, most
        start.wait()
        try:
            with hold(local, "akig", "gc", exclusive=True) as lease:
                with lock:
                    holding += 1
                    most = max(most, holding)
                lease.check()
                with lock:
                    holding -= 1
        except BusyError as error:
            refused.append(error)

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert len(refused) < 8


def test_dead_holders_exclusive_lease_is_taken_over(local: LocalStorage) -> None:
    key = plant(local, "gc")
    with pytest.raises(BusyError), hold(local, "akig", "gc", exclusive=True):
        pytest.fail("its object was written a moment ago: by the repository's clock it lives")
    with hold(local, "akig", "gc", lambda: utc_now() + LATER, exclusive=True):
        assert b'"gc"' in local.read(key)


def test_expired_lease_is_dead(local: LocalStorage) -> None:
    plant(local)
    assert live(local, "akig", utc_now() + LATER) == []
    assert [alive for _, alive in survey(local, "akig", utc_now() + LATER)] == [False]


@pytest.mark.parametrize(
    ("field", "value", "covers_all"),
    [
        ("expires_at", "2099-01-01T00:00:00Z", False),
        ("renewed_at", "2099-01-01T00:00:00Z", False),
        ("schema", "pra/lease/2", True),
        ("expires_at", "soon", True),
        ("covers", None, True),
        ("ttl_seconds", 10**18, True),
    ],
)
def test_doubtful_lease_is_live(local: LocalStorage, field: str, value: object, covers_all: bool) -> None:
    plant(local, "planted", **{field: value})
    [info] = live(local, "akig", utc_now() + LATER)
    assert info.covers_all is covers_all
    assert info.protects("any") is covers_all


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"{}", b"null"])
def test_unreadable_lease_is_live_and_covers_everything(local: LocalStorage, data: bytes) -> None:
    local.create("akig/leases/odd", data)
    [info] = live(local, "akig", utc_now() + 1000 * LATER)
    assert info.protects("any")


def test_slow_clock_of_a_holder_does_not_kill_its_lease(local: LocalStorage) -> None:
    """The holder's clock is an hour behind: by its own words the lease has expired long ago."""
    with hold(local, "akig", "backup", lambda: utc_now() - LATER, covers=["b1"]):
        assert [info.covers for info in live(local, "akig", utc_now())] == [("b1",)]


def test_lease_is_renewed_while_held(local: LocalStorage) -> None:
    with hold(local, "akig", "backup", ttl=timedelta(seconds=0.3)) as lease:
        first = local.read(lease.key)
        changed = threading.Event()
        for _ in range(200):
            if local.read(lease.key) != first:
                changed.set()
                break
            changed.wait(0.02)
        assert changed.is_set()
        lease.check()


def test_lost_lease_is_noticed_and_the_new_holders_is_left_alone(local: LocalStorage) -> None:
    with hold(local, "akig", "backup") as lease:
        taken = local.read(lease.key).replace(b'"nonce":"', b'"nonce":"other')
        local.replace(lease.key, taken, previous=local.read(lease.key))
        with pytest.raises(BusyError, match="was lost: somebody else holds it"):
            lease.renew()
        with pytest.raises(BusyError, match="was lost"):
            lease.check()
    assert local.read(lease.key) == taken


def test_renewal_whose_answer_was_lost_is_recognised(local: LocalStorage) -> None:
    class Forgetful(LocalStorage):
        """Does what it is told, then says that it failed: a connection cut before the answer."""

        cut = False

        def replace(self, key: str, data: bytes, *, previous: bytes | None) -> None:
            super().replace(key, data, previous=previous)
            if self.cut:
                raise StorageError("connection cut", op="replace")

    storage = Forgetful("local", local.root)
    with hold(storage, "akig", "backup") as lease:
        storage.cut = True
        with pytest.raises(StorageError, match="connection cut"):
            lease.renew()
        storage.cut = False
        lease.renew()
        lease.check()


def test_lease_that_could_not_be_renewed_in_time_does_not_pass(local: LocalStorage) -> None:
    now = utc_now()
    moments = [now]
    with hold(local, "akig", "backup", lambda: moments[-1]) as lease:
        lease.check()
        moments.append(now + 6 * MINUTE)
        with pytest.raises(BusyError, match="could not be renewed in time"):
            lease.check()


def test_repository_gone_at_the_end_does_not_hide_the_result(local: LocalStorage, tmp_path: Path) -> None:
    with hold(local, "akig", "backup"):
        local.root.rename(tmp_path / "unmounted")


def test_lease_that_cannot_be_written_is_not_held(tmp_path: Path) -> None:
    storage = LocalStorage("local", tmp_path / "absent")
    with pytest.raises(StorageError), hold(storage, "akig", "backup"):
        pytest.fail("held")


def test_holding_needs_no_more_than_a_context(local: LocalStorage) -> None:
    with hold(local, "akig", "restore") as lease:
        assert isinstance(lease, Lease)
        assert lease.key.startswith("akig/leases/restore-")
