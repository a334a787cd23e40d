"""A drill under way: what was asked for, what it owns, and what its phases have learned."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pra.drill.faults import Injected
from pra.drill.record import Event, Intervention, Rows, Step
from pra.drill.rehearsal import Rehearsal
from pra.drill.scenarios import Intensity, Method, Sabotage, Scenario
from pra.errors import PraError
from pra.model import CheckResult
from pra.procedures.bring_back import BroughtBack
from pra.procedures.context import Context
from pra.timing import to_iso
from pra.watch.probes import Baseline


@dataclass(frozen=True)
class Order:
    """What was asked for.

    Attributes:
        backup: ``newest`` or an id: what the rehearsed primary is made from.
        repository: Where that is read; None: the target's first.
        sabotage: What is to go wrong on purpose, to see that the drill notices.
        operator: Who started it; empty: this account.
    """

    scenario: Scenario
    intensity: Intensity = "heavy"
    backup: str = "newest"
    repository: str | None = None
    sabotage: Sabotage | None = None
    operator: str = ""

    @property
    def method(self) -> Method:
        return self.scenario.method(self.intensity)


@dataclass(frozen=True)
class Answer:
    """What a human decided when asked whether to recover."""

    decision: Literal["proceed", "abort", "automatic"] = "automatic"
    by: str = ""
    comment: str = ""


Approve = Callable[["Drill"], Answer]


class Aborted(PraError):
    """A human said no. Nothing was recovered; the environment goes all the same."""


@dataclass
class Drill:
    """See `pra.procedures.drill`.

    Attributes:
        context: The origin's: settings, repositories and evidence of the real target.
        ended: The last moment of the old world: nothing was committed to it afterwards.
        holds: A query that is true of what is to come back, where the scenario has one.
        recovering: Seconds the recovery itself took.
        lost_seconds: From the last row that the old server acknowledged to the last one that came back.
        service_at, proven_at: When the service answered again, and when every check had passed.
    """

    context: Context
    order: Order
    stack: ExitStack
    rehearsal: Rehearsal
    started_at: datetime
    baseline: Baseline | None = None
    backup_id: str = ""
    sheet: str = ""
    injected: list[Injected] = field(default_factory=list)
    detected: str = ""
    detected_at: datetime | None = None
    ended: datetime | None = None
    brought: BroughtBack | None = None
    recovering: float | None = None
    restored_started: float = 0.0
    service_at: datetime | None = None
    proven_at: datetime | None = None
    service_complaint: str = ""
    rows: Rows | None = None
    lost_seconds: float | None = None
    results: list[CheckResult] = field(default_factory=list)
    required: tuple[str, ...] = ()
    steps: list[Step] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    interventions: list[Intervention] = field(default_factory=list)
    deviations: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    afterwards: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    recorded: bool = False

    @property
    def scenario(self) -> Scenario:
        return self.order.scenario

    @property
    def method(self) -> Method:
        return self.order.method

    @property
    def disaster_at(self) -> datetime:
        return self.injected[0].at

    @property
    def harm(self) -> Injected | None:
        """The change that is to be undone, where the fault was one."""
        return next((each for each in self.injected if each.holds), None)

    @contextmanager
    def phase(self, name: str, *, waiting: bool = False) -> Iterator[None]:
        """Time a phase, and note on disk that it began: whoever finds a dead drill's folder reads it."""
        started_at, start = self.context.clock(), time.monotonic()
        self.note(name)
        try:
            yield
        finally:
            self.steps.append(Step(name, started_at, time.monotonic() - start, waiting))

    def event(self, name: str, at: datetime, what: str = "") -> None:
        self.events.append(Event(name, at, what))

    def note(self, phase: str) -> None:
        """Write down how far the drill is."""
        file = self.rehearsal.home / "drill.json"
        document = {
            "target": self.context.target.name,
            "scenario": self.scenario.name,
            "intensity": self.order.intensity,
            "started_at": to_iso(self.started_at),
            "phase": phase,
            "phases": [step.as_json() for step in self.steps],
            "pid": os.getpid(),
        }
        temporary = file.with_name(".drill.json")
        temporary.write_text(json.dumps(document))
        temporary.replace(file)
