"""How far a failover is: one signed record at each step's end, in every repository of the target.

Whoever resumes it, on whatever machine, reads them and goes on behind the last finished step. A step that is
begun and must not simply be done again writes that down first.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from pra import evidence_fields as fields
from pra.drill.record import FAILOVER, Event, Intervention, Step
from pra.errors import IntegrityError, NotFoundError
from pra.evidence_body import account_and_host
from pra.evidence_record import EvidenceRecord
from pra.model import CheckResult
from pra.procedures.context import Context
from pra.timing import from_iso, to_iso

KIND = "failover-step"
STEPS = (
    "plan", "approve", "fence", "recover", "start", "checks", "switch", "announce", "re-protect",
)  # fmt: skip
_OP = "resume failover"
_LOOK = 300


@dataclass
class StepDone:
    """One step, while it is done and afterwards.

    Attributes:
        facts: What the steps behind it, or a resumed failover, have to know.
    """

    name: str
    started_at: datetime
    seconds: float = 0.0
    waiting: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    interventions: list[Intervention] = field(default_factory=list)
    deviations: list[str] = field(default_factory=list)
    checks: list[CheckResult] = field(default_factory=list)
    required: tuple[str, ...] = ()

    def as_step(self) -> Step:
        return Step(self.name, self.started_at, self.seconds, self.waiting)

    def as_json(self) -> dict[str, Any]:
        return {
            "step": self.name,
            "started_at": to_iso(self.started_at),
            "milliseconds": round(self.seconds * 1000),
            "waiting": self.waiting,
            "facts": self.facts,
            "events": [event.as_json() for event in self.events],
            "interventions": [one.as_json() for one in self.interventions],
            "deviations": self.deviations,
            "checks": fields.checks_json(self.checks),
            "required": list(self.required),
        }


def step_of(body: Mapping[str, Any]) -> StepDone:
    """Read one back. Raises KeyError, TypeError, ValueError where it is none."""
    return StepDone(
        name=str(body["step"]),
        started_at=from_iso(body["started_at"]),
        seconds=body["milliseconds"] / 1000,
        waiting=bool(body["waiting"]),
        facts=dict(body["facts"]),
        events=[Event.from_json(each) for each in body["events"]],
        interventions=[Intervention.from_json(each) for each in body["interventions"]],
        deviations=list(body["deviations"]),
        checks=list(fields.checks_of(body["checks"])),
        required=tuple(body["required"]),
    )  # fmt: skip


@dataclass
class Journal:
    """The records of one failover.

    Attributes:
        done: Finished steps, by name; a step that was planned anew has taken the place of the first one.
        begun: Steps of which the beginning was recorded, and not the end.
        plan_sha256: Of the plan that the steps belong to.
    """

    context: Context
    failover: str
    started_at: datetime
    plan_sha256: str = ""
    done: dict[str, StepDone] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    nonces: set[str] = field(default_factory=set)
    written: bool = False

    def begin(self, step: str) -> None:
        """Write down that it begins."""
        self._append({"step": step, "state": "begun"})
        self.begun.add(step)

    def end(self, step: StepDone) -> EvidenceRecord:
        """Write down that it has ended well."""
        record = self._append({**step.as_json(), "state": "done"})
        self.done[step.name] = step
        self.begun.discard(step.name)
        return record

    def forget(self, *names: str) -> None:
        """These will be done anew: the plan has changed."""
        for name in names:
            self.done.pop(name, None)

    def facts(self, step: str) -> Mapping[str, Any]:
        """What a finished step left; empty where it is not finished."""
        found = self.done.get(step)
        return found.facts if found is not None else {}

    def in_order(self) -> list[StepDone]:
        return [self.done[name] for name in STEPS if name in self.done]

    def _append(self, body: Mapping[str, Any]) -> EvidenceRecord:
        head = {
            "failover": self.failover,
            "failover_started_at": to_iso(self.started_at),
            "plan_sha256": self.plan_sha256,
            "operator": self.context.operator or account_and_host(),
            "first": not self.written,
        }
        record = self.context.evidence.append(KIND, {**head, **body})
        self.written = True
        return record


def new_journal(context: Context) -> Journal:
    """Of a failover that begins now; nothing is written yet."""
    now = context.clock()
    return Journal(context, f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}", now)


def find_unfinished(context: Context) -> Journal | None:
    """The newest failover of the target that was begun and neither finished nor aborted.

    Looks through the last records alone, and past those that cannot be believed: a new failover must not wait
    for the whole chain.

    Raises:
        IntegrityError: Its own records do not fit together. StorageError: No repository answers.
    """
    recent = islice(context.evidence.records(), _LOOK)
    records = _newest(record for record in recent if not record.problem)
    return _read(context, records) if records else None


def resume(context: Context) -> Journal:
    """The same, to go on with it: everything behind its beginning must be believed.

    Raises:
        NotFoundError: There is none.
        IntegrityError: A record cannot be believed. StorageError: No repository answers.
    """
    records = _newest(_believed(context.evidence.records()))
    if not records:
        raise NotFoundError(
            f"{context.target.name} has no failover that was interrupted",
            op=_OP,
            hint=f"Begin one: pra failover {context.target.name}",
        )
    return _read(context, records)


def _newest(records: Iterable[EvidenceRecord]) -> list[EvidenceRecord]:
    """Its records, oldest first; none where the newest failover has ended."""
    found: list[EvidenceRecord] = []
    for record in records:
        if record.kind == FAILOVER and not found and record.body.get("finished", True):
            return []
        if record.kind != KIND:
            continue
        if found and record.body.get("failover") != found[0].body.get("failover"):
            break
        found.append(record)
        if record.body.get("first"):
            break
    return found[::-1]


def _believed(records: Iterable[EvidenceRecord]) -> Iterator[EvidenceRecord]:
    for record in records:
        if record.problem:
            raise IntegrityError(
                f"evidence {record.sequence} cannot be believed: {record.problem}",
                op=_OP,
                hint="Look with: pra evidence verify. A failover can also be begun anew, without --resume.",
            )
        yield record


def _read(context: Context, records: Sequence[EvidenceRecord]) -> Journal:
    first = records[0].body
    try:
        started_at = from_iso(str(first["failover_started_at"]))
        journal = Journal(context, str(first["failover"]), started_at, written=True)
        for record in records:
            body = record.body
            name = str(body["step"])
            if name == "plan" and body["state"] == "done":
                # Planned anew: what was approved before is approved no more.
                journal.forget("plan", "approve")
                journal.plan_sha256 = str(body["plan_sha256"])
            if str(body["plan_sha256"]) != journal.plan_sha256:
                raise ValueError("another plan")
            if body["state"] == "begun":
                journal.begun.add(name)
                continue
            step = step_of(body)
            journal.done[name] = step
            journal.begun.discard(name)
            if name == "approve":
                journal.nonces.add(str(step.facts["nonce"]))
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            "the record of the interrupted failover cannot be understood", op=_OP,
            hint="Resume it with the version of pra that began it.",
        ) from error  # fmt: skip
    return journal
