"""What is special about a repository in a directory: durability, links, and disks that are not there."""

from __future__ import annotations

import errno
import os
import pwd
import secrets
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from pra.errors import ObjectExists, ObjectMissing, RepositoryFull, SettingsError, StorageError
from pra.storage.local import LocalStorage
from tests.fix_store import source_of
from tests.requirements import require

KEY = "akig/backups/20261122T070955Z-full-3f9c/objects/dump-0001.tar.zst.age"


def test_a_spool_file_is_linked_into_one_repository_and_copied_into_the_next(tmp_path: Path) -> None:
    stores = [LocalStorage(name, tmp_path / name) for name in ("one", "two")]
    path, sha256 = source_of(tmp_path / "spool", os.urandom(100_000))
    for store in stores:
        store.initialise()
        store.put(KEY, path, sha256=sha256)
    first, second = (store.root / KEY for store in stores)
    assert path.samefile(first)
    assert not path.samefile(second)
    assert first.read_bytes() == second.read_bytes()


def test_a_copy_that_is_not_what_was_sent_is_refused(local_store: LocalStorage, tmp_path: Path) -> None:
    path, _ = source_of(tmp_path, b"something else")
    path.with_name("second-name").hardlink_to(path)  # so that it is copied
    with pytest.raises(StorageError, match="not stored as sent: expected sha256 0000"):
        local_store.put(KEY, path, sha256="0" * 64)
    assert local_store.stat(KEY) is None
    assert list(local_store.unfinished("")) == []


def test_files_and_directories_are_private(local_store: LocalStorage, tmp_path: Path) -> None:
    path, sha256 = source_of(tmp_path, b"x")
    path.with_name("second-name").hardlink_to(path)
    local_store.put(KEY, path, sha256=sha256)
    local_store.create("akig/leases/x", b"x")
    modes = {stat.S_IMODE(p.stat().st_mode) for p in local_store.root.rglob("*") if p.is_file()}
    assert modes == {0o600}
    folders = [local_store.root, *(p for p in local_store.root.rglob("*") if p.is_dir())]
    assert {stat.S_IMODE(p.stat().st_mode) for p in folders} == {0o700}


def test_a_disk_that_is_not_mounted_is_never_made_up_for(tmp_path: Path) -> None:
    store = LocalStorage("backups", tmp_path / "mnt" / "pra")
    path, sha256 = source_of(tmp_path, b"x")
    for call in (
        lambda: store.put(KEY, path, sha256=sha256),
        lambda: store.create(KEY, b"x"),
        lambda: store.replace(KEY, b"x", previous=b"y"),
        lambda: store.read(KEY),
        lambda: store.stat(KEY),
        lambda: list(store.list("")),
        lambda: list(store.unfinished("")),
        lambda: store.delete(KEY),
        store.free_bytes,
    ):
        with pytest.raises(StorageError, match="repository backups is not there") as caught:
            call()
        assert not isinstance(caught.value, ObjectMissing)
        assert not caught.value.transient
        assert "Mount its disk" in caught.value.hint
    assert not (tmp_path / "mnt").exists()
    with pytest.raises(StorageError):
        store.initialise()  # not even then is the mount point's own directory made
    (tmp_path / "mnt").mkdir()
    store.initialise()
    store.create(KEY, b"x")


def test_a_full_disk_is_said_so_and_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    store = LocalStorage("small", small_disk / "pra")
    store.initialise()
    free = store.free_bytes()
    assert free is not None
    assert 0 < free <= 2 << 20
    store.create("akig/before", b"whole")
    path, sha256 = source_of(tmp_path, os.urandom(4 << 20))
    with pytest.raises(RepositoryFull, match="no space left") as caught:
        store.put(KEY, path, sha256=sha256)
    assert "pra expire" in caught.value.hint
    with pytest.raises(RepositoryFull):
        store.create(KEY, os.urandom(4 << 20))
    assert store.stat(KEY) is None
    assert list(store.unfinished("")) == []
    assert store.read("akig/before") == b"whole"


def test_another_file_system_is_copied_to(small_disk: Path, tmp_path: Path) -> None:
    store = LocalStorage("small", small_disk / "pra")
    store.initialise()
    path, sha256 = source_of(tmp_path, os.urandom(300_000))
    store.put(KEY, path, sha256=sha256)
    assert store.read(KEY) == path.read_bytes()


def test_no_right_to_write_is_said_so() -> None:
    require("root, to become somebody without rights", os.geteuid() == 0)
    root = Path("/var/tmp") / f"pra-test-{secrets.token_hex(4)}"  # where everybody may look
    store = LocalStorage("ours", root)
    store.initialise()
    try:
        store.create("akig/there", b"x")
        for call in (
            lambda: store.create("akig/x", b"x"),
            lambda: store.read("akig/there"),
            lambda: store.stat("akig/there"),
            lambda: store.delete("akig/there"),
            lambda: list(store.list("")),
        ):
            with pytest.raises(StorageError, match="permission denied") as caught, nobody():
                call()
            assert not caught.value.transient
            assert not isinstance(caught.value, ObjectMissing)
            assert "Give this account the right" in caught.value.hint
        assert store.read("akig/there") == b"x"
    finally:
        shutil.rmtree(root)


@contextmanager
def nobody() -> Iterator[None]:
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_link_planted_inside_does_not_lead_out(local_store: LocalStorage, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (local_store.root / "akig").symlink_to(outside)
    for call in (lambda: local_store.create("akig/x", b"x"), lambda: local_store.read("akig/x")):
        with pytest.raises(StorageError, match="leads out of the repository"):
            call()
    assert list(outside.iterdir()) == []


def test_writers_and_deleters_side_by_side(local_store: LocalStorage, tmp_path: Path) -> None:
    """A deletion prunes empty directories; a write next door must survive that."""
    path, sha256 = source_of(tmp_path, b"x" * 100)

    def write_and_delete(number: int) -> None:
        for turn in range(60):
            key = f"akig/backups/{turn}/objects/{number}"
            local_store.put(key, path, sha256=sha256)
            local_store.delete(key)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write_and_delete, range(6)))
    assert list(local_store.list("")) == []
    assert [p for p in local_store.root.rglob("*") if p.is_dir()] == []


def test_without_hard_links_creation_is_still_exclusive(
    local_store: LocalStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on exFAT. The file system's answer is the only thing that is made up here."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    path, sha256 = source_of(tmp_path, b"x")
    local_store.put(KEY, path, sha256=sha256)
    assert local_store.read(KEY) == b"x"

    def create(number: int) -> bool:
        try:
            local_store.create("akig/evidence/1.json", str(number).encode())
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1


@pytest.mark.parametrize(
    "url", ["relative/path", "file://host/path", "file:///", "s3://bucket", "", "file://"]
)
def test_a_url_that_is_no_absolute_path_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="not an absolute local path"):
        LocalStorage("x", url)


def test_a_url_with_escapes_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    assert LocalStorage("x", folder.as_uri()).root == folder
