"""The disasters that can be rehearsed, as data. To add one, add an entry here and its fault and recovery.

Each is one of the runbook's scenarios. Words a person reads go through the catalogue where they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pra.errors import NotFoundError
from pra.messages import mark

Severity = Literal["P1", "P2", "P3"]
Intensity = Literal["light", "heavy"]
Fault = Literal["kill", "values", "pages", "intruder", "drop", "site", "rot"]
Detection = Literal["database", "values", "pages", "roles", "tables", "backup"]
Recovery = Literal["latest", "before", "beside", "sheet"]
"""``latest``: to the end of the WAL. ``before``: to just before the change that did the harm. ``beside``: the
table alone, beside the live one, and the live one mended from it. ``sheet``: ``latest``, on an empty host
with nothing but the offsite repository and the printed recovery sheet."""
Sabotage = Literal["missing-row", "switch-nowhere", "api-error", "stops-early", "slow"]


@dataclass(frozen=True)
class Method:
    """What is done at one intensity.

    Attributes:
        faults: In the order in which they are injected.
        detection: The status check that is to notice it.
        outage: Whether the service is down meanwhile; else it answers all the time, with wrong contents.
    """

    faults: tuple[Fault, ...]
    detection: Detection
    recovery: Recovery
    outage: bool = True


@dataclass(frozen=True)
class Scenario:
    """One disaster.

    Attributes:
        before, after: The hypotheses: what has to hold before anything is broken, and once all is done.
        heavy, light: By intensity; where there is no lighter form, both are the same.
        restart_seconds: How long the runbook tries to restart the old server before it fails over, scaled
            from the runbook's 5 minutes.
        sabotages: What must turn this drill's verdict; see the tests.
    """

    name: str
    title: str
    severity: Severity
    before: str
    after: str
    heavy: Method
    light: Method
    restart_seconds: float = 0.0
    sabotages: tuple[Sabotage, ...] = ("missing-row", "switch-nowhere", "api-error", "stops-early", "slow")

    def method(self, intensity: Intensity) -> Method:
        return self.heavy if intensity == "heavy" else self.light


RUNBOOK_RESTART = timedelta(minutes=5)
"""What the runbook grants a restart before it fails over."""
SCALE = 60
"""A rehearsal waits a sixtieth of that."""

_STEADY = mark("The service answers, rows are committed, and everything committed is in both repositories.")
_KILLED = Method(("kill",), "database", "latest")

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "database-down",
        mark("The database process is killed and does not start again"),
        "P1",
        _STEADY,
        mark("A restored server answers with every row that had reached a repository."),
        heavy=_KILLED,
        light=_KILLED,
        restart_seconds=RUNBOOK_RESTART.total_seconds() / SCALE,
    ),
    Scenario(
        "data-corruption",
        mark("Wrong values are written; at full intensity pages are damaged on disk as well"),
        "P1",
        _STEADY,
        mark("Every value is as it was before the wrong ones were written, and every page can be read."),
        heavy=Method(("values", "pages"), "values", "before"),
        light=Method(("values",), "values", "beside", outage=False),
    ),
    Scenario(
        "intrusion",
        mark("An intruder makes himself a superuser and changes rows"),
        "P1",
        _STEADY,
        mark("A server of before the intrusion answers, passwords are new, what was changed is known."),
        heavy=Method(("intruder",), "roles", "before"),
        light=Method(("intruder",), "roles", "before"),
    ),
    Scenario(
        "data-loss",
        mark("A critical table is dropped"),
        "P1",
        _STEADY,
        mark("The table is back as it was just before it was dropped."),
        heavy=Method(("drop",), "tables", "before"),
        light=Method(("drop",), "tables", "beside"),
    ),
    Scenario(
        "site-loss",
        mark("Server, backup host and local repository are gone"),
        "P1",
        _STEADY,
        mark("An empty host with the offsite copy and the printed recovery sheet answers with the data."),
        heavy=Method(("site",), "database", "sheet"),
        light=Method(("site",), "database", "sheet"),
    ),
    Scenario(
        "bad-backup",
        mark("The database is lost, and the newest backup turns out to be rotten"),
        "P1",
        _STEADY,
        mark("The backup before it is used instead, and the report says what that cost."),
        heavy=Method(("rot", "kill"), "backup", "latest"),
        light=Method(("rot", "kill"), "backup", "latest"),
    ),
)


def scenario(name: str) -> Scenario:
    """Raises NotFoundError, which names those there are."""
    for one in SCENARIOS:
        if one.name == name:
            return one
    raise NotFoundError(
        f"no such scenario: {name!r}",
        op="choose scenario",
        hint=f"Choose one of: {', '.join(one.name for one in SCENARIOS)}.",
    )
