"""Objects are verified, decrypted and unpacked, here or by processes beside us: the same in either case."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyrage
import pytest

from pra.engines import fetching
from pra.engines.fetching import fetch
from pra.engines.pack import tar_stream
from pra.errors import DecryptError, IntegrityError, PraError, StorageError
from pra.manifest import Manifest
from pra.model import StoredObject
from pra.proc import Process, Scope
from pra.storage.local import LocalStorage
from pra.storage.pipe import seal

VOLUMES = 5
SIZE = 300_000

Damage = Callable[[Path], None]


class Shelf:
    """A sealed backup of a few volumes in a local repository, and of its manifest what `fetch` reads."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.identity = pyrage.x25519.Identity.generate()
        self.storage = LocalStorage("near", f"file://{home / 'repository'}")
        self.storage.initialise()
        self.target = home / "fetched"
        self.target.mkdir(mode=0o700)
        self.contents = {f"{n}.dat.zst": os.urandom(SIZE + n) for n in range(VOLUMES)}
        plain = home / "plain"
        plain.mkdir()
        recipients = [str(self.identity.to_public())]
        self.objects: list[StoredObject] = []
        for number, (name, data) in enumerate(self.contents.items(), start=1):
            (plain / name).write_bytes(data)
            sealed = home / f"dump-{number:04d}.tar.zst.age"
            self.objects.append(seal(tar_stream(plain, [name]), sealed, recipients=recipients))
            self.storage.put(sealed.name, sealed, sha256=self.objects[-1].sha256)
        # What the document says is another test's business.
        monkeypatch.setattr(fetching, "read_fingerprint", lambda path, manifest: None)

    def path(self, number: int) -> Path:
        return self.storage.root / self.objects[number].name

    def fetch(self, scope: Scope, *, beside: bool, identity: str = "") -> None:
        manifest = SimpleNamespace(objects=tuple(self.objects), bytes=sum(o.bytes for o in self.objects))
        fetch(
            self.storage,
            lambda name: name,
            cast(Manifest, manifest),
            self.target,
            scope=scope,
            identities=[identity or str(self.identity)],
            small_bytes=0 if beside else 1 << 40,
        )


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    return Shelf(tmp_path, monkeypatch)


both = pytest.mark.parametrize("beside", [False, True], ids=["in this process", "beside it"])


@both
def test_every_file_comes_back(shelf: Shelf, beside: bool) -> None:
    with Scope() as scope:
        shelf.fetch(scope, beside=beside)
    found = {path.name: path.read_bytes() for path in (shelf.target / "dump").iterdir()}
    assert found == shelf.contents


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x" * 3_000_000)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@both
@pytest.mark.parametrize("damage", [flip, shorten, lengthen, empty], ids=lambda damage: damage.__name__)
def test_damage_is_named(shelf: Shelf, beside: bool, damage: Damage) -> None:
    damage(shelf.path(2))
    with Scope() as scope, pytest.raises(IntegrityError, match=r"dump-0003\.tar\.zst\.age"):
        shelf.fetch(scope, beside=beside)


@both
def test_a_foreign_identity_opens_nothing(shelf: Shelf, beside: bool) -> None:
    with Scope() as scope, pytest.raises(DecryptError) as caught:
        shelf.fetch(scope, beside=beside, identity=str(pyrage.x25519.Identity.generate()))
    assert "AGE-SECRET-KEY" not in str(caught.value)


@both
def test_a_repository_that_fails_is_not_mistaken_for_damage(shelf: Shelf, beside: bool) -> None:
    shelf.path(1).unlink()
    with Scope() as scope, pytest.raises(StorageError):
        shelf.fetch(scope, beside=beside)


def test_the_identity_is_in_no_argument_and_no_environment(shelf: Shelf) -> None:
    started: list[tuple[str, str]] = []

    class Watched(Scope):
        def start(self, *args: Any, **kwargs: Any) -> Process:
            process = super().start(*args, **kwargs)
            home = Path(f"/proc/{process.pid}")
            started.append(((home / "cmdline").read_text(), (home / "environ").read_text()))
            return process

    with Watched() as scope:
        shelf.fetch(scope, beside=True)
    assert started
    assert not [text for pair in started for text in pair if "AGE-SECRET-KEY" in text]


def test_a_killed_helper_is_an_error_and_no_verdict_on_the_backup(shelf: Shelf) -> None:
    class Killing(Scope):
        def start(self, *args: Any, **kwargs: Any) -> Process:
            process = super().start(*args, **kwargs)
            process.send(signal.SIGKILL)
            return process

    with Killing() as scope, pytest.raises(PraError, match="unpacking process ended") as caught:
        shelf.fetch(scope, beside=True)
    assert not isinstance(caught.value, IntegrityError)
