"""The policies for S3 in docs/SECURITY.md: each pool works with its own; ``verify`` can delete nothing."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.client import BaseClient

from pra.layout import backup_prefix, evidence_key
from pra.model import Verdict
from pra.procedures import scrub
from pra.scrub.plan import Amount
from pra.storage.s3 import S3Storage
from tests import documents
from tests import fix_faults as after
from tests.documents import ROOT
from tests.fix_store import LIMITS, Server
from tests.fix_world import World, complaints, later

BUCKET, PREFIX = "akig-dr", "pra"
"""As the page writes them."""
# What S3 asks for, by operation: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
LISTING = {
    "ListObjectsV2": "s3:ListBucket",
    "ListObjectVersions": "s3:ListBucketVersions",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
}
WRITING = ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")
OTHERS = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "ListParts": "s3:ListMultipartUploadParts",
    "PutObjectRetention": "s3:PutObjectRetention",
    "GetObjectRetention": "s3:GetObjectRetention",
}

Asked = tuple[str, str]
"""An action, and what it is done to."""


def needed(operation: str, given: dict[str, Any]) -> Iterator[Asked]:
    """The rights that one call to S3 takes."""
    bucket = f"arn:aws:s3:::{BUCKET}"
    if operation in LISTING:
        yield LISTING[operation], bucket
        return
    there = f"{bucket}/{given['Key']}"
    version = "Version" if "VersionId" in given else ""
    if operation in WRITING:
        yield "s3:PutObject", there
        if "ObjectLockMode" in given:
            yield "s3:PutObjectRetention", there
    elif operation in ("GetObject", "HeadObject"):
        yield f"s3:GetObject{version}", there
    elif operation == "DeleteObject":
        yield f"s3:DeleteObject{version}", there
    else:
        yield OTHERS[operation], there


@contextmanager
def recording(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[Asked]]:
    """Whatever is really asked of S3 meanwhile."""
    asked: set[Asked] = set()
    call: Callable[..., Any] = BaseClient._make_api_call  # type: ignore[attr-defined]

    def note(client: BaseClient, operation: str, given: dict[str, Any]) -> Any:
        asked.update(needed(operation, given))
        return call(client, operation, given)

    with monkeypatch.context() as patched:
        patched.setattr(BaseClient, "_make_api_call", note)
        yield asked


def policies() -> tuple[dict[str, Any], dict[str, Any]]:
    """That of ``backup`` and ``emergency``, and that of ``verify``."""
    page = documents.blocks("json", files=(ROOT / "docs/SECURITY.md",))
    full, reading = (json.loads(block.text) for block in page)
    return full, reading


def allowed(policy: dict[str, Any], asked: Asked) -> bool:
    action, there = asked
    for statement in policy["Statement"]:
        resources = statement["Resource"]
        patterns = [resources] if isinstance(resources, str) else resources
        if action in statement["Action"] and any(fnmatch.fnmatchcase(there, each) for each in patterns):
            return True
    return False


@pytest.mark.parametrize(
    "lock",
    [pytest.param(True, id="under Object Lock"), pytest.param(False, id="without", marks=pytest.mark.all)],
)
def test_each_pool_can_do_its_work_with_the_rights_on_the_page(
    tiny: World, moto_server: Server, monkeypatch: pytest.MonkeyPatch, lock: bool
) -> None:
    """Backup and expiry with the one; verification and scrub with the other."""
    full, reading = policies()
    offsite(tiny, moto_server, lock=lock)
    with recording(monkeypatch) as writes:
        first = tiny.backup()
        assert first.ok, first.repositories
        assert tiny.backup(clock=later(2)).ok
    assert sorted(each for each in writes if not allowed(full, each)) == []
    done = {action for action, _ in writes}
    assert done >= {"s3:PutObject", "s3:GetObjectVersion" if lock else "s3:GetObject"}
    assert ("s3:PutObjectRetention" if lock else "s3:DeleteObject") in done

    with recording(monkeypatch) as reads:
        proof = tiny.verify("far")
        assert proof.verdict is Verdict.PASS, complaints(proof)
        with tiny.context() as context:
            assert scrub.run(context, Amount(everything=True)).verdict is Verdict.PASS
    assert sorted(each for each in reads if not allowed(reading, each)) == []


def offsite(world: World, server: Server, *, lock: bool) -> None:
    """``far`` becomes a bucket, and retention keeps one hour: the first backup expires with the second."""
    bucket = server.store(lock=lock).name
    store = S3Storage("far", f"s3://{bucket}/{PREFIX}", server.account(), object_lock=lock, limits=LIMITS)
    far = {"url": store.url, "endpoint": server.endpoint, "object_lock": lock}
    repositories = dict(world.settings.repositories)
    repositories["far"] = repositories["far"].model_copy(update=far)
    one_hour = {"hourly": 1, "daily": 0, "weekly": 0, "monthly": 0}
    retention = world.settings.retention.model_copy(update=one_hour)
    world.settings = world.settings.model_copy(update={"repositories": repositories, "retention": retention})
    world.repositories = {"near": after.storage(world, "near"), "far": store}


@pytest.mark.parametrize("action", ["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"])
def test_who_verifies_can_neither_plant_a_backup_nor_delete_one(action: str) -> None:
    full, reading = policies()
    there = f"arn:aws:s3:::{BUCKET}/{PREFIX}/"
    for key in (
        backup_prefix("akig", "20261122T070955Z-full-3f9c") + "manifest.json",
        "akig/wal/7574/1/0-0.zst.age",
    ):
        assert allowed(full, (action, there + key))
        assert not allowed(reading, (action, there + key))
    delete = "Delete" in action
    assert allowed(reading, (action, there + evidence_key("akig", 7))) is not delete
