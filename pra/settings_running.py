"""``[prefect]``: the Prefect server that ``pra up`` runs on this machine, and the word that opens it."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from pra.errors import SettingsError
from pra.settings_fields import Duration, Frozen, is_local, refuse_plain_http, wrong

_SHORTEST_RUNS = timedelta(hours=1)
_DATABASES = ("postgresql+asyncpg", "sqlite+aiosqlite")


class Prefect(Frozen):
    """The Prefect server of this machine.

    Attributes:
        host: The address it listens on. It speaks plain HTTP: what is not loopback needs ``allow_plaintext``.
        port: Its TCP port.
        url: The address under which browsers reach it, where that is another: a proxy's, for example.
        auth: ``user:password`` that it asks for; by default made at the first start and kept in the state.
        database: Where it keeps its runs, by default SQLite in the state:
            ``postgresql+asyncpg://user:password@host/database``, on a server that is not a protected one.
        keep_runs: Runs that ended longer ago are forgotten. Evidence is not: it lies in the repositories.
        keep_events, keep_heartbeats: The same for its events, and for those that only say that a run lives.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=4200, ge=1, le=65535)
    url: str | None = None
    auth: SecretStr | None = None
    database: SecretStr | None = None
    keep_runs: Duration = timedelta(days=90)
    keep_events: Duration = timedelta(days=7)
    keep_heartbeats: Duration = timedelta(days=1)
    allow_plaintext: bool = False

    @property
    def own_url(self) -> str:
        """Where programs on this machine reach it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host and host[0] != '[' else host}:{self.port}"

    @property
    def public_url(self) -> str:
        """Where browsers reach it."""
        return (self.url or self.own_url).rstrip("/")

    @property
    def api_url(self) -> str:
        return f"{self.own_url}/api"

    @model_validator(mode="after")
    def _stays_here(self) -> Self:
        if not self.host or not (is_local(self.host) or self.allow_plaintext):
            raise wrong(
                "host leaves this machine without TLS",
                "Use 127.0.0.1 behind a proxy with TLS, or set prefect.allow_plaintext = true.",
            )
        if self.url is not None:
            refuse_plain_http("url", self.url, allowed=self.allow_plaintext)
        return self

    @model_validator(mode="after")
    def _auth_is_a_pair(self) -> Self:
        if self.auth is not None and not is_pair(self.auth.get_secret_value()):
            raise wrong("auth is not user:password", "Write both in one line, with a colon between them.")
        return self

    @model_validator(mode="after")
    def _database_is_known(self) -> Self:
        if self.database is not None:
            url = urlsplit(self.database.get_secret_value())
            if url.scheme not in _DATABASES or (url.scheme == _DATABASES[0] and not url.hostname):
                raise wrong(
                    "database is not an address that Prefect knows",
                    "Write postgresql+asyncpg://user:password@host:5432/database.",
                )
        return self

    @model_validator(mode="after")
    def _keeps_runs(self) -> Self:
        if self.keep_runs <= _SHORTEST_RUNS:
            raise wrong("keep_runs is too short", "Keep runs for more than an hour: 90d is the default.")
        return self


def is_pair(text: str) -> bool:
    """Whether this is a ``user:password`` that fits in a header and in one line."""
    user, _, password = text.partition(":")
    return bool(user and password) and text.isprintable() and text.isascii() and text == text.strip()


def auth_file(state_dir: Path) -> Path:
    """Where the ``user:password`` lies that was made at the first start."""
    return state_dir / "prefect" / "auth"


def api_file(state_dir: Path) -> Path:
    """Where the address of the server lies that was last started with this state."""
    return state_dir / "prefect" / "api"


def read_auth(state_dir: Path) -> str | None:
    """The ``user:password`` of this state's own server; None before its first start.

    Raises:
        SettingsError: Others can read the file, or it holds something else.
    """
    path = auth_file(state_dir)
    op = "read Prefect's password"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text().strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"cannot read {path}: {type(error).__name__}", op=op, hint="Run as the account that owns it."
        ) from None
    if mode & 0o077:
        raise SettingsError(f"{path} has mode {mode:04o}", op=op, hint=f"Run: chmod 600 {path}")
    if not is_pair(text):
        raise SettingsError(
            f"{path} does not hold user:password", op=op, hint="Remove it: pra up makes a new one."
        )
    return text


def read_api(state_dir: Path) -> str | None:
    """The API of the server that was last started with this state; None before its first start."""
    try:
        text = api_file(state_dir).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if text.startswith("http") else None


def fill_status(status: dict[str, Any], prefect: Any, state_dir: Path) -> None:
    """Let the status ask the server of this state, with its password, where nobody named another."""
    own = read_api(state_dir)
    if own is not None:
        status.setdefault("prefect_api", own)
    if "prefect_auth" in status or "prefect_api" not in status:
        return
    auth = prefect.get("auth") if isinstance(prefect, dict) else None
    if auth is None and status["prefect_api"] == own:  # made here for that one, and for no other
        auth = read_auth(state_dir)
    if auth is not None:
        status["prefect_auth"] = auth
