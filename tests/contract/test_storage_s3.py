"""What is special about S3: servers that refuse, break off, lie or stay silent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pra.errors import ObjectExists, ObjectMissing, RepositoryFull, SettingsError, StorageError
from pra.storage import open_storage
from pra.storage.local import LocalStorage
from pra.storage.s3 import S3Storage
from pra.storage.s3_client import Account, Limits
from pra.storage.s3_transfer import part_size
from tests.fix_store import LIMITS, FaultyProxy, FaultyStorage, Server, free_port, serve_s3, source_of

KEY = "akig/backups/20261122T070955Z-full-3f9c/objects/dump-0001.tar.zst.age"


def every_call(store: S3Storage, folder: Path) -> list[StorageError]:
    """What each call fails with."""
    path, sha256 = source_of(folder, b"x")
    large, large_sha256 = source_of(folder, os.urandom(17 << 20))
    found = []
    for call in (
        lambda: store.put(KEY, path, sha256=sha256),
        lambda: store.put(KEY, large, sha256=large_sha256),
        lambda: store.create(KEY, b"x"),
        lambda: store.replace(KEY, b"x", previous=b"y"),
        lambda: store.read(KEY),
        lambda: store.stat(KEY),
        lambda: list(store.list("")),
        store.capabilities,
    ):
        with pytest.raises(StorageError) as caught:
            call()
        found.append(caught.value)
    return found


@pytest.mark.parametrize("kind", ["moto_server", "rclone_server"])
def test_a_missing_bucket(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    server: Server = request.getfixturevalue(kind)
    store = S3Storage("offsite", "s3://no-such-bucket/pra", server.account(), limits=LIMITS)
    for error in every_call(store, tmp_path):
        assert "no bucket no-such-bucket" in error.message
        assert "Create the bucket" in error.hint
        assert not error.transient
        assert not isinstance(error, ObjectMissing)


@pytest.mark.parametrize(("key_id", "secret"), [("not-the-key", None), (None, "not-the-secret")])
def test_a_wrong_key(rclone_server: Server, tmp_path: Path, key_id: str | None, secret: str | None) -> None:
    there = rclone_server.store()
    account = rclone_server.account(
        **{k: v for k, v in (("key_id", key_id), ("secret", secret)) if v is not None}
    )
    for error in every_call(S3Storage("offsite", there.url, account, limits=LIMITS), tmp_path):
        assert "rejects the access key" in error.message
        assert "repositories.offsite" in error.hint
        assert not error.transient
        assert "not-the-secret" not in repr(error) + str(error)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    account = Account(f"http://127.0.0.1:{free_port()}", None, "a", "b")
    store = S3Storage("offsite", "s3://there", account, limits=Limits(1, 1, 1))
    for error in every_call(store, tmp_path):
        assert "cannot be reached" in error.message
        assert error.transient


def test_a_server_that_never_answers(deaf_endpoint: str) -> None:
    store = S3Storage(
        "offsite", "s3://there", Account(deaf_endpoint, None, "a", "b"), limits=Limits(1, 0.5, 2)
    )
    start = time.monotonic()
    with pytest.raises(StorageError, match="did not answer in time") as caught:
        store.read(KEY)
    assert caught.value.transient
    assert time.monotonic() - start < 10


def test_a_full_server(small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "there").mkdir()
    with serve_s3(small_disk) as server:
        store = S3Storage("offsite", "s3://there", server.account(), limits=Limits(3, 20, 1))
        path, sha256 = source_of(tmp_path, os.urandom(6 << 20))
        # This server says no more than "internal error"; those that say more get RepositoryFull.
        with pytest.raises(StorageError) as caught:
            store.put(KEY, path, sha256=sha256)
        assert isinstance(caught.value, RepositoryFull) or "its disk is full" in caught.value.hint
        assert store.stat(KEY) is None


@pytest.mark.parametrize(
    "endpoint", ["http://s3.example.com", "http://10.0.0.1:9000", "http://localhost.example.com"]
)
def test_no_plaintext_over_a_network(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="has no TLS") as caught:
        S3Storage("offsite", "s3://there", Account(endpoint, None, "a", "b"))
    assert "allow_plaintext" in caught.value.hint
    S3Storage("offsite", "s3://there", Account(endpoint, None, "a", "b", allow_plaintext=True))


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://x.example"]
)
def test_loopback_and_tls_are_fine(endpoint: str) -> None:
    S3Storage("offsite", "s3://there", Account(endpoint, None, "a", "b"))


@pytest.mark.parametrize("url", ["s3://", "https://there", "there", "s3://there/../x", "s3://there/x?y=1"])
def test_a_url_that_is_no_bucket_is_refused(url: str) -> None:
    with pytest.raises((SettingsError, StorageError)):
        S3Storage("offsite", url, Account("http://127.0.0.1:1", None, "a", "b"))


# -- transfers ---------------------------------------------------------------------------------


def proxied(server: Server, proxy: FaultyProxy, data: bytes, folder: Path) -> S3Storage:
    direct = server.store()
    path, sha256 = source_of(folder, data)
    direct.put(KEY, path, sha256=sha256)
    return S3Storage("offsite", direct.url, server.account(endpoint=proxy.endpoint), limits=LIMITS)


def test_a_download_that_breaks_off_is_resumed(
    moto_server: Server, faulty_proxy: FaultyProxy, tmp_path: Path
) -> None:
    data = os.urandom(1_000_000)
    store = proxied(moto_server, faulty_proxy, data, tmp_path)
    faulty_proxy.cuts, faulty_proxy.after = 3, 300_000
    assert store.read(KEY) == data
    offsets = [int(r.removeprefix("bytes=").removesuffix("-")) for r in faulty_proxy.ranges if r]
    assert len(offsets) == 3
    assert offsets == sorted(set(offsets))


def test_a_download_that_goes_on_breaking_off_never_looks_whole(
    moto_server: Server, faulty_proxy: FaultyProxy, tmp_path: Path
) -> None:
    store = proxied(moto_server, faulty_proxy, os.urandom(200_000), tmp_path)
    faulty_proxy.cuts, faulty_proxy.after = 1000, 0
    with pytest.raises(StorageError, match="transfer failed") as caught:
        store.read(KEY)
    assert caught.value.transient


def test_an_object_that_changes_between_two_halves_is_not_patched_together(
    moto_server: Server, faulty_proxy: FaultyProxy, tmp_path: Path
) -> None:
    store = proxied(moto_server, faulty_proxy, b"a" * 1_000_000, tmp_path)
    faulty_proxy.cuts, faulty_proxy.after = 1, 500_000
    with store.open(KEY) as stream:
        stream.read(1000)
        moto_server.client().put_object(Bucket=store._bucket, Key=store._key(KEY), Body=b"b" * 1_000_000)
        with pytest.raises(StorageError) as caught:
            stream.read()
    assert not caught.value.transient


def test_an_upload_that_fails_leaves_nothing_behind(moto_store: S3Storage, tmp_path: Path) -> None:
    path, sha256 = source_of(tmp_path, os.urandom(40 << 20))
    real = os.pread

    def cut(descriptor: int, length: int, offset: int) -> bytes:
        return real(descriptor, length // (2 if offset >= 16 << 20 else 1), offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pread", cut)  # as if the file were shortened under the upload
        with pytest.raises(StorageError, match="cut short"):
            moto_store.put(KEY, path, sha256=sha256)
    assert moto_store.stat(KEY) is None
    assert list(moto_store.unfinished("")) == []


@pytest.mark.parametrize("size", [17 << 20, 1 << 30, 70 << 30, 1 << 40, 5 << 40])
def test_parts_fit_what_s3_allows(size: int) -> None:
    step = part_size(size)
    assert 5 << 20 <= step <= 5 << 30
    assert -(-size // step) <= 10_000


# -- conditions --------------------------------------------------------------------------------


def test_a_server_that_ignores_conditions_does_not_cost_what_is_there(rclone_store: S3Storage) -> None:
    """Its first conditional write must not be the one that destroys."""
    rclone_store._client.put_object(Bucket=rclone_store._bucket, Key=rclone_store._key(KEY), Body=b"there")
    with pytest.raises(ObjectExists):
        rclone_store.create(KEY, b"new")
    assert rclone_store.read(KEY) == b"there"


def test_a_write_whose_answer_was_lost_is_known_as_ours(
    moto_server: Server, faulty_proxy: FaultyProxy
) -> None:
    """boto3 sends it again and is told that the key is taken: by whom decides."""
    direct = moto_server.store()
    account = moto_server.account(endpoint=faulty_proxy.endpoint)
    store = S3Storage("offsite", direct.url, account, limits=Limits(3, 20, 3))
    assert store.capabilities().conditional_write
    faulty_proxy.losses = 1
    store.create(KEY, b"mine")
    assert faulty_proxy.losses == 0
    with pytest.raises(ObjectExists):
        store.create(KEY, b"mine")
    store.replace(KEY, b"mine again", previous=b"mine")
    faulty_proxy.losses = 1
    store.replace(KEY, b"and again", previous=b"mine again")
    assert faulty_proxy.losses == 0
    assert direct.read(KEY) == b"and again"


# -- the door ----------------------------------------------------------------------------------


class Settings:
    """The attributes of a repository in the settings."""

    name, region, object_lock, allow_plaintext = "r", None, False, False
    endpoint: str | None = None
    access_key_id: str | None = None
    secret_access_key = None

    def __init__(self, url: str) -> None:
        self.url = url


def test_a_url_opens_its_kind_of_repository(tmp_path: Path) -> None:
    assert isinstance(open_storage(Settings(f"file://{tmp_path}")), LocalStorage)
    assert isinstance(open_storage(Settings("s3://bucket/prefix")), S3Storage)
    with pytest.raises(SettingsError, match="no known kind"):
        open_storage(Settings("ftp://x"))


def test_boto3_is_imported_only_for_s3() -> None:
    program = "import sys, pra.storage; sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


def test_the_fault_fixture_fails_the_call_it_is_told_to(local_store: LocalStorage, tmp_path: Path) -> None:
    path, sha256 = source_of(tmp_path, b"12345678")
    faulty = FaultyStorage(local_store, fail_at=2, half_way=True)
    faulty.create("akig/a", b"a")
    with pytest.raises(StorageError, match="injected"):
        faulty.put(KEY, path, sha256=sha256)
    assert [one.key for one in faulty.unfinished("")] == [KEY]
    faulty.put(KEY, path, sha256=sha256)
    assert [method for method, _ in faulty.calls] == ["create", "put", "unfinished", "put"]
