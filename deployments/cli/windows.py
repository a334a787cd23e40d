"""``pra windows``"""

from __future__ import annotations

import typer

from deployments.cli.session import JsonOption, TargetArgument


def command(context: typer.Context, target: TargetArgument = None, json: JsonOption = False) -> int:
    """Say which moments can be recovered, per repository: from, about until, gaps, timeline."""
    raise NotImplementedError
