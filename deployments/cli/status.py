"""``pra status`` and ``pra monitor``"""

from __future__ import annotations

import time
from typing import Annotated

import typer

from deployments.cli.output import Output
from deployments.cli.session import JsonOption, Session, TargetArgument, start
from deployments.cli.status_words import show
from pra.errors import UsageError
from pra.proc import Scope
from pra.settings import Settings, Target
from pra.timing import parse_duration
from pra.watch import monitor_log
from pra.watch.status import passing
from pra.watch.status.finding import SCHEMA, StatusPass

AllOption = Annotated[bool, typer.Option("--all", help="Every target of pra.toml.")]


def status(
    context: typer.Context,
    target: TargetArgument = None,
    every_target: AllOption = False,
    json: JsonOption = False,
) -> int:
    """Look at everything once: exit 0 when all is well, 1 when something is critical, 2 for a warning."""
    session = start(context, json=json)
    done = _look(session.settings, chosen(session, target, every_target=every_target), session.out)
    if not session.out.result(SCHEMA, done.as_json()):
        show(session.out, done)
    return done.exit_code


def monitor(
    context: typer.Context,
    target: TargetArgument = None,
    every: Annotated[
        str, typer.Option("--every", metavar="DURATION", help="From one look to the next.")
    ] = "5min",
    once: Annotated[bool, typer.Option("--once", help="Look once, and leave with that exit code.")] = False,
) -> int:
    """Look at every target, again and again, until stopped; writes logs/akig_monitoring.log."""
    session = start(context, json=False)
    targets = chosen(session, target, every_target=target is None)
    seconds = parse_duration(every).total_seconds()
    before = passing.latest(session.settings)
    due = time.monotonic()
    while True:
        done = _look(session.settings, targets, session.out)
        for line in monitor_log.lines(done, before):
            session.out.text(_plain(line))
        if once:
            return done.exit_code
        before = done
        due = max(due + seconds, time.monotonic())  # a look that took long makes no burst of them
        time.sleep(max(0.0, due - time.monotonic()))


def _look(settings: Settings, targets: list[Target], out: Output) -> StatusPass:
    with Scope() as scope:
        done = passing.run(settings, targets, scope)
    for line in passing.conclude(settings, done):
        out.note(f"warning: {line}")
    return done


def chosen(session: Session, target: str | None, *, every_target: bool) -> list[Target]:
    """The target that was named, the only one, or all.

    Raises:
        UsageError: Both were asked for, or it is not clear which.
    """
    if not every_target:
        return [session.settings.target(target)]
    if target is not None:
        raise UsageError("--all and a target were given", op="choose target", hint="Give one of the two.")
    if not session.settings.targets:
        return [session.settings.target(None)]
    return list(session.settings.targets.values())


def _plain(line: str) -> str:
    from rich.markup import escape

    return escape(line)
