"""The password of the Prefect API: made once, kept, and found by every command that shares the state."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from pra.settings import Settings
from pra.settings_running import api_file, auth_file, read_api, read_auth

_USER = "pra"
_URL, _AUTH = "PREFECT_API_URL", "PREFECT_API_AUTH_STRING"


def make_auth(settings: Settings) -> str:
    """The ``user:password`` that the server asks for: as set, else as made at the first start.

    Raises:
        SettingsError: The file that keeps it cannot be used.
    """
    if settings.prefect.auth is not None:
        return settings.prefect.auth.get_secret_value()
    if (kept := read_auth(settings.state_dir)) is not None:
        return kept
    file = auth_file(settings.state_dir)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = f"{_USER}:{secrets.token_urlsafe(24)}"
    fresh = _write_beside(file, made + "\n")
    try:
        # Server and workers may start in the same moment: whoever is second takes what the first one made.
        with contextlib.suppress(FileExistsError):
            os.link(fresh, file)
    finally:
        fresh.unlink()
    return read_auth(settings.state_dir) or made


@dataclass(frozen=True)
class Access:
    """This state's own server, for those who have to ask it."""

    url: str
    auth: str | None = field(repr=False)


def own_access(settings: Settings) -> Access | None:
    """None before the first start. Raises as `make_auth`."""
    url = read_api(settings.state_dir)
    chosen = settings.prefect.auth
    auth = chosen.get_secret_value() if chosen else read_auth(settings.state_dir)
    return Access(url, auth) if url else None


def record_api(settings: Settings) -> None:
    """Leave word of where this state's server is, for those who ask it later."""
    file = api_file(settings.state_dir)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_beside(file, settings.prefect.api_url + "\n").replace(file)


def find_api(
    state_dir: Path, auth: SecretStr | None = None, env: MutableMapping[str, str] | None = None
) -> None:
    """Tell Prefect's client in this process of this state's server, unless it was told of another.

    To be called before Prefect is loaded.

    Args:
        auth: The password that the settings name.
        env: What is changed; by default this process's environment.

    Raises:
        SettingsError: The file that keeps the password cannot be used.
    """
    env = os.environ if env is None else env
    own = read_api(state_dir)
    if own is not None and not env.get(_URL):
        env[_URL] = own
    if env.get(_AUTH):
        return
    found = auth.get_secret_value() if auth else None
    if found is None and own is not None and env.get(_URL) == own:  # made here, for that one and no other
        found = read_auth(state_dir)
    if found is not None:
        env[_AUTH] = found


def _write_beside(file: Path, text: str) -> Path:
    fresh = file.with_name(f".{file.name}-{os.getpid()}-{secrets.token_hex(4)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    return fresh
