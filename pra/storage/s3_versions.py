"""What an S3 bucket under Object Lock holds behind overwrites and delete markers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from pra.errors import StorageError
from pra.storage.s3_errors import Place, errors, status_of

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@dataclass(frozen=True)
class Version:
    """One version of a key, or a delete marker (which has no bytes)."""

    key: str
    version_id: str
    bytes: int
    modified: datetime
    marker: bool


class Versions:
    """Whole keys in, whole keys out: the repository's prefix included."""

    def __init__(self, client: S3Client, place: Place) -> None:
        self._client = client
        self._place = place
        self.page_size = 1000

    def history(self, key: str) -> list[Version]:
        """Every version of a key and every marker over it, oldest first."""
        found: list[Version] = []
        for page in self._pages(key):
            found += [version for version in page if version.key == key]
            if any(version.key > key for version in page):
                break  # keys that go on after this one
        return _oldest_first(found)

    def oldest(self, key: str) -> Version | None:
        return next((version for version in self.history(key) if not version.marker), None)

    def listing(self, prefix: str, after: str = "") -> Iterator[Version]:
        """The oldest version of every key below ``prefix``, and behind ``after``, in key order."""
        pages = self._pages(prefix, after)
        found = (v for page in pages for v in page if not v.marker and v.key > after)
        for _, versions in itertools.groupby(found, key=lambda version: version.key):
            yield _oldest_first(list(versions))[0]

    def remove(self, version: Version) -> None:
        """Delete one version for good.

        Raises:
            StorageError: It is still retained, or the account may not.
        """
        try:
            self._client.delete_object(
                Bucket=self._place.bucket, Key=version.key, VersionId=version.version_id
            )
        except ClientError as error:
            until = self.retained_until(version) if status_of(error) in (400, 403) else None
            if until is None:
                raise
            raise StorageError(
                f"{version.key} in {self._place.name} is under object lock until {until:%Y-%m-%dT%H:%M:%SZ}",
                op="delete",
                hint="Nobody can delete it before; run pra expire after that date.",
                transient=False,
            ) from error

    def retained_until(self, version: Version) -> datetime | None:
        """Until when nobody can remove it; None where it is not retained."""
        if version.marker:
            return None
        with errors(self._place, "read lock", version.key):
            head = self._client.head_object(
                Bucket=self._place.bucket, Key=version.key, VersionId=version.version_id
            )
        return head.get("ObjectLockRetainUntilDate")

    def _pages(self, prefix: str, after: str = "") -> Iterator[list[Version]]:
        """Pages of versions and markers; within a page, versions come before markers."""
        begin: dict[str, Any] = {"KeyMarker": after} if after else {}
        pages = self._client.get_paginator("list_object_versions").paginate(
            Bucket=self._place.bucket, Prefix=prefix, PaginationConfig={"PageSize": self.page_size}, **begin
        )
        for page in pages:
            versions = [
                Version(v["Key"], v["VersionId"], v["Size"], v["LastModified"], marker=False)
                for v in page.get("Versions", [])
            ]
            markers = [
                Version(m["Key"], m["VersionId"], 0, m["LastModified"], marker=True)
                for m in page.get("DeleteMarkers", [])
            ]
            yield versions + markers


def _oldest_first(listed: list[Version]) -> list[Version]:
    """Order what a server lists newest first; its clock may give two versions the same second."""
    turned = listed[::-1]
    turned.sort(key=lambda version: (version.modified, version.marker))
    return turned
