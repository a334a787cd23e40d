"""Which engine a server allows, and whether it keeps the RPO. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pra.model import Engine
from pra.procedures.preflight import SCHEDULE
from pra.setup.diagnosis import Diagnosis
from pra.setup.judging import replication
from pra.setup.server import ServerReport
from pra.watch.status.finding import Level


@dataclass(frozen=True)
class Proposal:
    """The better engine that the server allows.

    Attributes:
        hindrances: Why not the physical one, each with what mends it; empty where that is proposed.
    """

    engine: Engine
    hindrances: tuple[Diagnosis, ...] = ()


def propose(report: ServerReport, target: str) -> Proposal:
    """Physical wherever it is possible: it loses seconds, not an interval, and goes back to any moment."""
    hindrances = tuple(each for each in replication(report, target) if each.level is Level.CRITICAL)
    return Proposal("logical", hindrances) if hindrances else Proposal("physical")


def keeps_rpo(engine: Engine, rpo: timedelta, interval: timedelta = SCHEDULE) -> bool:
    """Dumps lose an interval and the time to publish in the worst case; streamed WAL loses seconds."""
    return engine == "physical" or interval < rpo
