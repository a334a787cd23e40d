"""A repository in an S3 bucket: ``s3://bucket/prefix``, on AWS or any server that speaks the protocol."""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import ClientError

from pra.errors import ObjectExists, ObjectMissing, StorageError
from pra.storage.base import Capabilities, ObjectStat, Upload
from pra.storage.naming import check_key, check_prefix
from pra.storage.s3_client import Account, Limits, connect
from pra.storage.s3_conditional import ConditionalWriter
from pra.storage.s3_errors import MISSING, code_of, errors
from pra.storage.s3_lock import Locks, params
from pra.storage.s3_transfer import ResumingBody, upload
from pra.storage.s3_versions import Version, Versions

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, ObjectTypeDef

_PROBE = "_probe"
_SHA256 = "pra-sha256"


class S3Storage:
    """Keeps the contract of :class:`pra.storage.base.Storage` in a bucket.

    Args:
        name: The repository's name in the settings, for messages.
        url: ``s3://bucket/prefix``.
        account: Endpoint and credentials.
        object_lock: The bucket has Object Lock. Then objects get their retain-until date, reads take
            the oldest version, and deletion goes by version. Leave the bucket without a default
            retention: each object carries its own, and leases carry none.
        limits: Time limits and attempts of each call.

    Raises:
        SettingsError: See :func:`pra.storage.s3_client.connect`.
    """

    def __init__(
        self,
        name: str,
        url: str,
        account: Account | None = None,
        *,
        object_lock: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.name = name
        self.url = url
        self.object_lock = object_lock
        self._client, self._place, self._prefix = connect(name, url, account or Account(), limits or Limits())
        self._bucket = self._place.bucket
        self._versions = Versions(self._client, self._place)
        self._locks = Locks(self._client, self._place, self._versions)
        self._conditional = ConditionalWriter(
            self._client, self._place, winner=self._oldest_bytes if object_lock else None
        )
        self._capabilities: Capabilities | None = None

    def put(self, key: str, source: Path, *, sha256: str, retain_until: datetime | None = None) -> None:
        """Upload ``source``, in parts where it is large. See :func:`pra.storage.s3_transfer.upload`.

        Raises:
            ObjectExists: Under a lock, the key holds other bytes: a new version would never be read.
        """
        whole = self._key(key)
        if not source.is_file():
            raise StorageError(f"nothing to store as {key}: {source} is gone", op="put", transient=False)
        if self.object_lock and self._is_there(whole, sha256):
            if retain_until is not None:
                self.prolong(key, retain_until)
            return
        written = {"Metadata": {_SHA256: sha256}, **self._lock(retain_until)}
        upload(self._client, self._place, whole, source, sha256=sha256, params=written)

    def create(self, key: str, data: bytes, *, retain_until: datetime | None = None) -> None:
        whole = self._key(key)
        with errors(self._place, "create", key):
            # A delete marker satisfies If-None-Match; the version behind it is still the object.
            if self.object_lock and self._versions.oldest(whole) is not None:
                raise ObjectExists(f"{key} in {self.name} exists already", op="create")
            self._conditional.create(whole, data, self._lock(retain_until))

    def replace(self, key: str, data: bytes, *, previous: bytes | None) -> None:
        if previous is None:
            self.create(key, data)
            return
        whole = self._key(key)
        with errors(self._place, "replace", key):
            if self.object_lock:
                self._keep_newest(whole)
            self._conditional.swap(whole, data, previous)
            if self.object_lock:
                self._keep_newest(whole)

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        whole = self._key(key)
        with errors(self._place, "open", key):
            first, version = self._get(whole)

        def reopen(offset: int) -> StreamingBody:
            ranged: dict[str, Any] = {"Range": f"bytes={offset}-"} if offset else {}
            answer = self._client.get_object(
                Bucket=self._bucket, Key=whole, IfMatch=first["ETag"], **ranged, **version
            )
            if offset and not answer.get("ContentRange", "").startswith(f"bytes {offset}-"):
                fact = f"the server cannot resume {key} in {self.name} at byte {offset}"
                raise StorageError(fact, op="read", transient=True)
            return answer["Body"]

        raw = ResumingBody(self._place, key, first["Body"], first["ContentLength"], reopen)
        with io.BufferedReader(raw, 1 << 18) as stream:
            yield stream

    def read(self, key: str, *, limit: int = 64 << 20) -> bytes:
        with self.open(key) as stream:
            data = stream.read(limit + 1)
        if len(data) > limit:
            raise StorageError(
                f"{key} in {self.name} is larger than {limit} bytes", op="read", transient=False
            )
        return data

    def stat(self, key: str) -> ObjectStat | None:
        whole = self._key(key)
        with errors(self._place, "stat", key):
            if self.object_lock:
                oldest = self._versions.oldest(whole)
                return None if oldest is None else self._stat(oldest)
            # Not HEAD: its answer has no body, so a missing bucket would look like a missing key.
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=whole, MaxKeys=1)
            for found in page.get("Contents", []):
                if found["Key"] == whole:
                    return _listed(key, found)
        return None

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        return self.list_after(prefix, "")

    def list_after(self, prefix: str, after: str) -> Iterator[ObjectStat]:
        whole = self._prefix + check_prefix(prefix)
        behind = self._prefix + check_prefix(after) if after else ""
        with errors(self._place, "list", prefix):
            if self.object_lock:
                for version in self._versions.listing(whole, behind):
                    yield self._stat(version)
                return
            start: dict[str, Any] = {"StartAfter": behind} if behind else {}
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=whole, **start
            )
            for found in (one for page in pages for one in page.get("Contents", [])):
                if found["Key"] > behind:  # also where a server does not know StartAfter
                    yield _listed(found["Key"].removeprefix(self._prefix), found)

    def delete(self, key: str) -> None:
        whole = self._key(key)
        with errors(self._place, "delete", key):
            if not self.object_lock:
                self._remove(whole)
                return
            # Oldest first: where that one is still locked, nothing has changed.
            for version in self._versions.history(whole):
                self._versions.remove(version)

    def prolong(self, key: str, until: datetime) -> None:
        whole = self._key(key)
        if self.object_lock:
            with errors(self._place, "prolong lock", key):
                self._locks.prolong(whole, until)

    def retained_until(self, key: str) -> datetime | None:
        whole = self._key(key)
        if not self.object_lock:
            return None
        with errors(self._place, "read lock", key):
            return self._locks.until(whole)

    def unfinished(self, prefix: str) -> Iterator[Upload]:
        whole = self._prefix + check_prefix(prefix)
        with errors(self._place, "list unfinished uploads", prefix):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=whole
            )
            try:
                for found in (one for page in pages for one in page.get("Uploads", [])):
                    key = found["Key"].removeprefix(self._prefix)
                    yield Upload(key, found["UploadId"], found["Initiated"].astimezone(UTC))
            except ClientError as error:
                if code_of(error) != "NoSuchUpload":  # rclone's way of saying that there are none
                    raise

    def abort(self, upload: Upload) -> None:
        with errors(self._place, "abort upload", upload.key):
            try:
                self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=self._key(upload.key), UploadId=upload.upload_id
                )
            except ClientError as error:
                if code_of(error) != "NoSuchUpload":
                    raise

    def capabilities(self) -> Capabilities:
        """Tried on scratch keys under ``_probe/``, once for each instance."""
        if self._capabilities is None:
            with errors(self._place, "try capabilities"):
                self._sweep_probes()
                key = self._key(f"{_PROBE}/{secrets.token_hex(8)}")
                conditional = self._conditional.creates_conditionally(key)
                self._sweep_probes()
                probe = self._key(f"{_PROBE}/{secrets.token_hex(8)}")
                self._capabilities = Capabilities(conditional, self.object_lock and self._locks.holds(probe))
        return self._capabilities

    def free_bytes(self) -> int | None:
        return None

    # ------------------------------------------------------------------------------------------

    def _key(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _stat(self, version: Version) -> ObjectStat:
        key = version.key.removeprefix(self._prefix)
        return ObjectStat(key, version.bytes, version.modified.astimezone(UTC), version.version_id)

    def _lock(self, retain_until: datetime | None) -> dict[str, Any]:
        if not self.object_lock or retain_until is None:
            return {}
        return params(retain_until)

    def _is_there(self, whole: str, sha256: str) -> bool:
        with errors(self._place, "put", whole):
            oldest = self._versions.oldest(whole)
            if oldest is None:
                return False
            head = self._client.head_object(Bucket=self._bucket, Key=whole, VersionId=oldest.version_id)
        if head["Metadata"].get(_SHA256) == sha256:
            return True
        raise ObjectExists(
            f"{whole} in {self.name} holds other bytes", op="put", hint="Objects are written once."
        )

    def _get(self, whole: str) -> tuple[GetObjectOutputTypeDef, dict[str, Any]]:
        """The object to read, and what names its version."""
        if not self.object_lock:
            return self._client.get_object(Bucket=self._bucket, Key=whole), {}
        while oldest := self._versions.oldest(whole):
            version: dict[str, Any] = {"VersionId": oldest.version_id}
            try:
                return self._client.get_object(Bucket=self._bucket, Key=whole, **version), version
            except ClientError as error:
                if code_of(error) not in MISSING:  # it was replaced while we looked; look again
                    raise
        raise ObjectMissing(f"{whole} in {self.name} does not exist", op="open")

    def _oldest_bytes(self, whole: str) -> bytes | None:
        return self.read(whole.removeprefix(self._prefix))

    def _keep_newest(self, whole: str) -> None:
        """Remove what a replaced object leaves behind: reads take the oldest version."""
        history = self._versions.history(whole)
        kept = next((version for version in reversed(history) if not version.marker), None)
        for version in history:
            if version is not kept:
                self._versions.remove(version)

    def _remove(self, whole: str) -> None:
        try:
            self._client.delete_object(Bucket=self._bucket, Key=whole)
        except ClientError as error:
            if code_of(error) not in MISSING:
                raise

    def _sweep_probes(self) -> None:
        """Remove scratch objects, those of earlier trials included once their lock is over."""
        for found in self.list(f"{_PROBE}/"):
            try:
                self.delete(found.key)
            except StorageError as error:
                if not self.object_lock or error.transient:
                    raise


def _listed(key: str, found: ObjectTypeDef) -> ObjectStat:
    return ObjectStat(key, found["Size"], found["LastModified"].astimezone(UTC), found.get("ETag", ""))
