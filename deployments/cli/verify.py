"""``pra verify``"""

from __future__ import annotations

from typing import Annotated

import typer

from checks import Checks
from deployments.cli import completion
from deployments.cli.alerting import alerting, tell_proof
from deployments.cli.moments import local_zone, read_target
from deployments.cli.proof import proof_json, show_proof
from deployments.cli.session import FlowOption, JsonOption, TargetArgument, start
from deployments.cli.through_flow import follow_flow
from pra.engines.recovery_target import LATEST
from pra.proc import Scope
from pra.procedures import verify
from pra.procedures.context import Context


def command(
    context: typer.Context,
    target: TargetArgument = None,
    backup: Annotated[
        str, typer.Option("--backup", metavar="newest|stalest|ID", help="Which backup to prove.")
    ] = "newest",
    repository: Annotated[
        str | None,
        typer.Option(
            "--repository",
            metavar="NAME",
            help="Read from here; else the one least recently proven.",
            autocompletion=completion.repositories,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="TARGET",
            help="Physical: recover up to a time, an LSN, xid:N, name:POINT or latest (the default), "
            "once everything was compared.",
        ),
    ] = None,
    flow: FlowOption = False,
    json: JsonOption = False,
) -> int:
    """Restore a backup into a throwaway server, run every check, time it, and sign the proof."""
    session = start(context, json=json)
    chosen = session.settings.target(target)
    target_at = LATEST if to is None else read_target(to)
    if flow:
        given = {"backup": backup} | ({"repository": repository} if repository else {})
        given |= {"to": target_at.argument()} if to else {}
        return follow_flow(session, f"restore-verify/{chosen.name}", given)
    with alerting(session, "verify", chosen.name), Scope() as scope, session.out.follow() as report:
        work = Context(session.settings, chosen, scope, report=report)
        if to is not None:
            session.out.note(f"recovering to {target_at.text(local_zone())}")
        done = verify.run(work, Checks(), which=backup, repository=repository, target=target_at)
    tell_proof(session, "verify", done)
    if not session.out.result("pra/verify/1", proof_json(done)):
        show_proof(session.out, done)
    return done.verdict.exit_code
