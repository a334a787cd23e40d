"""Where a drill lives: one folder that belongs to one process, cleared up by the next start if that died."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pra import ephemeral
from pra.drill.record import DRILL, INTERRUPTED, DrillRecord
from pra.drill.rehearsal import Rehearsal
from pra.drill.state import Drill, Order
from pra.errors import PraError, UsageError
from pra.evidence_body import common
from pra.postgres.sandbox import sandbox_account, sandbox_root
from pra.proc import Scope
from pra.procedures.context import Context
from pra.settings import Settings
from pra.timing import from_iso

PREFIX = "drill-"
_log = logging.getLogger(__name__)


@contextmanager
def open_drill(context: Context, order: Order) -> Iterator[Drill]:
    """The environment of one drill, empty; everything in it is gone on leaving.

    Raises:
        UsageError: The target's backups cannot be recovered to a moment.
        SettingsError: There is no key to sign the record with.
    """
    _ = context.signer  # a drill that cannot be recorded proves nothing: better said now
    if context.target.engine != "physical":
        raise UsageError(
            f"{context.target.name} is backed up logically: a drill recovers to a moment, which dumps cannot",
            op="rehearse",
            hint='Set engine = "physical" for the target, or name one that has it.',
        )
    root = sandbox_root(context.settings.sandbox.dir, context.state_dir)
    clean_up(context.settings, root)
    account = sandbox_account(context.settings.sandbox.account)
    with ExitStack() as stack:
        home = stack.enter_context(ephemeral.ephemeral(root, PREFIX))
        home.chmod(0o711)  # the servers' account has to get to its folders
        stack.callback(context.scope.close)  # before the folder goes
        rehearsal = Rehearsal(
            home, context.scope, stack, context.target, context.settings, account, clock=context.clock
        )
        drill = Drill(context, order, stack, rehearsal, context.clock())
        drill.facts |= common(context.settings, context.target, operator=order.operator)
        drill.note("start")
        try:
            yield drill
        except BaseException:
            # A signal, a cancellation, a mistake of ours: an auditor sees that it was begun.
            if drill.injected and not drill.recorded:
                _remember(home, context.settings)
            raise


def clean_up(settings: Settings, root: Path) -> list[Path]:
    """Remove what drills that were killed left behind, and write into the evidence that they were.

    Their processes ended with them: see `pra.deadman`.
    """

    return ephemeral.sweep(root, PREFIX, lambda folder: _remember(folder, settings))


def _remember(folder: Path, settings: Settings) -> None:
    """Write into its target's evidence how far the drill in this folder was. Never raises."""
    try:
        found = json.loads((folder / "drill.json").read_text())
        target = settings.targets[found["target"]]
    except (OSError, ValueError, KeyError, TypeError):
        _log.warning("%s: a drill of a target that is not configured here was interrupted", folder.name)
        return
    try:
        with Scope() as scope:
            context = Context(settings, target, scope)
            context.evidence.append(DRILL, _interrupted(found, context).as_json())
    except (PraError, OSError, LookupError, TypeError, ValueError) as error:
        _log.error("the interrupted drill of %s could not be recorded: %s", target.name, error)


def _interrupted(found: dict[str, Any], context: Context) -> DrillRecord:
    return DrillRecord(
        kind=DRILL,
        target=context.target.name,
        verdict=INTERRUPTED,
        started_at=from_iso(found["started_at"]),
        ended_at=context.clock(),
        scenario=found["scenario"],
        intensity=found["intensity"],
        deviations=(f"The drill was ended in its phase {found['phase']}; nothing of it was left.",),
        facts=common(context.settings, context.target),
    )
