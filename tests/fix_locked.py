"""A target of base backups whose repositories are under Object Lock, and no server behind it."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from pra import keys
from pra.layout import manifest_key, object_key, wal_segment_key
from pra.manifest import Manifest, PhysicalFacts, WalSegment, sign
from pra.model import PublishResult
from pra.postgres.wal import format_lsn, segment_name
from pra.proc import Scope
from pra.procedures.context import Context
from pra.procedures.publishing import catch_up, publish
from pra.settings import Settings, load_settings
from pra.storage.s3 import S3Storage
from pra.storage.spool import Spool
from pra.timing import Clock, utc_now
from pra.wal.shipping import SealedSegment, seal_segment, ship
from tests.fix_record import make_manifest, stored, write
from tests.fix_store import Server

TARGET = "db"
SYSTEM = "7574400000000000001"
SEGMENT = 1 << 20
NAME = "base-0000.tar.zst"

_TOML = """\
[targets.db]
dsn = "host=/nowhere dbname=app"
engine = "physical"
repositories = ["near", "far"]

[repositories.near]
url = "s3://near/pra"
object_lock = true

[repositories.far]
url = "s3://far/pra"
object_lock = true

[encryption]
recipients = []
"""


def segment(number: int) -> str:
    return segment_name(1, number * SEGMENT, SEGMENT)


def contents(number: int) -> bytes:
    """The WAL of one segment."""
    return f"segment {number} ".encode() * 100


@dataclass
class LockedVault:
    """``near`` and ``far``: two buckets under Object Lock. Backups are put there without any engine."""

    home: Path
    settings: Settings
    repositories: dict[str, S3Storage]
    clock: Clock = utc_now

    @contextmanager
    def context(self) -> Iterator[Context]:
        with Scope() as scope:
            yield Context(
                self.settings,
                self.settings.target(None),
                scope,
                clock=self.clock,
                repositories=dict(self.repositories),
            )

    def retain(self, **changed: object) -> None:
        retention = self.settings.retention.model_copy(update=changed)
        self.settings = self.settings.model_copy(update={"retention": retention})

    def manifest(
        self,
        taken_at: datetime,
        parents: Sequence[str] = (),
        *,
        wal: Sequence[int] = (),
        system_id: str = SYSTEM,
    ) -> Manifest:
        kind = "incremental" if parents else "full"
        backup_id = f"{taken_at:%Y%m%dT%H%M%SZ}-{kind}-{secrets.token_hex(2)}"
        plain = make_manifest()
        named = tuple(
            WalSegment(name=segment(n), sha256=hashlib.sha256(contents(n)).hexdigest()) for n in wal
        )
        return make_manifest(
            target=TARGET,
            backup_id=backup_id,
            taken_at=taken_at,
            engine="physical",
            kind=kind,
            parents=tuple(parents),
            server=plain.server.model_copy(update={"system_identifier": system_id}),
            objects=(stored(NAME, f"volume of {backup_id}".encode()),),
            physical=PhysicalFacts(
                timeline=1,
                start_lsn=format_lsn(min(wal, default=1) * SEGMENT + 40),
                stop_lsn=format_lsn(max(wal, default=1) * SEGMENT + 80),
                wal=named,
                wal_segment_bytes=SEGMENT,
                lineage=NAME,
            ),
            encryption="none",
            recipients=(),
        )

    def volume(self, manifest: Manifest) -> Path:
        return write(self.home / manifest.backup_id / NAME, f"volume of {manifest.backup_id}".encode())

    def sealed(self, number: int) -> SealedSegment:
        folder = self.home / "segments" / secrets.token_hex(4)
        folder.mkdir(parents=True)
        return seal_segment(contents(number), segment(number), folder, system_id=SYSTEM, recipients=())

    def stream(self, repository: str, *numbers: int, until: datetime | None = None) -> None:
        """WAL as the streamer ships it, locked until then."""
        for number in numbers:
            ship(self.repositories[repository], TARGET, self.sealed(number), retain_until=until)

    def put_volume(self, repository: str, manifest: Manifest, until: datetime | None = None) -> None:
        """Its volume alone, as a run that died left it."""
        with self.context() as context:
            catalog = context.catalog(repository)
            catalog.publish_object(manifest.backup_id, manifest.objects[0], self.volume(manifest), until)

    def put(self, repository: str, manifest: Manifest, until: datetime | None = None) -> Manifest:
        """A backup that is there whole, locked until then; its WAL must be there."""
        self.put_volume(repository, manifest, until)
        with self.context() as context:
            context.catalog(repository).commit(sign(manifest, context.signer), manifest, until)
        return manifest

    def publish(
        self, repository: str, manifest: Manifest, *numbers: int, sealed: Manifest | None = None
    ) -> PublishResult:
        """By way of a spool, as a backup does: the volume, the segments of these numbers, the manifest.

        ``sealed`` is what the manifest says in the end, where that is not what the id was made for.
        """
        with self.context() as context, Spool(self.home / "spool", 1 << 20, [repository]) as spool:
            attempt = spool.open(manifest.backup_id, parents=manifest.parents)
            for stored_object in manifest.objects:
                shutil.copy(self.volume(manifest), attempt.path(stored_object.name))
                attempt.add(stored_object)
            for number in numbers:
                segment = self.sealed(number)
                shutil.copy(segment.path, attempt.path(segment.stored.name))
                attempt.add(segment.stored)
            attempt.seal(sign(sealed or manifest, context.signer))
            spool.close()
            return publish(context, spool, repository)

    def catch_up(self, repository: str) -> list[str]:
        with self.context() as context:
            return catch_up(context, repository)

    def until(self, repository: str, key: str) -> datetime | None:
        """The date in the lock of what is read under this key."""
        store = self.repositories[repository]
        oldest = store._versions.oldest(store._key(key))
        assert oldest is not None, key
        head = store._client.head_object(Bucket=store._bucket, Key=oldest.key, VersionId=oldest.version_id)
        return head.get("ObjectLockRetainUntilDate")

    def lock(self, repository: str, key: str, until: datetime) -> None:
        store = self.repositories[repository]
        oldest = store._versions.oldest(store._key(key))
        assert oldest is not None, key
        store._client.put_object_retention(
            Bucket=store._bucket,
            Key=oldest.key,
            VersionId=oldest.version_id,
            Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until},
        )

    def keys_of(self, manifest: Manifest) -> list[str]:
        """Everything without which a backup cannot be restored: volume, WAL, manifest."""
        facts = manifest.physical
        assert facts is not None
        return [
            object_key(TARGET, manifest.backup_id, NAME),
            *(wal_segment_key(TARGET, SYSTEM, s.name, s.sha256, encrypted=False) for s in facts.wal),
            manifest_key(TARGET, manifest.backup_id),
        ]

    def committed(self, repository: str) -> set[str]:
        with self.context() as context:
            return context.catalog(repository).committed()


@pytest.fixture
def locked_vault(tmp_path: Path, moto_server: Server) -> LockedVault:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    keys.make_keys(state / "keys")
    config = tmp_path / "pra.toml"
    config.write_text(_TOML)
    environment = {**os.environ, "PRA_CONFIG": str(config), "PRA_STATE_DIR": str(state)}
    stores = {name: moto_server.store(lock=True) for name in ("near", "far")}
    for name, store in stores.items():
        store.name = name
    return LockedVault(tmp_path, load_settings(config, environment), stores)
