"""The end of a drill: its verdict, the way back, its record in the target's own evidence, and the trend."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import islice

from pra.drill import judge
from pra.drill.record import DRILL, DrillRecord, record_of
from pra.drill.state import Drill
from pra.errors import PraError
from pra.evidence_record import EvidenceRecord
from pra.messages import mark
from pra.model import Verdict
from pra.procedures.context import Context

_EARLIER = 5
_LOOK = 500
"""How many records are looked through for the trend; each is an object to be read."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DrillReport:
    """The outcome: the record as it was written, and where.

    Attributes:
        earlier: The last drills of the same scenario before it, newest first: the trend.
    """

    record: DrillRecord
    evidence: EvidenceRecord
    earlier: tuple[DrillRecord, ...] = ()

    @property
    def verdict(self) -> Verdict | str:
        return self.record.verdict


def conclude(this: Drill, verdict: Verdict | str | None = None) -> DrillReport:
    """Judge, plan the way back, and leave the evidence in the target's own repositories."""
    with this.phase("report"):
        _plan_way_back(this)
        outcome = verdict if verdict is not None else judge.verdict(this)
        record = judge.record(this, outcome)
    record = replace(record, steps=tuple(this.steps), ended_at=this.context.clock())
    stored = this.context.evidence.append(DRILL, record.as_json())
    this.recorded = True
    return DrillReport(record, stored, earlier(this.context, record, stored))


def earlier(context: Context, record: DrillRecord, stored: EvidenceRecord) -> tuple[DrillRecord, ...]:
    """The records of the same kind and scenario before this one, newest first. Never raises."""
    found: list[DrillRecord] = []
    try:
        for other in islice(context.evidence.records(), _LOOK):
            same = other.kind == record.kind and other.body.get("scenario") == record.scenario
            if same and not other.problem and other.sequence < stored.sequence:
                found.append(record_of(other.kind, other.body))
            if len(found) == _EARLIER:
                break
    except (PraError, KeyError, TypeError, ValueError) as error:
        _log.warning("the trend is not shown: %s", error)
    return tuple(found)


def _plan_way_back(this: Drill) -> None:
    """What an operator would have to do next on the real day."""
    if this.method.recovery == "beside":
        this.afterwards += [mark("Take a full backup now: the repaired table is in no backup yet.")]
        return
    this.afterwards += [
        mark("Keep the old server fenced until its disk has been looked at: nothing may write to it."),
        mark("Re-protect the recovered server: new slot and streamer, a full backup, a first verification."),
        mark(
            "Fail back in a maintenance window: a base backup of the recovered server on the old host, "
            "streaming until it has caught up, then a planned switch."
        ),
    ]
