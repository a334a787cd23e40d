"""Large bodies to and from an S3 server: uploads in parts, downloads that resume."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError
from urllib3.exceptions import HTTPError

from pra.errors import StorageError
from pra.storage.s3_errors import Place, code_of, errors, translated

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from botocore.response import StreamingBody
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

_MIB = 1 << 20
_PART = 8 * _MIB
_SINGLE = 2 * _PART  # below this, parts are not worth their round trips
_MAX_PARTS = 9_000  # S3 allows 10,000
_WORKERS = 4
_RESUMES = 4


def checksum(data: bytes) -> dict[str, Any]:
    """Parameters that make a server that knows them compare what arrived (others ignore them)."""
    return {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": _base64(hashlib.sha256(data).digest())}


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")


def part_size(size: int) -> int:
    """Bytes in a part: 8 MiB, more only where the number of parts would not do (above 70 GiB).

    Four parts are in memory at a time.
    """
    return max(_PART, -(-size // (_MAX_PARTS * _MIB)) * _MIB)


def upload(
    client: S3Client, place: Place, key: str, source: Path, *, sha256: str, params: Mapping[str, Any]
) -> None:
    """Store a file, in parts where it is large. An upload that fails is aborted.

    Args:
        key: The whole key, the repository's prefix included.
        sha256: Hex digest of the file; a server that knows checksums compares.
        params: Metadata and lock, for the object as a whole.

    Raises:
        StorageError: It could not be stored; nothing of it is visible.
    """
    size = source.stat().st_size
    with errors(place, "put", key):
        if size <= _SINGLE:
            digest: dict[str, Any] = {
                "ChecksumAlgorithm": "SHA256",
                "ChecksumSHA256": _base64(bytes.fromhex(sha256)),
            }
            client.put_object(Bucket=place.bucket, Key=key, Body=source.read_bytes(), **digest, **params)
            return
        _Multipart(client, place, key, source, size).run(params)


class _Multipart:
    def __init__(self, client: S3Client, place: Place, key: str, source: Path, size: int) -> None:
        self._client = client
        self._place = place
        self._key = key
        self._source = source
        self._size = size
        self._upload_id = ""

    def run(self, params: Mapping[str, Any]) -> None:
        begun = self._client.create_multipart_upload(
            Bucket=self._place.bucket, Key=self._key, ChecksumAlgorithm="SHA256", **params
        )
        self._upload_id = begun["UploadId"]
        try:
            parts = self._send()
            self._client.complete_multipart_upload(
                Bucket=self._place.bucket,
                Key=self._key,
                UploadId=self._upload_id,
                MultipartUpload={"Parts": parts},
            )
        except BaseException as error:
            self._abort(error)
            raise

    def _send(self) -> list[CompletedPartTypeDef]:
        step = part_size(self._size)
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="upload") as pool:
            futures = [
                pool.submit(self._part, number, offset, min(step, self._size - offset))
                for number, offset in enumerate(range(0, self._size, step), start=1)
            ]
            try:
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _part(self, number: int, offset: int, length: int) -> CompletedPartTypeDef:
        with self._source.open("rb", buffering=0) as file:
            data = os.pread(file.fileno(), length, offset)
        if len(data) != length:
            raise StorageError(f"{self._source} was cut short while it was sent", op="put", transient=False)
        sent = checksum(data)
        answer = self._client.upload_part(
            Bucket=self._place.bucket,
            Key=self._key,
            UploadId=self._upload_id,
            PartNumber=number,
            Body=data,
            **sent,
        )
        part: CompletedPartTypeDef = {"PartNumber": number, "ETag": answer["ETag"]}
        if "ChecksumSHA256" in answer:
            part["ChecksumSHA256"] = sent["ChecksumSHA256"]
        return part

    def _abort(self, cause: BaseException) -> None:
        try:
            self._client.abort_multipart_upload(
                Bucket=self._place.bucket, Key=self._key, UploadId=self._upload_id
            )
        except (ClientError, BotoCoreError) as error:
            # What made the upload fail is the news; what is left behind is gc's.
            if not isinstance(error, ClientError) or code_of(error) != "NoSuchUpload":
                cause.add_note(f"the unfinished upload of {self._key} was left behind; pra gc removes it")


class ResumingBody(io.RawIOBase):
    """A download that goes on where the connection broke, and never ends early without an error.

    Args:
        body: The whole object.
        size: Its bytes.
        reopen: Gives the body again, from an offset on.
    """

    def __init__(
        self, place: Place, key: str, body: StreamingBody, size: int, reopen: Callable[[int], StreamingBody]
    ) -> None:
        self._place = place
        self._key = key
        self._reopen = reopen
        self._size = size
        self._offset = 0
        self._failures = 0
        self._body: StreamingBody | None = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer).cast("B")
        while self._offset < self._size and len(target):
            try:
                if self._body is None:
                    self._body = self._reopen(self._offset)
                data = self._body.read(min(len(target), self._size - self._offset))
                if not data:
                    raise IncompleteReadError(actual_bytes=self._offset, expected_bytes=self._size)
            except (ClientError, BotoCoreError, HTTPError, OSError) as error:
                self._broke(error)
                continue
            self._failures = 0
            self._offset += len(data)
            target[: len(data)] = data
            return len(data)
        return 0

    def _broke(self, error: Exception) -> None:
        self._drop()
        self._failures += 1
        failure = translated(error, self._place, "read", self._key)
        if self._failures > _RESUMES or not failure.transient:
            raise failure from error
        time.sleep(0.1 * 2**self._failures)

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def close(self) -> None:
        self._drop()
        super().close()
