"""A load test that was killed or broken off: how far it was is noted, and recorded by whoever finds it."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pra.drill.record import INTERRUPTED, Step
from pra.errors import PraError
from pra.evidence_body import common
from pra.loadtest.hardware import Hardware
from pra.loadtest.record import LOAD_TEST, LoadTestRecord
from pra.proc import Scope
from pra.procedures.context import Context
from pra.settings import Settings
from pra.timing import from_iso, to_iso

if TYPE_CHECKING:
    from pra.loadtest.state import LoadTest

_FILE = "loadtest.json"
_log = logging.getLogger(__name__)


def note(this: LoadTest, phase: str) -> None:
    """Write down that a phase begins: whoever finds the folder of a dead load test reads it."""
    document = {
        "target": this.context.target.name,
        "started_at": to_iso(this.started_at),
        "phase": phase,
        "phases": [step.as_json() for step in this.steps],
        "hardware": this.hardware.as_json(),
        "pid": os.getpid(),
    }
    temporary = this.home / f".{_FILE}"
    temporary.write_text(json.dumps(document))
    temporary.replace(this.home / _FILE)


def remember(folder: Path, settings: Settings) -> None:
    """Write into its target's evidence how far the load test in this folder was. Never raises.

    One that had not begun to measure leaves no record: nothing was asked of anybody.
    """
    if not (folder / _FILE).exists():
        return
    try:
        found = json.loads((folder / _FILE).read_text())
        target = settings.targets[found["target"]]
    except (OSError, ValueError, KeyError):
        _log.warning("%s: a load test of a target that is not configured here was interrupted", folder.name)
        return
    try:
        with Scope() as scope:
            context = Context(settings, target, scope)
            context.evidence.append(LOAD_TEST, _record(found, context).as_json())
    except (PraError, KeyError, TypeError, ValueError) as error:
        _log.error("the interrupted load test of %s could not be recorded: %s", target.name, error)


def _record(found: dict[str, Any], context: Context) -> LoadTestRecord:
    return LoadTestRecord(
        target=context.target.name,
        verdict=INTERRUPTED,
        started_at=from_iso(found["started_at"]),
        ended_at=context.clock(),
        engine=context.target.engine,
        hardware=Hardware.from_json(found["hardware"]),
        steps=tuple(Step.from_json(step) for step in found["phases"]),
        deviations=(f"The load test was ended in its phase {found['phase']}; nothing of it was left.",),
        facts=common(context.settings, context.target),
    )
