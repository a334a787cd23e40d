"""The connection to an S3 server: limits, credentials, and no plaintext over a network."""

from __future__ import annotations

import ipaddress
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.utils import parse_timestamp

from pra.errors import SettingsError
from pra.storage.naming import check_prefix
from pra.storage.s3_errors import Place, errors

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_MAKING = threading.Lock()
_DEFAULT_REGION = "us-east-1"  # what servers that have no regions expect to be signed for


@dataclass(frozen=True)
class Limits:
    """Seconds to connect, seconds without a byte, and how often a call is tried in all."""

    connect_seconds: float = 10
    read_seconds: float = 60
    attempts: int = 4


@dataclass(frozen=True)
class Account:
    """Where and as whom. Without keys, boto3 looks in its usual places."""

    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    allow_plaintext: bool = False

    def __repr__(self) -> str:  # a secret must not reach a traceback
        return f"Account(endpoint={self.endpoint!r}, access_key_id={self.access_key_id!r})"


def connect(name: str, url: str, account: Account, limits: Limits) -> tuple[S3Client, Place, str]:
    """The client, the place for messages, and the prefix of every key (empty or with a trailing slash).

    Nothing is sent yet.

    Raises:
        SettingsError: The URL is not ``s3://bucket[/prefix]``, or the endpoint would send secrets and
            data over a network in plaintext.
    """
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise SettingsError(
            f"repository {name} is not an S3 bucket: {url!r}",
            op="open repository",
            hint='Write url = "s3://bucket/prefix".',
        )
    check_prefix(prefix)
    if account.endpoint is not None:
        _require_tls(name, account.endpoint, allowed=account.allow_plaintext)
    place = Place(name, parts.netloc, account.endpoint or "AWS")
    config = Config(
        connect_timeout=limits.connect_seconds,
        read_timeout=limits.read_seconds,
        retries={"mode": "standard", "total_max_attempts": limits.attempts},
        max_pool_connections=16,
        tcp_keepalive=True,
        s3={"addressing_style": "path" if account.endpoint else "auto"},
        # Checksums are given explicitly. boto3's own default, a trailer in the body, is not understood
        # by every server that speaks S3.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    # One session: it reads the service's description, which takes longer than all the rest, only once.
    # Making clients from it is not safe in several threads; using them is.
    with errors(place, "open repository"), _MAKING:
        client = _session().client(
            "s3",
            endpoint_url=account.endpoint,
            region_name=account.region or _DEFAULT_REGION,
            aws_access_key_id=account.access_key_id,
            aws_secret_access_key=account.secret_access_key,
            config=config,
        )
    return client, place, f"{prefix}/" if prefix else ""


@cache
def _session() -> boto3.session.Session:
    inner = botocore.session.get_session()
    # A page of a listing has a thousand times; botocore takes longer for them than for all the rest of it.
    inner.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
    return boto3.session.Session(botocore_session=inner)


def _moment(value: Any) -> datetime:
    """A time in an answer: in ISO form nearly always, otherwise whatever botocore makes of it."""
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        found = parse_timestamp(value)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _require_tls(name: str, endpoint: str, *, allowed: bool) -> None:
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(
            f"the endpoint of repository {name} is not a URL: {endpoint!r}",
            op="open repository",
            hint='Write endpoint = "https://host[:port]".',
        )
    if parts.scheme == "http" and not allowed and not _is_loopback(parts.hostname):
        raise SettingsError(
            f"the endpoint of repository {name} has no TLS: {endpoint!r}",
            op="open repository",
            hint=f"Use https, or set repositories.{name}.allow_plaintext = true if the network is trusted.",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
