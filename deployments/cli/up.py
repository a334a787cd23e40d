"""``pra up`` and ``pra down``: everything on one machine, by one command."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.markup import escape

from deployments.cli import signals
from deployments.cli.moments import both
from deployments.cli.output import Output
from deployments.cli.session import JsonOption, Session, start
from deployments.running import ending, upkeep
from deployments.running.access import own_access
from deployments.running.alone import become
from deployments.running.manager import RUNNING, Manager
from deployments.running.parts import parts_of
from deployments.running.place import UP, Place, holder
from deployments.running.upkeep import Event, Plan
from pra.errors import UnavailableError, UsageError
from pra.messages import mark
from pra.settings_running import auth_file, read_api
from pra.timing import from_iso, parse_duration, to_iso

PartArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[PART]",
        help="Only this one, in place of this process: prefect, worker-backup, worker-verify or "
        "worker-emergency. For systemd and containers, which keep it running themselves.",
    ),
]
PortOption = Annotated[
    int | None, typer.Option("--port", min=1, max=65535, help="Instead of prefect.port in pra.toml, 4200.")
]
EmergencyOption = Annotated[
    bool,
    typer.Option("--emergency", help="Also a worker for failovers and real restores; it is normally off."),
]
StatusOption = Annotated[
    bool,
    typer.Option("--status", help="Only say what runs. Exit: 0 all of it, 2 not all, 1 nothing."),
]
WaitOption = Annotated[
    str | None,
    typer.Option(
        "--wait",
        metavar="DURATION",
        help="For runs under way, at most so long (30min); else cancel them.",
    ),
]

_WORDS = {
    "left": mark("An earlier pra up was killed; what it had left is ended."),
    "starting": mark("Starting. This takes some ten seconds."),
    "ended": mark("{part} ended ({why}) and is started again."),
    "down": mark("{part} does not stay up. It is tried again every minute; why: {log}"),
    "back": mark("{part} is up again."),
    "not-deployed": mark("The deployments are not registered; it is tried again every minute: {why}"),
    "stopped": mark("Everything has stopped."),
}


def up(
    context: typer.Context,
    part: PartArgument = None,
    port: PortOption = None,
    emergency: EmergencyOption = False,
    status: StatusOption = False,
    json: JsonOption = False,
) -> int:
    """Run everything on this machine, in the foreground, until Ctrl-C or pra down.

    That is the Prefect server, its workers, a WAL streamer for each physical target, and the deployments
    registered. What dies is started again. At the end workers stop first, then streamers, then the server: a
    run that is under way is cancelled, tidies up, and publishes nothing that is not whole. Everything lies in
    the state directory, below up and prefect.
    """
    session = start(context, json=json)
    if part is not None:
        if port is not None or emergency or status:
            raise UsageError(
                "a part takes none of these options", op="run part", hint="Set prefect.port in pra.toml."
            )
        become(session.settings, session.config, part)
    if status:
        return _status(session)
    plan = upkeep.make_plan(session.settings, session.config, port=port, emergency=emergency)
    try:
        upkeep.run(plan, _Telling(session.out, plan))
    except signals.Stopped:
        # Being told to stop is how this ends.
        return 0
    return 0


def down(context: typer.Context, wait: WaitOption = None, json: JsonOption = False) -> int:
    """Stop what pra up runs, from another terminal or after it was killed, and wait until it has stopped."""
    session = start(context, json=json)
    out, _ = session.out, session.out.translate
    seconds = parse_duration(wait).total_seconds() if wait else 0

    def waiting(runs: int) -> None:
        out.note(_("Runs that are waited for: {count}").format(count=runs))

    place, access = Place(session.settings.state_dir), own_access(session.settings)
    ended = ending.down(place, access=access, wait=seconds, waiting=waiting)
    document = {"ran": ended.ran, "left": list(ended.parts), "waited_for": ended.waited_for}
    if not out.result("pra/down/1", document):
        out.text(_("Everything has stopped.") if ended.ran else _("Nothing was running."))
    return 0


class _Telling:
    """Each event as a line with its time; once everything runs, what there is to know about it."""

    def __init__(self, out: Output, plan: Plan) -> None:
        self._out, self._plan = out, plan

    def __call__(self, event: Event) -> None:
        _ = self._out.translate
        if event.what == "ready":
            self._ready()
            return
        if event.what == "stopping":
            words = _("Stopping {part}.") if event.part else _("Stopping everything.")
        else:
            words = _(_WORDS[event.what])
        log = self._plan.place.log(event.part or "supervisord")
        why = event.why or _("no reason is known")
        self._say(words.format(part=event.part, why=why, log=log))

    def _ready(self) -> None:
        plan, _ = self._plan, self._out.translate
        prefect = plan.settings.prefect
        named = prefect.auth is not None
        login = "PRA_PREFECT__AUTH" if named else str(auth_file(plan.settings.state_dir))
        document = {
            "ui": prefect.public_url,
            "api": prefect.api_url,
            "auth_file": None if named else login,
            "logs": str(plan.place.logs),
            "parts": [part.name for part in plan.parts],
        }
        self._out.result("pra/up/1", document)
        lines = (
            (_("Pages"), prefect.public_url),
            (_("Password"), _("the whole line in {file}, once for each browser").format(file=login)),
            (_("Running"), ", ".join(part.name for part in plan.parts)),
            (_("Logs"), str(plan.place.logs)),
            (_("Stop"), _("Ctrl-C, or elsewhere: pra down")),
        )
        width = max(len(name) for name, _text in lines)
        for name, text in lines:
            self._out.text(f"{name:{width}}  {escape(text)}")

    def _say(self, line: str) -> None:
        self._out.text(escape(f"{time.strftime('%H:%M:%S')} {line}"))


def _status(session: Session) -> int:
    place, out = Place(session.settings.state_dir), session.out
    running = holder(place)
    try:
        states = Manager(place).states()
    except UnavailableError:
        states = {}
    wanted = {part.name for part in parts_of(session.settings)} | set(states)
    all_up = wanted == {name for name, state in states.items() if state.state == RUNNING}
    items: list[dict[str, Any]] = [
        {
            "part": name,
            "state": states[name].state.lower() if name in states else "absent",
            "pid": (states[name].pid or None) if name in states else None,
            "since": _moment(states[name].since) if name in states else None,
        }
        for name in sorted(wanted)
    ]
    watched = running is not None and running.role == UP
    api = read_api(place.state_dir) or session.settings.prefect.api_url
    document = {"running": bool(states), "watched": watched, "api": api}
    if not out.result("pra/up-status/1", {**document, "items": items if states else []}):
        _show(out, items if states else [], watched=watched)
    return 1 if not states else 0 if all_up else 2


def _moment(seconds: int) -> str | None:
    return to_iso(datetime.fromtimestamp(seconds, UTC)) if seconds else None


def _shown(since: str | None) -> str:
    return both(from_iso(since)) if since else "–"


def _show(out: Output, items: list[dict[str, Any]], *, watched: bool) -> None:
    _ = out.translate
    if not items:
        out.text(_("Nothing is running."))
        return
    columns = [_("Part"), _("State"), _("Process"), _("Since")]
    rows = [
        [*(escape(str(each[key] or "–")) for key in ("part", "state", "pid")), _shown(each["since"])]
        for each in items
    ]
    out.table(columns, rows)
    if not watched:
        out.text("[yellow]![/] " + _("pra up itself was killed: pra down ends this, and pra up begins anew."))
