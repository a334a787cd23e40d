"""``pra ack``"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from deployments.cli.output import Output
from deployments.cli.session import JsonOption, Session, start
from pra.errors import NotFoundError, UsageError
from pra.messages import Translate
from pra.timing import format_duration, utc_now
from pra.watch import telling
from pra.watch.incident_model import SCHEMA, Incident
from pra.watch.incident_store import IncidentStore

_SHOWN = 10
_STYLES = {"p1": "bold white on red", "p2": "black on yellow", "p3": "black on cyan"}


def command(
    context: typer.Context,
    incident: Annotated[
        str | None,
        typer.Argument(metavar="[INCIDENT]", help="Which one, or a part of its name; needed with several."),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show what is open, and what was lately.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Take everything that nobody has.")] = False,
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who takes it; by default this account.")
    ] = None,
    json: JsonOption = False,
) -> int:
    """Take an incident: nobody else is called for it, and everybody who was told hears who has it."""
    session = start(context, json=json)
    book = IncidentStore.of(session.settings).read()
    if not listed:
        chosen = _chosen(book.open(), incident, every=every)
        _take(session, chosen, by or f"{getpass.getuser()}@{socket.gethostname()}")
        book = IncidentStore.of(session.settings).read()
    over = sorted((i for i in book.incidents if not i.is_open), key=lambda i: i.opened, reverse=True)
    shown = [*book.open(), *(over[:_SHOWN] if listed else [])]
    if not session.out.result(SCHEMA, {"items": [each.as_json() for each in shown]}):
        _show(session.out, shown)
    return 0


def _chosen(found: Sequence[Incident], name: str | None, *, every: bool) -> list[Incident]:
    waiting = [incident for incident in found if incident.taken_at is None]
    names = ", ".join(incident.id for incident in found[:_SHOWN])
    if name is not None:
        if every:
            raise UsageError(
                "--all and an incident were given", op="take incident", hint="Give one of the two."
            )
        exact = [i for i in found if name in (i.id, i.key)]
        matching = exact or [i for i in found if name in i.id or name in i.key]
        if len(matching) == 1:
            return matching
        fact = "several open incidents match" if matching else "no open incident matches"
        hint = f"Open: {names}." if names else "Nothing is open."
        raise NotFoundError(f"{fact} {name!r}", op="take incident", hint=hint)
    if every or len(waiting) <= 1:
        return waiting
    raise UsageError(
        "several incidents are open", op="take incident", hint=f"Name one, or say --all: {names}."
    )


def _take(session: Session, chosen: Sequence[Incident], who: str) -> None:
    ids = [incident.id for incident in chosen]
    for problem in telling.after_ack(session.settings, ids, who, clock=utc_now):
        session.out.note(f"warning: {problem}")


def _show(out: Output, incidents: Sequence[Incident]) -> None:
    _ = out.translate
    if not incidents:
        out.text(_("No incident is open."))
        return
    table = Table(show_edge=False, pad_edge=False, box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("", _("Incident"), _("Since"), _("State")):
        table.add_column(name, no_wrap=name != _("State"))
    table.add_column(_("What is broken"), overflow="fold", ratio=1)
    for incident in incidents:
        table.add_row(
            f"[{_STYLES[incident.priority]}] {incident.priority.upper()} [/]",
            escape(incident.id),
            f"{incident.since:%Y-%m-%d %H:%M}",
            escape(_state(incident, _)),
            escape(incident.fact.message),
        )
    out.show(table)


def _state(incident: Incident, _: Translate) -> str:
    if incident.seconds is not None:
        return _("over after {duration}").format(duration=format_duration(incident.seconds))
    if incident.taken_at is not None:
        return _("taken by {name}").format(name=incident.taken_by)
    return _("nobody has it")
