"""What an operator decided while setting up: everything but the secrets. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pra.errors import UsageError
from pra.model import NAME, Engine


@dataclass(frozen=True)
class RepositoryAnswer:
    """One repository. Its secret access key is kept apart."""

    name: str
    url: str
    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    object_lock: bool = False


@dataclass(frozen=True)
class Answers:
    """All of it. Durations as people write them: ``1h``.

    Attributes:
        password_from: ``env`` where the password goes into ``.env``; ``libpq`` where libpq finds it itself
            (``PGPASSFILE``, ``~/.pgpass``, peer, a certificate).
        suites: As in ``pra.toml``: relative to it.
        state_dir: Written out where it is not the default, so that services see the same one.
    """

    language: str
    target: str
    dsn: str
    engine: Engine
    repositories: tuple[RepositoryAnswer, ...]
    rpo: str = "1h"
    rto: str = "30min"
    password_from: str = "libpq"
    critical_tables: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    slack_channel: str | None = None
    recipients: tuple[str, ...] = ()
    state_dir: str | None = None
    bindir: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def answers_from(document: Mapping[str, Any]) -> Answers:
    """What `Answers.as_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    fields = dict(document)
    fields["repositories"] = tuple(RepositoryAnswer(**each) for each in fields["repositories"])
    for name in ("critical_tables", "suites", "recipients"):
        fields[name] = tuple(str(each) for each in fields[name])
    return Answers(**fields)


def name_from(text: str) -> str:
    """A usable target name out of a database's: ``My_DB`` becomes ``my-db``; never empty."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
    return plain or "database"


def check_name(what: str, name: str) -> str:
    """Raises UsageError for a name that no key could hold."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{what} is not a usable name: {name[:60]!r}",
            op="read name",
            hint="Names are 1 to 40 of a-z, 0-9 and hyphen.",
        )
    return name


def named_values(option: str, given: list[str]) -> dict[str, str]:
    """``NAME=VALUE`` options by name, in their order.

    Raises:
        UsageError: One has another form, or a name comes twice.
    """
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise UsageError(
                f"{option} has another form than NAME=VALUE: {text[:60]!r}",
                op="read options",
                hint=f"Write it as {option} local=…",
            )
        check_name(option, name)
        if name in found:
            raise UsageError(f"{option} names {name} twice", op="read options", hint="Each once.")
        found[name] = value
    return found
