"""``--flow``: the deployment's own run instead of this process. The only way from a command to Prefect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from deployments.cli.output import coloured
from deployments.cli.session import Session
from deployments.running.access import find_api
from pra.timing import format_duration


def follow_flow(session: Session, deployment: str, parameters: Mapping[str, Any]) -> int:
    """Start the run, follow it, show how it ended, return the exit code of its verdict.

    Raises:
        UnavailableError: No API, no such deployment, or no worker.
    """
    # Loaded here: without --flow no command may load Prefect.
    find_api(session.settings.state_dir, session.settings.prefect.auth)
    from deployments import flow_runs

    out = session.out
    report = flow_runs.run(deployment, parameters, say=out.note)
    document = {
        "flow_run_id": str(report.flow_run_id),
        "flow_run_name": report.name,
        "deployment": report.deployment,
        "state": report.state,
        "message": report.message or None,
        "verdict": report.verdict,
        "seconds": round(report.seconds, 3),
        "url": report.url,
    }
    if not out.result("pra/flow-run/1", document):
        ended = coloured(report.verdict) if report.verdict else f"[red]{escape(report.state)}[/]"
        out.text(f"{escape(report.name)}: {ended} ({format_duration(report.seconds)})")
        if report.message:
            out.text(escape(report.message))
        out.text(escape(report.url))
    return report.exit_code
