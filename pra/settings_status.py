"""``[status]``: where samples go, how often things should happen, and from where on they are worth a word."""

from __future__ import annotations

from datetime import timedelta
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from pra.settings_fields import Duration, Frozen, Size, wrong


class Status(Frozen):
    """What a status pass asks for. Everything has a default; durations as elsewhere, shares from 0 to 1.

    Attributes:
        repository: Where samples are published; by default the first repository of the first target.
        concurrency: How many probes ask at once.
        limit: How long one probe may take; it is given up then.
        backup_every: The interval of the backup schedule. A backup is late past this and twice its usual
            duration; it is critical past twice the interval.
        proof_every, drill_every: How old the last PASS verification of a repository, and the last drill, may
            be.
        wal_lag: From here on WAL is late; past the target's RPO that is critical.
        database_slow, api_slow: From here on an answer is slow.
        replica_lag: How far a standby may be behind.
        expiry: How long before its end a certificate, or a trusted key, is worth a word; a quarter of that is
            critical.
        disk_warning, disk_critical: Shares of a disk that are free.
        prefect_api: ``http://…/api`` of the Prefect server; by default ``PREFECT_API_URL``.
        prefect_auth: ``user:password`` of it; by default ``PREFECT_API_AUTH_STRING``.
        longest_run: A flow run that is at work for longer is stuck.
        unprotected: Databases that need no backup, beside ``postgres`` and the templates.
        scrub_within: Every stored object is read again within this.
        scrub_bytes: What a day's scrub reads at most of one target in one repository.
    """

    repository: str | None = None
    concurrency: int = Field(default=16, ge=1, le=200)
    limit: Duration = timedelta(seconds=15)
    backup_every: Duration = timedelta(hours=1)
    proof_every: Duration = timedelta(days=8)
    drill_every: Duration = timedelta(days=370)
    wal_lag: Duration = timedelta(minutes=5)
    database_slow: Duration = timedelta(seconds=2)
    api_slow: Duration = timedelta(seconds=5)
    replica_lag: Duration = timedelta(minutes=5)
    expiry: Duration = timedelta(days=21)
    disk_warning: float = Field(default=0.20, ge=0, le=1)
    disk_critical: float = Field(default=0.10, ge=0, le=1)
    prefect_api: str | None = None
    prefect_auth: SecretStr | None = None
    longest_run: Duration = timedelta(hours=6)
    unprotected: list[str] = Field(default_factory=list)
    scrub_within: Duration = timedelta(days=30)
    scrub_bytes: Size = 50 * 10**9

    @model_validator(mode="after")
    def _thresholds_are_in_order(self) -> Self:
        if self.disk_critical > self.disk_warning:
            raise wrong("disk_critical is above disk_warning", "Give the smaller share to disk_critical.")
        return self

    @model_validator(mode="after")
    def _api_is_an_address(self) -> Self:
        url = urlsplit(self.prefect_api or "http://none")
        if url.scheme not in ("http", "https") or not url.hostname or url.username:
            raise wrong(
                "prefect_api is not an http(s) address", "Write http://host:4200/api, without a password."
            )
        return self
