"""Writes that happen only if nobody else was there first.

AWS and others honour ``If-None-Match`` and ``If-Match`` on a write; some servers ignore both without
a word. Which kind this is gets tried, on the first write that needs it, in a way that leaves the
same bytes behind either way. Where conditions are ignored: look, write, read back.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, HTTPClientError

from pra.errors import ObjectExists
from pra.storage.s3_errors import MISSING, UNMET, Place, code_of, status_of
from pra.storage.s3_transfer import checksum

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_NO_ETAG = f'"{"0" * 32}"'
_TOKEN = "pra-write"
_CONDITIONS = ("IfNoneMatch", "IfMatch")
_CONFLICTS = 5


@dataclass(frozen=True)
class Current:
    """The bytes under a key now, and the tag by which the server knows them."""

    data: bytes
    etag: str


class ConditionalWriter:
    """Keys are whole. boto3's exceptions pass through; :class:`ObjectExists` is ours.

    Args:
        winner: What counts under a key that several created at once, where the server does not
            decide; the newest bytes if not given.
    """

    def __init__(
        self, client: S3Client, place: Place, *, winner: Callable[[str], bytes | None] | None = None
    ) -> None:
        self._client = client
        self._place = place
        self._winner = winner or self._newest
        self._creates: bool | None = None  # None: not tried yet
        self._swaps: bool | None = None

    def create(self, key: str, data: bytes, params: Mapping[str, Any]) -> None:
        """Write where nothing is.

        Raises:
            ObjectExists: Something is there.
        """
        # Until the server has shown that it looks, we do: a write it lets through would destroy.
        if self._creates is not True and self.current(key) is not None:
            raise self._taken(key)
        if self._creates is False:
            self._write(key, data, params)
        elif not self._write_if(key, data, {**params, "IfNoneMatch": "*"}):
            self._creates = True
            raise self._taken(key)
        elif self._creates is None:
            self._creates = not self._write_if(key, data, {"IfNoneMatch": "*"}, trial=True)
        if self._creates is False and self._winner(key) != data:
            raise self._taken(key)

    def swap(self, key: str, data: bytes, previous: bytes) -> None:
        """Write over ``previous``.

        Raises:
            ObjectExists: Something else is there by now, or nothing.
        """
        current = self.current(key)
        if current is None or current.data != previous:
            raise self._taken(key)
        if self._swaps is None:
            self._swaps = not self._write_if(key, previous, {"IfMatch": _NO_ETAG}, trial=True)
        if self._swaps:
            written = self._write_if(key, data, {"IfMatch": current.etag})
        else:
            self._write(key, data, {})
            written = self._newest(key) == data
        if not written:
            raise self._taken(key)

    def creates_conditionally(self, key: str) -> bool:
        """Whether the server honours ``If-None-Match``; tried with a scratch key if not known yet."""
        if self._creates is None:
            self.create(key, secrets.token_bytes(16), {})
        return bool(self._creates)

    def current(self, key: str) -> Current | None:
        """The newest version, or None."""
        for last in (False, False, True):
            try:
                answer = self._client.get_object(Bucket=self._place.bucket, Key=key)
                with closing(answer["Body"]) as body:  # as its own context manager it would be urllib3's
                    return Current(body.read(), answer["ETag"])
            except HTTPClientError:
                # The body broke off: a server may rewrite an object under its readers.
                if last:
                    raise
            except ClientError as error:
                if code_of(error) in MISSING:
                    return None
                raise
        raise AssertionError("unreachable")

    def _newest(self, key: str) -> bytes | None:
        current = self.current(key)
        return None if current is None else current.data

    def _write(self, key: str, data: bytes, params: Mapping[str, Any]) -> None:
        self._client.put_object(Bucket=self._place.bucket, Key=key, Body=data, **checksum(data), **params)

    def _write_if(self, key: str, data: bytes, params: Mapping[str, Any], *, trial: bool = False) -> bool:
        """Whether the write took place. A server that refuses conditions as such ignores them, to us.

        ``trial``: of which it does not matter whether an earlier attempt got through.
        """
        token = secrets.token_hex(16)
        for _ in range(_CONFLICTS):
            try:
                self._write(key, data, {**params, "Metadata": {_TOKEN: token}})
                return True
            except ClientError as error:
                code, status = code_of(error), status_of(error)
                if status == 409:
                    continue  # another writer at the same instant; ask who won
                if status == 501:
                    self._write(key, data, {k: v for k, v in params.items() if k not in _CONDITIONS})
                    return True
                if code in MISSING:  # If-Match on a key that is gone
                    return False
                if code not in UNMET and status != 412:
                    raise
                # boto3 repeats a call whose answer was lost: then it was we who took the key.
                return not trial and self._is_own(key, token)
        return False

    def _is_own(self, key: str, token: str) -> bool:
        head = self._client.head_object(Bucket=self._place.bucket, Key=key)
        return head["Metadata"].get(_TOKEN) == token

    def _taken(self, key: str) -> ObjectExists:
        return ObjectExists(
            f"{key} in {self._place.name} is held by another writer", op="write conditionally"
        )
