"""What the sections of ``pra.toml`` are made of: durations, sizes, and addresses that are safe to use."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from pra.errors import UsageError
from pra.timing import parse_duration

_TLS = frozenset({"require", "verify-ca", "verify-full"})


def wrong(message: str, hint: str) -> PydanticCustomError:
    # The texts go through the context: a brace in a message must not be read as a placeholder.
    return PydanticCustomError("setting", "{message}", {"message": message, "hint": hint})


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    try:
        return parse_duration(value if isinstance(value, str) else str(value))
    except UsageError as error:
        raise wrong(error.message, error.hint) from None


Duration = Annotated[timedelta, BeforeValidator(_duration)]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B?")


def _size(value: object) -> object:
    """``512MiB``, ``32MB``, ``1GB`` or a number of bytes."""
    if isinstance(value, int):
        return value
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise wrong(f"not a size: {str(value)[:40]!r}", "Write a number and a unit, such as 512MiB or 32MB.")
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
    exposed = hidden or not all(is_local(address) for address in addresses)
    if exposed and parts.get("sslmode") not in _TLS and not allow_plaintext:
        hint = "Add ?sslmode=verify-full (at least require), or set the target's allow_plaintext = true."
        return "leaves this machine without TLS", hint
    return None


def is_local(address: str) -> bool:
    """A socket directory, no host at all (libpq's default socket) or a loopback address."""
    if address in ("", "localhost") or address.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def refuse_plain_http(key: str, text: str, *, allowed: bool) -> None:
    url = urlsplit(text)
    if url.username or url.password:
        raise wrong(f"{key} holds credentials", "Take them out of the address.")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise wrong(f"{key} is not an http(s) address", "Write https://host[:port].")
    if url.scheme == "http" and not allowed and not is_local(url.hostname):
        raise wrong(f"{key} leaves this machine without TLS", "Use https, or set allow_plaintext = true.")
