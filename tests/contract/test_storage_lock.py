"""Object Lock at the level of single objects: the oldest version counts, and stays until its date."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from pra.errors import ObjectExists, ObjectMissing, StorageError
from pra.storage.s3 import S3Storage
from tests.fix_store import Server, source_of

KEY = "akig/backups/20261122T070955Z-full-3f9c/objects/dump-0001.tar.zst.age"
LARGE = (17 << 20) + 5


def overwrite(store: S3Storage, key: str) -> None:
    store._client.put_object(Bucket=store._bucket, Key=store._key(key), Body=b"ransom")


def hide(store: S3Storage, key: str) -> None:
    store._client.delete_object(Bucket=store._bucket, Key=store._key(key))


def both(store: S3Storage, key: str) -> None:
    overwrite(store, key)
    hide(store, key)
    overwrite(store, key)
    hide(store, key)


def soon(**age: float) -> datetime:
    return datetime.now(UTC) + timedelta(**age)


@pytest.mark.parametrize("size", [1000, LARGE], ids=["whole", "in parts"])
@pytest.mark.parametrize("attack", [overwrite, hide, both])
def test_what_was_published_is_still_read_listed_and_measured(
    lock_store: S3Storage, tmp_path: Path, attack: Callable[[S3Storage, str], None], size: int
) -> None:
    data = os.urandom(size)
    path, sha256 = source_of(tmp_path, data)
    lock_store.put(KEY, path, sha256=sha256, retain_until=soon(hours=1))
    lock_store.create("akig/backups/x/manifest.json", b"{}", retain_until=soon(hours=1))
    for key in (KEY, "akig/backups/x/manifest.json"):
        attack(lock_store, key)
    assert lock_store.read(KEY) == data
    assert lock_store.read("akig/backups/x/manifest.json") == b"{}"
    listed = {stat.key: stat.bytes for stat in lock_store.list("akig/")}
    assert listed == {KEY: size, "akig/backups/x/manifest.json": 2}
    found = lock_store.stat(KEY)
    assert found is not None
    assert found.bytes == size


@pytest.mark.parametrize("attack", [overwrite, hide, both])
def test_create_sees_behind_the_attack(
    lock_store: S3Storage, attack: Callable[[S3Storage, str], None]
) -> None:
    lock_store.create(KEY, b"first", retain_until=soon(hours=1))
    attack(lock_store, KEY)
    with pytest.raises(ObjectExists):
        lock_store.create(KEY, b"second")
    assert lock_store.read(KEY) == b"first"


def test_a_retained_object_cannot_be_deleted_and_nothing_changes(lock_store: S3Storage) -> None:
    until = soon(hours=1)
    lock_store.create(KEY, b"first", retain_until=until)
    overwrite(lock_store, KEY)
    hide(lock_store, KEY)
    before = lock_store._versions.history(lock_store._key(KEY))
    with pytest.raises(StorageError, match=f"under object lock until {until:%Y-%m-%dT%H:%M}") as caught:
        lock_store.delete(KEY)
    assert not caught.value.transient
    assert lock_store._versions.history(lock_store._key(KEY)) == before
    assert lock_store.read(KEY) == b"first"


def test_after_its_date_every_version_and_marker_goes(lock_store: S3Storage) -> None:
    lock_store.create(KEY, b"first", retain_until=soon(seconds=2))
    both(lock_store, KEY)
    with pytest.raises(StorageError, match="under object lock"):
        lock_store.delete(KEY)
    time.sleep(2.5)
    lock_store.delete(KEY)
    assert lock_store._versions.history(lock_store._key(KEY)) == []
    assert lock_store.stat(KEY) is None
    with pytest.raises(ObjectMissing):
        lock_store.read(KEY)


def test_the_lock_outlives_what_its_own_account_may_do(lock_store: S3Storage) -> None:
    """Compliance mode: not even with the right to bypass governance."""
    lock_store.create(KEY, b"first", retain_until=soon(hours=1))
    (version,) = lock_store._versions.history(lock_store._key(KEY))
    head = lock_store._client.head_object(
        Bucket=lock_store._bucket, Key=version.key, VersionId=version.version_id
    )
    assert head["ObjectLockMode"] == "COMPLIANCE"


def test_putting_the_same_again_makes_no_second_version(lock_store: S3Storage, tmp_path: Path) -> None:
    path, sha256 = source_of(tmp_path, b"whole")
    for _ in range(2):
        lock_store.put(KEY, path, sha256=sha256, retain_until=soon(hours=1))
    assert len(lock_store._versions.history(lock_store._key(KEY))) == 1


def test_putting_other_bytes_is_refused_for_they_would_never_be_read(
    lock_store: S3Storage, tmp_path: Path
) -> None:
    path, sha256 = source_of(tmp_path, b"first")
    lock_store.put(KEY, path, sha256=sha256, retain_until=soon(hours=1))
    other, other_sha256 = source_of(tmp_path, b"other")
    with pytest.raises(ObjectExists, match="holds other bytes"):
        lock_store.put(KEY, other, sha256=other_sha256)


def test_a_lease_that_is_renewed_leaves_one_version(lock_store: S3Storage) -> None:
    lock_store.create(KEY, b"0")
    for turn in range(3):
        lock_store.replace(KEY, str(turn + 1).encode(), previous=str(turn).encode())
    assert lock_store.read(KEY) == b"3"
    assert len(lock_store._versions.history(lock_store._key(KEY))) == 1


def test_a_renewal_that_died_before_tidying_up_is_tidied_by_the_next(lock_store: S3Storage) -> None:
    lock_store.create(KEY, b"old")
    overwrite(lock_store, KEY)
    assert lock_store.read(KEY) == b"old"
    with pytest.raises(ObjectExists):
        lock_store.replace(KEY, b"mine", previous=b"old")
    assert lock_store.read(KEY) == b"ransom", "the newest is what holds"
    lock_store.replace(KEY, b"mine", previous=b"ransom")
    assert lock_store.read(KEY) == b"mine"


def test_a_retained_object_cannot_be_replaced(lock_store: S3Storage) -> None:
    lock_store.create(KEY, b"first", retain_until=soon(hours=1))
    overwrite(lock_store, KEY)
    with pytest.raises(StorageError, match="under object lock"):
        lock_store.replace(KEY, b"mine", previous=b"ransom")
    assert lock_store.read(KEY) == b"first"


def test_a_bucket_without_lock_is_found_out(moto_server: Server) -> None:
    plain = moto_server.store()
    claimed = S3Storage("offsite", plain.url, moto_server.account(), object_lock=True)
    assert claimed.capabilities().object_lock is False


def test_a_server_without_versions_is_said_so(rclone_server: Server) -> None:
    plain = rclone_server.store()
    claimed = S3Storage("offsite", plain.url, rclone_server.account(), object_lock=True)
    with pytest.raises(StorageError, match="NotImplemented") as caught:
        claimed.read(KEY)
    assert not caught.value.transient


def test_more_versions_than_a_page_holds(lock_store: S3Storage) -> None:
    """The oldest version of a key may be on another page than its newest."""
    for number in range(3):
        lock_store.create(f"akig/k{number}", f"first {number}".encode(), retain_until=soon(hours=1))
    pages = lock_store._versions._client.get_paginator("list_object_versions")
    for number in range(3):
        for _ in range(4):
            overwrite(lock_store, f"akig/k{number}")
    found = pages.paginate(
        Bucket=lock_store._bucket, Prefix="some/prefix/akig/", PaginationConfig={"PageSize": 4}
    )
    assert sum(len(page.get("Versions", [])) for page in found) == 15
    lock_store._versions.page_size = 4
    assert {s.key: s.bytes for s in lock_store.list("akig/")} == {f"akig/k{n}": 7 for n in range(3)}
    assert lock_store.read("akig/k1") == b"first 1"


# -- prolonging ----------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", [None, overwrite, hide, both])
def test_the_lock_that_is_prolonged_is_that_of_what_is_read(
    lock_store: S3Storage, attack: Callable[[S3Storage, str], None] | None
) -> None:
    lock_store.create(KEY, b"first", retain_until=soon(seconds=1))
    if attack is not None:
        attack(lock_store, KEY)
    until = soon(hours=1)
    lock_store.prolong(KEY, until)
    time.sleep(1.5)
    with pytest.raises(StorageError, match=f"under object lock until {until:%Y-%m-%dT%H:%M}"):
        lock_store.delete(KEY)
    assert lock_store.read(KEY) == b"first"
    assert mode_of(lock_store, KEY) == "COMPLIANCE"


def test_a_lock_is_never_shortened(lock_store: S3Storage) -> None:
    until = soon(hours=2).replace(microsecond=0)
    lock_store.create(KEY, b"first", retain_until=until)
    lock_store.prolong(KEY, soon(hours=1))
    assert lock_store.retained_until(KEY) == until
    lock_store.prolong(KEY, until + timedelta(microseconds=5))
    assert lock_store.retained_until(KEY) == until, "a server may keep whole seconds"


def test_what_was_written_without_a_lock_gets_one(lock_store: S3Storage) -> None:
    lock_store.create(KEY, b"first")
    assert lock_store.retained_until(KEY) is None
    until = soon(hours=1).replace(microsecond=0)
    lock_store.prolong(KEY, until)
    assert lock_store.retained_until(KEY) == until
    assert mode_of(lock_store, KEY) == "COMPLIANCE"


def test_putting_the_same_again_prolongs_its_lock(lock_store: S3Storage, tmp_path: Path) -> None:
    path, sha256 = source_of(tmp_path, b"whole")
    until = soon(hours=2).replace(microsecond=0)
    for moment in (soon(hours=1), until, soon(hours=1)):
        lock_store.put(KEY, path, sha256=sha256, retain_until=moment)
    assert lock_store.retained_until(KEY) == until


def test_a_lock_on_nothing_is_said_to_be_on_nothing(lock_store: S3Storage) -> None:
    with pytest.raises(ObjectMissing):
        lock_store.prolong(KEY, soon(hours=1))
    with pytest.raises(ObjectMissing):
        lock_store.retained_until(KEY)


def test_a_lock_that_may_not_be_prolonged_is_an_error(
    lock_store: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock_store.create(KEY, b"first", retain_until=soon(hours=1))
    refuse_retention(lock_store, monkeypatch)
    with pytest.raises(StorageError, match="cannot be prolonged") as caught:
        lock_store.prolong(KEY, soon(hours=2))
    assert not caught.value.transient
    assert "s3:PutObjectRetention" in caught.value.hint
    with pytest.raises(StorageError, match="cannot be prolonged"):
        lock_store.capabilities()


def test_two_that_prolong_at_once_end_with_the_later_date(
    lock_store: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server refuses to shorten; whoever asked for less has what it asked for."""
    lock_store.create(KEY, b"first", retain_until=soon(hours=1))
    other, later = lock_store._client.put_object_retention, soon(hours=3).replace(microsecond=0)

    def overtaken() -> None:
        (version,) = lock_store._versions.history(lock_store._key(KEY))
        other(
            Bucket=lock_store._bucket,
            Key=version.key,
            VersionId=version.version_id,
            Retention={"Mode": "COMPLIANCE", "RetainUntilDate": later},
        )

    refuse_retention(lock_store, monkeypatch, before=overtaken)
    lock_store.prolong(KEY, soon(hours=2))
    assert lock_store.retained_until(KEY) == later


def mode_of(store: S3Storage, key: str) -> str | None:
    oldest = store._versions.oldest(store._key(key))
    assert oldest is not None
    head = store._client.head_object(Bucket=store._bucket, Key=oldest.key, VersionId=oldest.version_id)
    return head.get("ObjectLockMode")


def refuse_retention(
    store: S3Storage, monkeypatch: pytest.MonkeyPatch, before: Callable[[], None] = lambda: None
) -> None:
    """The server as one where the account may not, or would shorten a lock."""

    def refuse(**_: object) -> None:
        before()
        answer: Any = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise ClientError(answer, "PutObjectRetention")

    monkeypatch.setattr(store._client, "put_object_retention", refuse)
