"""A small, sound manifest, and keys to sign it with."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from pra.keys import Keyring, Signer
from pra.manifest import Extension, FingerprintRef, Manifest, ServerFacts, TableCount
from pra.model import StoredObject
from pra.storage.local import LocalStorage

# A busy machine is no counterexample.
settings.register_profile("pra", deadline=None)
settings.load_profile("pra")

TAKEN = datetime(2026, 11, 22, 7, 9, 55, tzinfo=UTC)
BACKUP_ID = "20261122T070955Z-full-3f9c"


def stored(name: str, data: bytes) -> StoredObject:
    digest = hashlib.sha256(data).hexdigest()
    return StoredObject(name, len(data), digest, len(data), digest)


def make_manifest(**changed: Any) -> Manifest:
    """A full backup of target ``akig`` with one object, ``dump.tar.zst.age``, unless told otherwise."""
    taken = changed.get("taken_at", TAKEN)
    fields: dict[str, Any] = {
        "target": "akig",
        "backup_id": BACKUP_ID,
        "engine": "logical",
        "kind": "full",
        "database": "akig",
        "started_at": taken - timedelta(seconds=1),
        "taken_at": taken,
        "read_finished_at": taken + timedelta(seconds=4),
        "finished_at": taken + timedelta(seconds=6),
        "server": ServerFacts(
            version_num=180001,
            version="18.1",
            system_identifier="7574400000000000001",
            encoding="UTF8",
            collate="fr_FR.UTF-8",
            ctype="fr_FR.UTF-8",
            locale_provider="libc",
            bootstrap_role="postgres",
            data_checksums=True,
            database_bytes=1 << 30,
        ),
        "snapshot": "745:748:746",
        "objects": (stored("dump.tar.zst.age", b"dump"),),
        "tables": (TableCount(name='public."Été"', rows=3, bytes=8192),),
        "fingerprint": FingerprintRef(depth="digest", sha256="a" * 64, tables=1, rows=3),
        "extensions": (Extension(name="plpgsql", version="1.0"),),
        "roles": ("postgres",),
        "encryption": "age",
        "recipients": ("age1example",),
        "tools": "18.1",
    }
    return Manifest(**{**fields, **changed})


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer("ed25519", bytes(range(32)))


@pytest.fixture(scope="session")
def keyring(signer: Signer) -> Keyring:
    return Keyring([signer.trusted])


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def make_storage(root: Path, name: str = "local") -> LocalStorage:
    storage = LocalStorage(name, root)
    storage.initialise()
    return storage


@pytest.fixture
def local(tmp_path: Path) -> LocalStorage:
    return make_storage(tmp_path / "local")


@pytest.fixture
def offsite(tmp_path: Path) -> LocalStorage:
    return make_storage(tmp_path / "offsite", "offsite")


def age_by(storage: LocalStorage, seconds: float) -> None:
    """Make everything in a repository older, by the repository's own clock."""
    for path in storage.root.rglob("*"):
        if path.is_file():
            moment = path.stat().st_mtime - seconds
            os.utime(path, (moment, moment))


def snapshot_of(storage: LocalStorage) -> dict[str, bytes]:
    """Every file of a repository, the lock file apart."""
    return {
        str(path.relative_to(storage.root)): path.read_bytes()
        for path in sorted(storage.root.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
