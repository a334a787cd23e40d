"""What every repository promises (``pra.storage.base.Storage``), held against each kind."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from pra.errors import ObjectExists, ObjectMissing, StorageError
from pra.storage.base import Storage
from pra.storage.local import LocalStorage
from pra.storage.s3 import S3Storage
from tests.fix_store import leave_unfinished, source_of

KEY = "akig/backups/20261122T070955Z-full-3f9c/objects/dump-0001.tar.zst.age"
BAD_KEYS = [
    "",
    "/etc/passwd",
    "../up",
    "a/../../up",
    "a//b",
    "a/",
    "a/./b",
    ".hidden",
    "a/.tmp-x",
    "a\0b",
    "a\\b",
]


def put(store: Storage, key: str, data: bytes, folder: Path) -> None:
    path, sha256 = source_of(folder, data)
    store.put(key, path, sha256=sha256)


def keys(store: Storage, prefix: str) -> list[str]:
    return [stat.key for stat in store.list(prefix)]


@pytest.mark.parametrize("size", [0, 1, 100_000, (24 << 20) + 17], ids=["empty", "1 B", "100 kB", "in parts"])
def test_what_was_put_is_read_back(store: Storage, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    put(store, KEY, data, tmp_path)
    with store.open(KEY) as stream:
        assert stream.read() == data
    found = store.stat(KEY)
    assert found is not None
    assert (found.key, found.bytes) == (KEY, size)
    assert abs(datetime.now(UTC) - found.modified) < timedelta(minutes=2)


def test_putting_the_same_again_is_harmless(store: Storage, tmp_path: Path) -> None:
    path, sha256 = source_of(tmp_path, b"whole")
    store.put(KEY, path, sha256=sha256)
    store.put(KEY, path, sha256=sha256)
    assert store.read(KEY) == b"whole"
    assert keys(store, "") == [KEY]
    assert list(store.unfinished("")) == []


def test_a_source_that_is_gone_is_no_missing_object(store: Storage, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is gone") as caught:
        store.put(KEY, tmp_path / "nothing", sha256="0" * 64)
    assert not isinstance(caught.value, ObjectMissing)
    assert store.stat(KEY) is None


@pytest.mark.parametrize("second", [b"first", b"second"], ids=["same bytes", "other bytes"])
def test_create_leaves_what_is_there(store: Storage, second: bytes) -> None:
    store.create(KEY, b"first")
    with pytest.raises(ObjectExists) as caught:
        store.create(KEY, second)
    assert not caught.value.transient
    assert store.read(KEY) == b"first"


def test_create_does_not_overwrite_what_was_put(store: Storage, tmp_path: Path) -> None:
    put(store, KEY, b"put", tmp_path)
    with pytest.raises(ObjectExists):
        store.create(KEY, b"created")
    assert store.read(KEY) == b"put"


def test_of_racing_creators_one_wins_and_its_bytes_stay(store: Storage) -> None:
    decides = store.capabilities().conditional_write
    for turn in range(4):
        key, start = f"akig/evidence/{turn}.json", threading.Barrier(6)

        def race(number: int, key: str = key, start: threading.Barrier = start) -> bytes | None:
            data = f"writer {number}".encode()
            start.wait()
            try:
                store.create(key, data)
            except ObjectExists:
                return None
            return data

        with ThreadPoolExecutor(6) as pool:
            winners = [data for data in pool.map(race, range(6)) if data is not None]
        assert len(winners) == 1 or not decides
        assert store.read(key) in (winners or [b""]) or not decides


def test_replace_swaps_only_what_it_knows(store: Storage) -> None:
    store.replace(KEY, b"one", previous=None)
    with pytest.raises(ObjectExists):
        store.replace(KEY, b"other", previous=None)
    store.replace(KEY, b"two", previous=b"one")
    assert store.read(KEY) == b"two"
    with pytest.raises(ObjectExists):
        store.replace(KEY, b"late", previous=b"one")
    assert store.read(KEY) == b"two"
    store.replace(KEY, b"three", previous=b"two")
    assert store.read(KEY) == b"three"
    with pytest.raises(ObjectExists):
        store.replace("akig/leases/none", b"x", previous=b"gone")
    assert store.stat("akig/leases/none") is None


# rclone ignores conditions, which `capabilities` says: among racers nothing can be promised there.
@pytest.mark.parametrize("store", ["local", "moto", "moto+lock"], indirect=True)
def test_no_swap_is_lost_among_racers(store: Storage) -> None:
    assert store.capabilities().conditional_write
    store.create(KEY, b"0")

    def count(_: int) -> None:
        left = 3
        while left:
            seen = store.read(KEY)
            try:
                store.replace(KEY, str(int(seen) + 1).encode(), previous=seen)
            except ObjectExists:
                continue
            left -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert store.read(KEY) == b"12"


def test_what_is_not_there(store: Storage) -> None:
    with pytest.raises(ObjectMissing, match="dump-0001") as caught, store.open(KEY):
        pass
    assert not caught.value.transient
    with pytest.raises(ObjectMissing):
        store.read(KEY)
    assert store.stat(KEY) is None
    assert keys(store, "") == []
    store.delete(KEY)


def test_a_directory_is_no_object(store: Storage, tmp_path: Path) -> None:
    put(store, KEY, b"x", tmp_path)
    assert store.stat("akig/backups") is None
    with pytest.raises(ObjectMissing):
        store.read("akig/backups")


def test_read_refuses_more_than_its_limit(store: Storage) -> None:
    store.create(KEY, b"x" * 101)
    assert len(store.read(KEY, limit=101)) == 101
    with pytest.raises(StorageError, match="larger than 100 bytes"):
        store.read(KEY, limit=100)


def test_list_is_in_key_order_and_takes_any_prefix(store: Storage) -> None:
    names = ["a/x/1", "a/x-1", "a/x.json", "a/x0", "a/y/z/2", "a/y/z/10", "ab", "b/1", "_status/1"]
    for name in names:
        store.create(name, b"")
    assert keys(store, "") == sorted(names)
    assert keys(store, "a/") == sorted(name for name in names if name.startswith("a/"))
    assert keys(store, "a/x") == ["a/x-1", "a/x.json", "a/x/1", "a/x0"]
    assert keys(store, "a/y/z/1") == ["a/y/z/10"]
    assert keys(store, "none/") == []
    behind = [stat.key for stat in store.list_after("a/", "a/x0")]
    assert behind == ["a/y/z/10", "a/y/z/2"]
    assert [stat.key for stat in store.list_after("a/", "a/x-1")] == ["a/x.json", "a/x/1", "a/x0", *behind]


def test_what_is_written_again_has_another_tag(store: Storage) -> None:
    """Also within one tick of the clock, and with as many bytes."""
    store.create(KEY, b"one")
    [first] = store.list(KEY)
    assert store.stat(KEY) == first
    store.delete(KEY)
    store.create(KEY, b"two")
    [second] = store.list(KEY)
    assert first.tag != second.tag
    assert second.tag


def test_deleted_is_gone_and_deleting_again_is_no_error(store: Storage, tmp_path: Path) -> None:
    put(store, KEY, b"x", tmp_path)
    store.delete(KEY)
    store.delete(KEY)
    assert store.stat(KEY) is None
    assert keys(store, "") == []
    put(store, KEY, b"again", tmp_path)
    assert store.read(KEY) == b"again"


def test_a_lock_that_is_prolonged_changes_nothing_else(
    store: Storage, request: pytest.FixtureRequest
) -> None:
    store.create("akig/a", b"first")
    before = list(store.list("akig/"))
    assert store.retained_until("akig/a") is None
    until = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    for moment in (until, until - timedelta(minutes=1)):
        store.prolong("akig/a", moment)
    locked = "moto+lock" in request.node.name
    assert store.retained_until("akig/a") == (until if locked else None)
    assert store.read("akig/a") == b"first"
    assert list(store.list("akig/")) == before
    if not locked:
        store.delete("akig/a")
        assert store.stat("akig/a") is None


def test_no_key_escapes(store: Storage, tmp_path: Path) -> None:
    path, sha256 = source_of(tmp_path, b"x")
    for key in BAD_KEYS:
        for call in (
            partial(store.put, key, path, sha256=sha256),
            partial(store.create, key, b"x"),
            partial(store.replace, key, b"x", previous=b"y"),
            partial(store.read, key),
            partial(store.stat, key),
            partial(store.delete, key),
            partial(store.prolong, key, datetime.now(UTC)),
            partial(store.retained_until, key),
        ):
            with pytest.raises(StorageError, match="not an object key"):
                call()
        if key not in ("", "a/"):  # which are good prefixes
            with pytest.raises(StorageError, match="not an object key"):
                list(store.list(key))


def test_an_unfinished_upload_is_no_object_and_can_be_aborted(store: Storage, tmp_path: Path) -> None:
    assert isinstance(store, LocalStorage | S3Storage)
    put(store, "akig/backups/whole", b"whole", tmp_path)
    leave_unfinished(store, KEY, os.urandom(100_000))
    leave_unfinished(store, "other/backups/x", os.urandom(100_000))
    assert keys(store, "akig/") == ["akig/backups/whole"]
    assert store.stat(KEY) is None
    (upload,) = store.unfinished("akig/")
    assert upload.key == KEY
    assert upload.started.tzinfo is not None
    assert [one.key for one in store.unfinished("akig/backups/2026")] == [KEY]
    store.abort(upload)
    store.abort(upload)
    assert list(store.unfinished("akig/")) == []
    assert [one.key for one in store.unfinished("")] == ["other/backups/x"]


def test_capabilities_are_what_the_server_does(store: Storage, request: pytest.FixtureRequest) -> None:
    kind = request.node.callspec.params["store"]
    assert store.capabilities().conditional_write is (kind != "rclone")
    assert store.capabilities().object_lock is (kind == "moto+lock")


def test_trying_capabilities_leaves_no_key_that_matters(store: Storage) -> None:
    store.capabilities()
    assert [key for key in keys(store, "") if not key.startswith("_probe/")] == []
