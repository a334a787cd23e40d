"""``pra deploy``"""

from __future__ import annotations

import typer

from deployments.cli.session import JsonOption, start


def command(context: typer.Context, json: JsonOption = False) -> int:
    """Register the flows and schedules of every target with Prefect."""
    session = start(context, json=json)
    # Loaded here: no other command may load Prefect.
    from deployments import register

    names = register.deploy(session.settings, config=session.config)
    if not session.out.result("pra/deploy/1", {"items": [{"deployment": name} for name in names]}):
        for name in names:
            session.out.text(name)
    return 0
