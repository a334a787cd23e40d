"""What every command starts from: the settings, the language, and where its words go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from deployments.cli import completion
from deployments.cli.output import Output
from pra.messages import translator
from pra.settings import Settings, load_settings, settings_file

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, logs on stderr.")]
FlowOption = Annotated[
    bool, typer.Option("--flow", help="Through Prefect: start the deployment's run and follow it.")
]
TargetArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[TARGET]",
        help="Which database; not needed when there is one.",
        autocompletion=completion.targets,
    ),
]


@dataclass(frozen=True)
class Globals:
    """Options that stand before the command."""

    config: Path | None = None


@dataclass(frozen=True)
class Session:
    """``config`` is the settings' file, absolute; None when there is none."""

    settings: Settings
    out: Output
    config: Path | None


def start(context: typer.Context, *, json: bool) -> Session:
    """Read the settings.

    Raises:
        SettingsError: They cannot be used.
    """
    options = context.find_object(Globals) or Globals()
    settings = load_settings(options.config)
    file = settings_file(options.config)
    return Session(settings, Output(json, translator(settings.language)), file if file.exists() else None)
