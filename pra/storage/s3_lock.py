"""Object Lock on an S3 server: tried, set on what is written, prolonged when more comes to depend on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from pra.errors import ObjectMissing, StorageError
from pra.storage.s3_errors import Place, code_of, status_of
from pra.storage.s3_transfer import checksum
from pra.storage.s3_versions import Version, Versions

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

# Nobody, the account's owner included, can shorten it: stolen administrator credentials are what a lock
# is for, and governance mode yields to them. The price of a mistaken date is bounded by the retention.
MODE: Final = "COMPLIANCE"
_PROBE_SECONDS = 5


class Locks:
    """Whole keys in. A lock is one of a version: what counts is the oldest one, which is what is read."""

    def __init__(self, client: S3Client, place: Place, versions: Versions) -> None:
        self._client = client
        self._place = place
        self._versions = versions

    def until(self, key: str) -> datetime | None:
        """The date on what is read under the key; None where it has none.

        Raises:
            ObjectMissing: Nothing is there.
        """
        return self._versions.retained_until(self._oldest(key))

    def prolong(self, key: str, until: datetime) -> None:
        """See ``Storage.prolong``."""
        oldest = self._oldest(key)
        if self._lasts(oldest, until):
            return
        try:
            self._client.put_object_retention(
                Bucket=self._place.bucket,
                Key=key,
                VersionId=oldest.version_id,
                Retention={"Mode": MODE, "RetainUntilDate": until},
            )
        except ClientError as error:
            if status_of(error) not in (400, 403):
                raise
            if self._lasts(oldest, until):  # somebody else was faster, and went further
                return
            raise StorageError(
                f"the lock on {key} in {self._place.name} cannot be prolonged ({code_of(error)})",
                op="prolong lock",
                hint=f"Allow the access key of repositories.{self._place.name} s3:GetObjectRetention and "
                f"s3:PutObjectRetention in bucket {self._place.bucket}.",
                transient=False,
            ) from error

    def holds(self, key: str) -> bool:
        """Whether the server refuses to delete a locked version; tried with this scratch key.

        Raises:
            StorageError: It locks, but the account may not prolong a lock.
        """
        data = b"locked for a moment, to see whether the lock holds"
        # By the server's clock: a date in its past would be refused, one far ahead would stay.
        answer = self._client.list_objects_v2(Bucket=self._place.bucket, Prefix=key, MaxKeys=1)
        now = _server_time(answer["ResponseMetadata"]["HTTPHeaders"].get("date"))
        until = now + timedelta(seconds=_PROBE_SECONDS)
        try:
            written = self._client.put_object(
                Bucket=self._place.bucket, Key=key, Body=data, **checksum(data), **params(until)
            )
        except ClientError as error:
            if code_of(error) == "InvalidRequest":  # the bucket has no Object Lock
                return False
            raise
        try:
            self._client.delete_object(
                Bucket=self._place.bucket, Key=key, VersionId=written.get("VersionId", "null")
            )
        except ClientError as error:
            if code_of(error) not in ("AccessDenied", "InvalidRequest", "ObjectLocked"):
                raise
        else:
            return False
        self.prolong(key, until + timedelta(seconds=1))
        return True

    def _oldest(self, key: str) -> Version:
        oldest = self._versions.oldest(key)
        if oldest is None:
            raise ObjectMissing(f"{key} in {self._place.name} does not exist", op="prolong lock")
        return oldest

    def _lasts(self, version: Version, until: datetime) -> bool:
        current = self._versions.retained_until(version)
        # A server may keep whole seconds.
        return current is not None and current >= until.replace(microsecond=0)


def params(until: datetime) -> dict[str, Any]:
    """What locks an object as it is written."""
    return {"ObjectLockMode": MODE, "ObjectLockRetainUntilDate": until}


def _server_time(header: str | None) -> datetime:
    return parsedate_to_datetime(header) if header else datetime.now(UTC)
