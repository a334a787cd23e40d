"""``pra deploy``"""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer
from rich.markup import escape

from deployments.cli.session import JsonOption, start
from deployments.running.access import find_api

TakeOver = Annotated[
    bool,
    typer.Option(
        "--take-over",
        help="Deployments of these targets that were registered from another pra.toml become this one's.",
    ),
]


def command(context: typer.Context, take_over: TakeOver = False, json: JsonOption = False) -> int:
    """Bring Prefect to what pra.toml says: flows, schedules, work pools, automations, the page to start from.

    One deployment a flow and target, its schedule at a minute of its own. Only what differs is written;
    deployments of targets that left go. What was paused, tuned or added in the interface stays.
    """
    session = start(context, json=json)
    find_api(session.settings.state_dir, session.settings.prefect.auth)
    # Loaded here: no other command may load Prefect.
    from deployments import register

    changes = register.deploy(session.settings, config=session.config, take_over=take_over)
    items = [{"deployment": each.name, "action": each.action, "what": list(each.what)} for each in changes]
    if session.out.result("pra/deploy/1", {"items": items}):
        return 0
    for each in changes:
        if each.action != "unchanged":
            more = f" ({', '.join(each.what)})" if each.what else ""
            session.out.text(f"{each.action:9} {escape(each.name + more)}")
    counts = Counter(each.action for each in changes)
    session.out.text(", ".join(f"{count} {action}" for action, count in counts.items()))
    return 0
