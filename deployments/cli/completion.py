"""What the shell offers after Tab: names from ``pra.toml`` and the drill's scenarios.

Read without checking anything: a mistake elsewhere in the file must not take completion away, and whatever
fails offers nothing.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import typer

from pra.settings import settings_file


def targets(context: typer.Context, incomplete: str) -> list[str]:
    return _names(context, "targets", incomplete)


def repositories(context: typer.Context, incomplete: str) -> list[str]:
    return _names(context, "repositories", incomplete)


def scenarios(incomplete: str) -> list[tuple[str, str]]:
    """With each one's title, where the shell shows it."""
    from pra.drill.scenarios import SCENARIOS

    return [(one.name, one.title) for one in SCENARIOS if one.name.startswith(incomplete)]


def _names(context: typer.Context, section: str, incomplete: str) -> list[str]:
    found = _settings(context).get(section)
    return sorted(name for name in found if name.startswith(incomplete)) if isinstance(found, dict) else []


def _settings(context: typer.Context) -> dict[str, Any]:
    """The file that ``--config`` before the command names, else the one that every command reads."""
    given = context.find_root().params.get("config")
    try:
        with settings_file(Path(given) if given else None).open("rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return {}
