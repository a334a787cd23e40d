"""What the records say at the moment at which a runbook is made. Everything may be unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pra.drill.record import DRILL, FAILOVER
from pra.evidence_record import VERIFICATION
from pra.model import Verdict
from pra.watch.metrics.facts import Fact


@dataclass(frozen=True)
class TargetFacts:
    """One target, by the newest records there are.

    Attributes:
        proofs: By repository, the last verification that was a PASS.
        drills: By scenario, the last drill that ended with a verdict.
        failover: The last real one.
        remembered: The repositories did not answer: this is what the state directory still knew.
        problem: Why nothing, or not all, is known; empty when there is nothing to say.
    """

    proofs: Mapping[str, Fact] = field(default_factory=dict)
    drills: Mapping[str, Fact] = field(default_factory=dict)
    failover: Fact | None = None
    remembered: bool = False
    problem: str = ""

    @property
    def recovery_seconds(self) -> float | None:
        """How long it takes to have the service back: the slowest of the last drills and proofs, in seconds.

        A drill's time counts from the disaster, detection included, but a light one mends one table and never
        brings the whole server back; a verification's from its start in a sandbox, and does. What did not
        succeed measures nothing.
        """
        drills = [fact for fact in self.drills.values() if fact.verdict == Verdict.PASS]
        return max((f.rto for f in (*drills, *self.proofs.values()) if f.rto is not None), default=None)


@dataclass(frozen=True)
class Facts:
    """Of all targets. A runbook without facts says ``unknown`` in their place.

    Attributes:
        at: When they were read.
        host: On which machine. state_dir: Its state. config: Its pra.toml; None where there is none.
    """

    at: datetime
    host: str
    state_dir: Path
    config: Path | None
    targets: Mapping[str, TargetFacts]

    @property
    def problems(self) -> list[str]:
        """One line for each target of which something is not known."""
        return [f"{name}: {each.problem}" for name, each in self.targets.items() if each.problem]


def summarise(facts: Iterable[Fact], *, remembered: bool = False, problem: str = "") -> TargetFacts:
    """The newest of each kind that matters in an emergency."""
    proofs: dict[str, Fact] = {}
    drills: dict[str, Fact] = {}
    failover: Fact | None = None
    for fact in sorted(facts, key=lambda each: (each.at, each.sequence)):
        if fact.kind == VERIFICATION and fact.verdict == Verdict.PASS and fact.repository:
            proofs[fact.repository] = fact
        elif fact.kind == DRILL and fact.decided and fact.scenario:
            drills[fact.scenario] = fact
        elif fact.kind == FAILOVER and fact.decided:
            failover = fact
    return TargetFacts(proofs, drills, failover, remembered, problem)
