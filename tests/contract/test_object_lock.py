"""Under Object Lock, what was published stays restorable whatever somebody with the keys does to it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from moto.server import ThreadedMotoServer

from pra import manifest as manifests
from pra.catalog import Catalog, manifest_key, object_key
from pra.errors import StorageError
from pra.evidence import EvidenceLog
from pra.keys import Keyring, Signer
from pra.leases import hold, live
from pra.storage.pipe import verify_stored
from pra.storage.s3 import S3Storage
from pra.storage.s3_client import Account
from pra.timing import utc_now
from tests.fix_record import BACKUP_ID, make_manifest, stored, write

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

HOUR = timedelta(hours=1)
DUMP = b"rows, sealed" * 1000
NAME = "dump-0000.tar.zst.age"


@dataclass(frozen=True)
class Bucket:
    """A locked repository, and the client of somebody who holds its keys."""

    storage: S3Storage
    attacker: S3Client
    name: str

    def overwrite(self, key: str) -> None:
        self.attacker.put_object(Bucket=self.name, Key=f"pra/{key}", Body=b"pay us")

    def hide(self, key: str) -> None:
        self.attacker.delete_object(Bucket=self.name, Key=f"pra/{key}")

    def destroy(self, key: str) -> None:
        """Try to delete every version for good."""
        listed = self.attacker.list_object_versions(Bucket=self.name, Prefix=f"pra/{key}")
        for version in listed["Versions"]:
            self.attacker.delete_object(Bucket=self.name, Key=f"pra/{key}", VersionId=version["VersionId"])


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    """An S3 server with Object Lock in this process, on loopback."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    finally:
        server.stop()


@pytest.fixture
def bucket(s3_url: str, request: pytest.FixtureRequest) -> Bucket:
    name = f"locked-{abs(hash(request.node.name)):x}"
    client = boto3.client(
        "s3", endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    account = Account(endpoint=s3_url, region="us-east-1", access_key_id="a", secret_access_key="b")
    return Bucket(S3Storage("offsite", f"s3://{name}/pra", account, object_lock=True), client, name)


@pytest.fixture
def catalog(bucket: Bucket, signer: Signer, keyring: Keyring, tmp_path: Path) -> Catalog:
    """With one backup, locked for an hour."""
    catalog = Catalog(bucket.storage, "akig", keyring)
    until = utc_now() + HOUR
    manifest = make_manifest(objects=(stored(NAME, DUMP),))
    catalog.publish_object(BACKUP_ID, manifest.objects[0], write(tmp_path / NAME, DUMP), until)
    catalog.commit(manifests.sign(manifest, signer), manifest, until)
    return catalog


KEYS = (manifest_key("akig", BACKUP_ID), object_key("akig", BACKUP_ID, NAME))


@pytest.mark.parametrize("harm", ["overwrite", "hide", "overwrite then hide", "hide then overwrite"])
def test_overwritten_and_deleted_backup_is_still_whole(bucket: Bucket, catalog: Catalog, harm: str) -> None:
    before = catalog.load(BACKUP_ID)
    for deed in harm.split(" then "):
        for key in KEYS:
            getattr(bucket, deed)(key)
    [entry] = catalog.backups()
    assert entry.manifest == before
    with catalog.open_object(BACKUP_ID, NAME) as source:
        verify_stored(source, before.objects[0])


def test_versions_cannot_be_deleted_before_their_date(bucket: Bucket, catalog: Catalog) -> None:
    for key in KEYS:
        with pytest.raises(bucket.attacker.exceptions.ClientError, match="AccessDenied"):
            bucket.destroy(key)
    with pytest.raises(StorageError, match="under object lock until"):
        catalog.delete_backup(BACKUP_ID)
    assert catalog.load(BACKUP_ID)


def test_garbage_collection_keeps_a_backup_whose_manifest_is_hidden(bucket: Bucket, catalog: Catalog) -> None:
    bucket.hide(KEYS[0])
    report = catalog.gc(utc_now(), timedelta(0))
    assert (report.removed, report.failed) == ((), ())
    assert catalog.load(BACKUP_ID)


def test_renewed_lease_is_seen_renewed(bucket: Bucket) -> None:
    """Reads take the oldest version: a renewal must not hide behind the first one."""
    moments = [utc_now()]
    with hold(bucket.storage, "akig", "backup", lambda: moments[-1]) as lease:
        moments.append(moments[0] + 4 * HOUR)
        lease.renew()
        [info] = live(bucket.storage, "akig", moments[-1])
        assert info.expires_at is not None
        assert info.expires_at > moments[-1]
    assert list(bucket.storage.list("akig/leases/")) == []


def test_evidence_cannot_be_rewritten(bucket: Bucket, signer: Signer, keyring: Keyring) -> None:
    log = EvidenceLog([bucket.storage], "akig", signer, keyring, keep=HOUR)
    written = [log.append("restore", {"number": number}) for number in range(3)]
    for record in written:
        bucket.overwrite(record.key)
        bucket.hide(record.key)
        with pytest.raises(bucket.attacker.exceptions.ClientError, match="AccessDenied"):
            bucket.destroy(record.key)
    assert list(log.records()) == written[::-1]
    assert log.append("restore", {}).previous_sha256 == written[-1].sha256
