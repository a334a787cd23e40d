"""``pra deploy``"""

from __future__ import annotations

import typer

from deployments.cli.session import JsonOption, start


def command(context: typer.Context, json: JsonOption = False) -> int:
    """Register the flows and schedules of every target with Prefect."""
    session = start(context, json=json)
    # Loaded here: no other command may load Prefect.
    from deployments import register

    changes = register.deploy(session.settings, config=session.config)
    items = [{"deployment": each.name, "action": each.action, "what": list(each.what)} for each in changes]
    if not session.out.result("pra/deploy/1", {"items": items}):
        for each in changes:
            more = f" ({', '.join(each.what)})" if each.what else ""
            session.out.text(f"{each.action:9} {each.name}{more}")
    return 0
