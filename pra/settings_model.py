"""The sections of ``pra.toml``: what each key means, its unit, its default, and what is refused."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from pra.errors import UsageError
from pra.settings_source import variable
from pra.timing import parse_duration

_TLS = frozenset({"require", "verify-ca", "verify-full"})


def _wrong(message: str, hint: str) -> PydanticCustomError:
    # The texts go through the context: a brace in a message must not be read as a placeholder.
    return PydanticCustomError("setting", "{message}", {"message": message, "hint": hint})


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    try:
        return parse_duration(value if isinstance(value, str) else str(value))
    except UsageError as error:
        raise _wrong(error.message, error.hint) from None


Duration = Annotated[timedelta, BeforeValidator(_duration)]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B?")


def _size(value: object) -> object:
    """``512MiB``, ``32MB``, ``1GB`` or a number of bytes."""
    if isinstance(value, int):
        return value
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise _wrong(f"not a size: {str(value)[:40]!r}", "Write a number and a unit, such as 512MiB or 32MB.")
    power = " kMGT".index(match[2] or " ")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)


Size = Annotated[int, BeforeValidator(_size), Field(gt=0)]


class Frozen(BaseModel):
    # hide_input_in_errors: a mistyped secret must not come back in a traceback.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def dsn_fault(dsn: str, *, allow_plaintext: bool, password_belongs: str) -> tuple[str, str] | None:
    """What is unsafe about a DSN, and what to do about it; None when nothing is. Never repeats the DSN."""
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # libpq's own sentence may quote the string, password included.
        return "is not a PostgreSQL DSN", "Write postgresql://role@host:5432/database."
    if parts.get("password") is not None:
        return "holds a password", f"Take it out; {password_belongs}."
    hidden = "service" in parts and not (parts.get("host") or parts.get("hostaddr"))
    addresses = str(parts.get("hostaddr") or parts.get("host") or "").split(",")
    exposed = hidden or not all(_is_local(address) for address in addresses)
    if exposed and parts.get("sslmode") not in _TLS and not allow_plaintext:
        hint = "Add ?sslmode=verify-full (at least require), or set the target's allow_plaintext = true."
        return "leaves this machine without TLS", hint
    return None


class Freshness(Frozen):
    """The newest value of a timestamp column may be at most ``max_age`` older than the backup's snapshot."""

    table: str
    column: str
    max_age: Duration


class Api(Frozen):
    """The application: before production and, through ``start``, before a restored database."""

    url: str | None = None
    endpoints: list[str] = Field(default_factory=list)
    restore_url: str | None = None
    start: str | None = None
    timeout: Duration = timedelta(seconds=60)


class Physical(Frozen):
    """How the physical engine works on one target.

    Attributes:
        full_every: A full backup when the last one is older; incremental ones between (PostgreSQL 17 on).
        longest_chain: Incremental backups upon one full at most; 0 makes every backup a full one.
        checkpoint: ``spread`` leaves production its time, ``fast`` starts at once.
        max_rate: Bytes a second that a base backup may read at most (``32MB``); None: no limit.
        volume_bytes: How much of the tar stream goes into one object.
        digest_every: A backup compares contents again when the last digest is older; by default every one
            does. What lies between carries definitions only, and its own verification is PARTIAL.
        slot: The streamer's replication slot; by default ``pra_`` and the target's name.
        ship_every: How often the unfinished WAL segment is shipped when it has grown.
        backlog: How much WAL may wait on the streamer's disk before it says so as an error.
    """

    full_every: Duration = timedelta(days=1)
    longest_chain: int = Field(default=48, ge=0, le=500)
    checkpoint: Literal["spread", "fast"] = "spread"
    max_rate: Size | None = None
    volume_bytes: Size = 512 << 20
    digest_every: Duration | None = None
    slot: str | None = Field(default=None, pattern=r"^[a-z0-9_]{1,63}$")
    ship_every: Duration = timedelta(seconds=2)
    backlog: Size = 16 << 30


class Target(Frozen):
    """One protected PostgreSQL. ``digest`` is how deep the fingerprint looks: every row, or counts alone."""

    name: str
    dsn: str
    password: SecretStr | None = None
    engine: Literal["logical", "physical"] = "logical"
    physical: Physical = Field(default_factory=Physical)
    rpo: Duration = timedelta(hours=1)
    rto: Duration = timedelta(minutes=30)
    repositories: list[str] = Field(min_length=1)
    critical_tables: list[str] = Field(default_factory=list)
    digest: Literal["digest", "counts"] = "digest"
    jobs: int = Field(default=2, ge=1, le=64)
    lock_wait: Duration = timedelta(seconds=30)
    longest_snapshot: Duration = timedelta(hours=2)
    freshness: list[Freshness] = Field(default_factory=list)
    suites: list[Path | str] = Field(default_factory=list)
    api: Api | None = None
    allow_plaintext: bool = False

    @property
    def slot(self) -> str:
        """The streamer's replication slot."""
        return self.physical.slot or f"pra_{self.name.replace('-', '_')}"

    @model_validator(mode="after")
    def _dsn_is_safe(self) -> Self:
        where = f"set {variable(('targets', self.name, 'password'))} or use PGPASSFILE"
        fault = dsn_fault(self.dsn, allow_plaintext=self.allow_plaintext, password_belongs=where)
        if fault is not None:
            raise _wrong(f"dsn {fault[0]}", fault[1])
        return self


class Repository(Frozen):
    """Where backups live: ``file:///directory`` or ``s3://bucket/prefix``."""

    name: str
    url: str
    endpoint: str | None = None
    region: str | None = None
    object_lock: bool = False
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    allow_plaintext: bool = False

    @model_validator(mode="after")
    def _url_is_usable(self) -> Self:
        url = urlsplit(self.url)
        if url.username or url.password:
            raise _wrong("url holds credentials", "Use access_key_id and the variable for secret_access_key.")
        if url.scheme == "file":
            if url.netloc not in ("", "localhost") or not url.path.startswith("/"):
                raise _wrong("url is not an absolute file URL", "Write three slashes: file:///backups.")
            if self.endpoint or self.object_lock:
                raise _wrong("endpoint and object_lock belong to s3 repositories", "Remove them here.")
        elif url.scheme != "s3" or not url.netloc:
            raise _wrong("url is neither file:///directory nor s3://bucket/prefix", "Write one of the two.")
        if self.endpoint is not None:
            _refuse_plain_http("endpoint", self.endpoint, allowed=self.allow_plaintext)
        return self


class Retention(Frozen):
    """Grandfather, father, son: how many hours, days, weeks and months that hold backups are kept."""

    hourly: int = Field(default=24, ge=0)
    daily: int = Field(default=7, ge=0)
    weekly: int = Field(default=5, ge=0)
    monthly: int = Field(default=12, ge=0)
    pitr_window: Duration = timedelta(days=7)

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if not (self.hourly or self.daily or self.weekly or self.monthly):
            raise _wrong("every count is zero, no backup would be kept", "Set at least one of them.")
        return self


class Encryption(Frozen):
    """``recipients`` None: nobody ever said; an empty list: none, on purpose."""

    recipients: list[str] | None = None
    identity_file: Path | None = None


class Signing(Frozen):
    """``trusted``: public keys accepted beside our own (rotated keys, the other work pools' keys)."""

    alg: Literal["ed25519", "hmac-sha256"] = "ed25519"
    key_file: Path | None = None
    trusted: list[str] = Field(default_factory=list)


class PostgresSettings(Frozen):
    """``bindir`` may hold ``{major}``. Default: found on the system, else the embedded build."""

    bindir: str | None = None

    @model_validator(mode="after")
    def _only_major(self) -> Self:
        if self.bindir and set("{}") & set(self.bindir.replace("{major}", "")):
            raise _wrong("bindir holds an unknown placeholder", "Only {major} is replaced.")
        return self


class SandboxSettings(Frozen):
    """Where throwaway servers live and, when we are root, the account they run as."""

    dir: Path | None = None
    account: str | None = None


class Alerts(Frozen):
    slack_token: SecretStr | None = None
    slack_channel: str | None = None
    slack_webhook: SecretStr | None = None
    slack_base_url: str | None = None

    @model_validator(mode="after")
    def _token_travels_safely(self) -> Self:
        if self.slack_base_url is not None:
            _refuse_plain_http("slack_base_url", self.slack_base_url, allowed=False)
        return self


def _is_local(address: str) -> bool:
    """A socket directory, no host at all (libpq's default socket) or a loopback address."""
    if address in ("", "localhost") or address.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def _refuse_plain_http(key: str, text: str, *, allowed: bool) -> None:
    url = urlsplit(text)
    if url.username or url.password:
        raise _wrong(f"{key} holds credentials", "Take them out of the address.")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise _wrong(f"{key} is not an http(s) address", "Write https://host[:port].")
    if url.scheme == "http" and not allowed and not _is_local(url.hostname):
        raise _wrong(f"{key} leaves this machine without TLS", "Use https, or set allow_plaintext = true.")
