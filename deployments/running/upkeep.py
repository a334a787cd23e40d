"""``pra up``: start everything, register the deployments once the API answers, watch until told to stop."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import httpx

from deployments.running import stopping
from deployments.running.access import make_auth, own_access, record_api
from deployments.running.apart import require_apart
from deployments.running.environment import client_environment, inherited
from deployments.running.manager import ALIVE, FATAL, RUNNING, Manager, State, start_manager
from deployments.running.parts import MANAGER, SERVER, WAL, Part, parts_of, supervisor_config
from deployments.running.place import OP, Place, held
from pra import proc
from pra.errors import BusyError, ToolError, UnavailableError
from pra.settings import Settings

_TICK_SECONDS = 1.0
_AGAIN_SECONDS = 60.0
_DEPLOY_SECONDS = 600.0
_ANSWER_SECONDS = 5.0

What = Literal["left", "starting", "ended", "down", "back", "not-deployed", "ready", "stopping", "stopped"]


@dataclass(frozen=True)
class Event:
    """Something worth a line.

    Attributes:
        part: Whom it concerns; empty: all.
        why: What is known of the reason, in English: it comes from programs.
    """

    what: What
    part: str = ""
    why: str = ""


Tell = Callable[[Event], None]


@dataclass(frozen=True)
class Plan:
    """What one `pra up` is about. ``environment`` is that of every part; ``config`` the settings' file."""

    settings: Settings
    config: Path | None
    place: Place
    parts: tuple[Part, ...]
    environment: Mapping[str, str]


def make_plan(
    settings: Settings, config: Path | None, *, port: int | None = None, emergency: bool = False
) -> Plan:
    """Raises SettingsError when Prefect's database would share the fate of what it protects."""
    if port is not None:
        settings = settings.model_copy(
            update={"prefect": settings.prefect.model_copy(update={"port": port, "url": None})}
        )
    require_apart(settings)
    place = Place(settings.state_dir)
    environment = inherited(os.environ) | {
        "PRA_STATE_DIR": str(settings.state_dir),
        "PRA_PREFECT__PORT": str(settings.prefect.port),
        "PREFECT_HOME": str(place.home),
        "PREFECT_API_URL": settings.prefect.api_url,
    }
    # What was meant for another server would be offered to this one.
    environment.pop("PREFECT_API_AUTH_STRING", None)
    if config is not None:
        environment["PRA_CONFIG"] = str(config)
    return Plan(settings, config, place, parts_of(settings, emergency=emergency), environment)


def run(plan: Plan, tell: Tell) -> None:
    """Run everything until an exception, such as a signal's, ends it; then stop it in order.

    Raises:
        BusyError: Another ``pra up`` runs at this place, or the port is taken.
        UsageError: The settings cannot be carried out.
        UnavailableError: The process manager does not start.
    """
    plan.place.make()
    with held(plan.place):
        if stopping.stop_all(plan.place, access=own_access(plan.settings)):
            tell(Event("left"))
        prefect = plan.settings.prefect
        _require_free(prefect.host, prefect.port)
        plan.place.config.write_text(supervisor_config(plan.place, plan.parts))
        make_auth(plan.settings)
        record_api(plan.settings)
        try:
            tell(Event("starting"))
            upkeep = Upkeep(plan, tell)
            while True:
                upkeep.tick()
                time.sleep(_TICK_SECONDS)
        finally:
            tell(Event("stopping"))
            access = own_access(plan.settings)
            stopping.stop_all(plan.place, lambda part: tell(Event("stopping", part)), access=access)
            tell(Event("stopped"))


class Upkeep:
    """Looks once a second. supervisord starts again what died; what it gave up, we try a minute later."""

    def __init__(self, plan: Plan, tell: Tell) -> None:
        self._plan, self._tell = plan, tell
        self._manager = Manager(plan.place)
        self._process = start_manager(plan.place, plan.environment)
        self._seen: dict[str, State] = {}
        self._tried: dict[str, float] = {}
        self._given_up: set[str] = set()
        self._deployed = self._workers = self._ready = False

    def tick(self) -> None:
        """One look, and what follows from it.

        Raises:
            UnavailableError: The manager died and could not be started again.
        """
        if self._process.poll() is not None:
            self._start_over()
        # Where the manager is busy, or has just died, the next look tells.
        with contextlib.suppress(UnavailableError):
            self._look()

    def _look(self) -> None:
        seen = self._manager.states()
        for event in compare(self._seen, seen, self._given_up):
            self._note(event)
        self._seen = seen
        for name in (name for name, state in seen.items() if state.state == FATAL):
            if self._due(name):
                self._manager.start(name)
        if not (self._deployed and self._workers) and self._answers():
            self._register()
        # A streamer whose server is down must not keep the rest from being told.
        needed = [state for state in seen.values() if not state.name.startswith(WAL)]
        if self._workers and not self._ready and all(each.state == RUNNING for each in needed):
            self._ready = True
            self._tell(Event("ready"))

    def _note(self, event: Event) -> None:
        if event.what == "down":
            self._given_up.add(event.part)
            self._due(event.part)  # its next try is a minute from now
        elif event.what == "back":
            self._given_up.discard(event.part)
        why = self._manager.why_it_ended(event.part) if event.what == "ended" else ""
        self._tell(replace(event, why=why))

    def _start_over(self) -> None:
        """The manager was killed: its parts are on their own. End them, and begin again."""
        self._tell(Event("ended", MANAGER))
        stopping.stop_all(self._plan.place, access=own_access(self._plan.settings))
        self._process = start_manager(self._plan.place, self._plan.environment)
        self._seen, self._tried = {}, {}
        self._workers = False

    def _register(self) -> None:
        """Workers start even where this fails: what was registered before is as good as it was."""
        if not self._deployed and self._due("deploy"):
            why = deploy(self._plan)
            self._deployed = not why
            if why:
                self._tell(Event("not-deployed", why=why))
        if not self._workers:
            for part in self._plan.parts:
                if not part.at_once:
                    self._manager.start(part.name)
            self._workers = True

    def _answers(self) -> bool:
        state = self._seen.get(SERVER)
        if state is None or state.state not in ALIVE:
            return False
        try:
            url = f"{self._plan.settings.prefect.api_url}/health"
            return httpx.get(url, timeout=_ANSWER_SECONDS).is_success
        except httpx.HTTPError:
            return False

    def _due(self, what: str) -> bool:
        """Whether to try this again; the first time at once."""
        now = time.monotonic()
        if now - self._tried.get(what, now - _AGAIN_SECONDS) < _AGAIN_SECONDS:
            return False
        self._tried[what] = now
        return True


def compare(
    before: Mapping[str, State], now: Mapping[str, State], given_up: Collection[str] = ()
) -> list[Event]:
    """What happened between two looks. A part that was up and has another process died in between.

    Args:
        given_up: The parts of which it was said that they do not stay up.
    """
    found: list[Event] = []
    for name, state in now.items():
        last = before.get(name)
        if last is None:
            continue
        if last.state == RUNNING and state.pid != last.pid:
            found.append(Event("ended", name))
        if state.state == FATAL and name not in given_up:
            found.append(Event("down", name))
        elif state.state == RUNNING and name in given_up:
            found.append(Event("back", name))
    return found


def deploy(plan: Plan) -> str:
    """Run ``pra deploy`` against the server of this place; return why it failed, empty when it did not."""
    home, api = plan.place.home, plan.settings.prefect.api_url
    environment = {**plan.environment, **client_environment(home, api, make_auth(plan.settings))}
    argv = (sys.executable, "-m", "deployments.cli", "deploy", "--json")
    try:
        proc.run(argv, op="register deployments", timeout=_DEPLOY_SECONDS, env=environment)
    except ToolError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith(("error: ", "hint: "))]
        return " ".join(line.partition(": ")[2] for line in lines) or error.message
    return ""


def _require_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # What ended a moment ago leaves its port in a state that only this option sees through.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BusyError(
                f"port {port} of {host} cannot be had: {(error.strerror or 'no such address').lower()}",
                op=OP,
                hint="Another program has it, perhaps another Prefect server. End that, or choose one: "
                "pra up --port 4201, or port under [prefect].",
            ) from None
