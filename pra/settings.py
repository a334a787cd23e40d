"""What the operator decided: ``pra.toml``, overridden by ``PRA_…`` variables, secrets from there alone.

The one place that reads the environment. Everything returned is frozen; every mistake is a ``SettingsError``
that names the key by its full path and what to do.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from pra.errors import NotFoundError, UsageError
from pra.model import NAME
from pra.settings_alerts import Alerts
from pra.settings_failover import Failover
from pra.settings_fields import Frozen
from pra.settings_model import (
    Api,
    Encryption,
    Freshness,
    PostgresSettings,
    Repository,
    Retention,
    SandboxSettings,
    Signing,
    Target,
)
from pra.settings_runbook import Runbook
from pra.settings_running import Prefect, fill_status
from pra.settings_source import (
    dotted,
    explain,
    fail,
    nearest,
    overlay,
    read_dotenv,
    read_toml,
    refuse_secrets,
)
from pra.settings_status import Status
from pra.timing import format_duration

__all__ = [
    "Alerts",
    "Api",
    "Encryption",
    "Failover",
    "Freshness",
    "PostgresSettings",
    "Prefect",
    "Repository",
    "Retention",
    "Runbook",
    "SandboxSettings",
    "Settings",
    "Signing",
    "Status",
    "Target",
    "approver_key_file",
    "from_environment",
    "load_settings",
    "rpo_warning",
    "settings_file",
    "state_folder",
]


_ADD = "Add [targets.NAME] to pra.toml."


class Settings(Frozen):
    language: Literal["en", "fr"] = "en"
    targets: dict[str, Target] = Field(default_factory=dict)
    repositories: dict[str, Repository] = Field(default_factory=dict)
    retention: Retention = Field(default_factory=Retention)
    encryption: Encryption = Field(default_factory=Encryption)
    signing: Signing = Field(default_factory=Signing)
    postgres: PostgresSettings = Field(default_factory=PostgresSettings)
    sandbox: SandboxSettings = Field(default_factory=SandboxSettings)
    alerts: Alerts = Field(default_factory=Alerts)
    status: Status = Field(default_factory=Status)
    runbook: Runbook = Field(default_factory=Runbook)
    prefect: Prefect = Field(default_factory=Prefect)
    state_dir: Path

    def target(self, name: str | None = None) -> Target:
        """The target of that name; without a name, the only one.

        Raises:
            NotFoundError: There is none of that name.
            UsageError: No name was given, and there is not exactly one.
        """
        if name is not None and name in self.targets:
            return self.targets[name]
        if name is not None:
            hint = nearest((name,), list(self.targets)) if self.targets else _ADD
            raise NotFoundError(f"no such target: {name!r}", op="choose target", hint=hint)
        if not self.targets:
            raise UsageError("no target is configured", op="choose target", hint=_ADD)
        if len(self.targets) > 1:
            names = ", ".join(sorted(self.targets))
            raise UsageError(
                "several targets are configured", op="choose target", hint=f"Name one of: {names}."
            )
        return next(iter(self.targets.values()))

    @property
    def status_repository(self) -> Repository | None:
        """Where samples go; None where no target is configured."""
        first = next((target.repositories[0] for target in self.targets.values()), None)
        name = self.status.repository or first
        return None if name is None else self.repositories[name]

    def repositories_of(self, target: Target) -> list[Repository]:
        """The target's repositories, in the order in which it lists them."""
        return [self.repositories[name] for name in target.repositories]


def load_settings(
    path: Path | None = None, env: Mapping[str, str] | None = None, *, strangers: bool = False
) -> Settings:
    """Read everything the operator set, and make the state directory (0700).

    Args:
        path: The file; default ``PRA_CONFIG``, else ``pra.toml`` in the working directory where there is one.
        env: The variables; default the process's own.
        strangers: Variables about targets and repositories that are not configured (yet) are passed over.

    Raises:
        SettingsError: Anything unknown, malformed, unsafe or missing.
    """
    env = os.environ if env is None else env
    file = settings_file(path, env)
    said = path is not None or bool(env.get("PRA_CONFIG"))
    raw = read_toml(file) if said or file.exists() else {}
    refuse_secrets(raw, Settings)
    for section in ("targets", "repositories"):
        if not isinstance(raw.setdefault(section, {}), dict):
            fail(f"{section} is not a table", f"Write [{section}.NAME] and its keys below.")
    configured = {section: set(raw[section]) for section in ("targets", "repositories")}
    overlay(raw, {**read_dotenv(file.parent / ".env"), **env}, Settings)
    _name_entries(raw, configured, strangers=strangers)
    _resolve_paths(raw, file.parent, env)
    _find_prefect(raw, env)
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        explain(error, Settings)
    _check_references(settings)
    _make_private(settings.state_dir)
    return settings


def settings_file(path: Path | None = None, env: Mapping[str, str] | None = None) -> Path:
    """The file that ``load_settings`` reads, absolute; it may not exist."""
    env = os.environ if env is None else env
    return (path or Path(env.get("PRA_CONFIG") or "pra.toml")).absolute()


def rpo_warning(target: Target, interval: timedelta, publish: timedelta = timedelta()) -> str | None:
    """Say when dumps at this interval cannot keep the target's RPO.

    What is lost in the worst case is one interval plus the time to publish: a disaster just before the
    next backup has landed. An hourly dump therefore never keeps an RPO of one hour.
    """
    if target.engine != "logical" or interval + publish < target.rpo:
        return None
    worst = format_duration((interval + publish).total_seconds())
    goal = format_duration(target.rpo.total_seconds())
    return (
        f"a dump every {format_duration(interval.total_seconds())} can lose {worst} and the time to publish, "
        f"more than the RPO of {goal}: use a shorter interval, or physical backups with WAL"
    )


def _name_entries(raw: dict[str, Any], configured: Mapping[str, set[str]], *, strangers: bool) -> None:
    for section, required in (("targets", "dsn"), ("repositories", "url")):
        for name, entry in list(raw[section].items()):
            path = (section, name)
            if not NAME.fullmatch(name):
                fail(f"{dotted(path)} is not a usable name", "Names are 1 to 40 of a-z, 0-9 and hyphen.")
            if not isinstance(entry, dict):
                fail(f"{dotted(path)} is not a table", f"Write [{dotted(path)}] and its keys below.")
            if "name" in entry:
                fail(
                    f"unknown key {dotted((*path, 'name'))}",
                    f"The name stands in the header: [{dotted(path)}].",
                )
            if name not in configured[section] and required not in entry and strangers:
                del raw[section][name]
            elif name not in configured[section] and required not in entry:
                known = sorted(configured[section])
                fail(
                    f"a PRA_{section.upper()}__ variable names {name!r}, which is not configured",
                    nearest(path, known),
                )
            entry["name"] = name


def _resolve_paths(raw: dict[str, Any], base: Path, env: Mapping[str, str]) -> None:
    """Relative paths count from pra.toml, so that cron and a person in another directory see the same."""
    state = _below(base, raw.get("state_dir") or _default_state(env))
    raw["state_dir"] = state
    for section, key, name in (
        ("encryption", "identity_file", "identity.txt"),
        ("signing", "key_file", "signing.key"),
    ):
        table = raw.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = _below(base, table.get(key) or state / "keys" / name)
    sandbox = raw.get("sandbox")
    if isinstance(sandbox, dict) and isinstance(sandbox.get("dir"), str):
        sandbox["dir"] = _below(base, sandbox["dir"])
    for target in raw["targets"].values():
        if isinstance(target.get("suites"), list):
            # A bare word is a suite that comes with the software; anything like a path is the operator's own.
            target["suites"] = [
                _below(base, suite) if isinstance(suite, str) and ("/" in suite or "." in suite) else suite
                for suite in target["suites"]
            ]
        failover = target.get("failover")
        if isinstance(failover, dict):
            for key in ("directory", "service_file"):
                if isinstance(failover.get(key), str):
                    failover[key] = _below(base, failover[key])


def _find_prefect(raw: dict[str, Any], env: Mapping[str, str]) -> None:
    """Where Prefect itself is told of its API, the status knows of it too."""
    table = raw.setdefault("status", {})
    if isinstance(table, dict):
        for key, variable in (
            ("prefect_api", "PREFECT_API_URL"),
            ("prefect_auth", "PREFECT_API_AUTH_STRING"),
        ):
            if key not in table and env.get(variable):
                table[key] = env[variable]
        fill_status(table, raw.get("prefect"), raw["state_dir"])


def _default_state(env: Mapping[str, str]) -> Path:
    home = Path(env.get("HOME") or Path.home())
    return Path(env.get("XDG_STATE_HOME") or home / ".local" / "state") / "pra"


def approver_key_file(env: Mapping[str, str] | None = None) -> Path:
    """Where an approver's own key lies by default. Needs no ``pra.toml``: approvers often have none."""
    env = os.environ if env is None else env
    return state_folder(env) / "approver.key"


def state_folder(env: Mapping[str, str] | None = None) -> Path:
    """Where the state lies as long as no ``pra.toml`` says otherwise, absolute; it may not exist."""
    env = os.environ if env is None else env
    return Path(env.get("PRA_STATE_DIR") or _default_state(env)).expanduser().absolute()


def from_environment(*names: str, env: Mapping[str, str] | None = None) -> str | None:
    """The first of these variables that is set, and not empty."""
    env = os.environ if env is None else env
    return next((env[name] for name in names if env.get(name)), None)


def _below(base: Path, value: Any) -> Any:
    return base / Path(value).expanduser() if isinstance(value, str | Path) else value


def _check_references(settings: Settings) -> None:
    place = settings.status.repository
    if place is not None and place not in settings.repositories:
        known = sorted(settings.repositories)
        fail(
            f"status.repository names an unknown repository: {place!r}", nearest(("repository", place), known)
        )
    for target in settings.targets.values():
        for index, name in enumerate(target.repositories):
            where = f"targets.{target.name}.repositories"
            if name not in settings.repositories:
                close = difflib.get_close_matches(name, list(settings.repositories), n=1, cutoff=0.4)
                hint = f"Did you mean {close[0]}?" if close else f"Add [repositories.{name}] to pra.toml."
                fail(f"{where} names an unknown repository: {name!r}", hint)
            if name in target.repositories[:index]:
                fail(
                    f"{where} names {name!r} twice",
                    "Each repository once: the same place twice protects nothing.",
                )


def _make_private(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = directory.stat().st_mode & 0o777
    except OSError as error:
        fail(
            f"cannot make the state directory {directory}: {error.strerror}",
            "Set PRA_STATE_DIR to one you own.",
        )
    if mode & 0o077:
        # Not mended by ourselves: the setting may name a directory that others rely on, such as /tmp.
        fail(f"state directory {directory} has mode {mode:04o}", f"Run: chmod 700 {directory}")
