"""The sections of ``pra.toml``: what each key means, its unit, its default, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from pra.settings_failover import Failover
from pra.settings_fields import Duration, Frozen, Size, dsn_fault, refuse_plain_http, wrong
from pra.settings_source import variable


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
    failover: Failover | None = None
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
            raise wrong(f"dsn {fault[0]}", fault[1])
        return self

    @model_validator(mode="after")
    def _failover_is_usable(self) -> Self:
        if self.failover is None:
            return self
        where = f"set {variable(('targets', self.name, 'password'))} or use PGPASSFILE"
        for key in ("dsn", "standby"):
            text = getattr(self.failover, key)
            fault = text and dsn_fault(text, allow_plaintext=self.allow_plaintext, password_belongs=where)
            if fault:
                raise wrong(f"failover.{key} {fault[0]}", fault[1])
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
            raise wrong("url holds credentials", "Use access_key_id and the variable for secret_access_key.")
        if url.scheme == "file":
            if url.netloc not in ("", "localhost") or not url.path.startswith("/"):
                raise wrong("url is not an absolute file URL", "Write three slashes: file:///backups.")
            if self.endpoint or self.object_lock:
                raise wrong("endpoint and object_lock belong to s3 repositories", "Remove them here.")
        elif url.scheme != "s3" or not url.netloc:
            raise wrong("url is neither file:///directory nor s3://bucket/prefix", "Write one of the two.")
        if self.endpoint is not None:
            refuse_plain_http("endpoint", self.endpoint, allowed=self.allow_plaintext)
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
            raise wrong("every count is zero, no backup would be kept", "Set at least one of them.")
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
            raise wrong("bindir holds an unknown placeholder", "Only {major} is replaced.")
        return self


class SandboxSettings(Frozen):
    """Where throwaway servers live and, when we are root, the account they run as."""

    dir: Path | None = None
    account: str | None = None
