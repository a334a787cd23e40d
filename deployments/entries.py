"""The deployments of ``prefect.yaml``, each once a target, or once for all of them. Knows no Prefect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from pra.errors import SettingsError
from pra.settings import Settings

FILE = Path(__file__).parents[1] / "prefect.yaml"
PHYSICAL_ONLY = ("flows.dr_drill.dr_drill", "flows.emergency.failover")
MODEL = "akig"
"""The target for which prefect.yaml is written."""
ALL = "all"
"""The name of what is about every target."""


@dataclass(frozen=True)
class Entry:
    """One deployment of prefect.yaml, its schedules as written there. ``work_queue`` None: the default."""

    name: str
    entrypoint: str
    description: str
    tags: tuple[str, ...]
    parameters: Mapping[str, Any]
    work_pool: str
    work_queue: str | None
    concurrency_limit: Mapping[str, Any] | None
    schedules: tuple[Mapping[str, Any], ...]

    @property
    def target(self) -> str | None:
        """None: it is about all of them."""
        target = self.parameters.get("target")
        return None if target is None else str(target)


def read_entries(file: Path = FILE) -> list[Entry]:
    """Read prefect.yaml.

    Raises:
        SettingsError: It is not there.
    """
    if not file.exists():
        raise SettingsError(
            f"there is no {file}", op="read deployments", hint="Run pra from the folder of its source."
        )
    return [
        Entry(
            name=raw["name"],
            entrypoint=raw["entrypoint"],
            description=raw["description"],
            tags=tuple(raw["tags"]),
            parameters=raw["parameters"],
            work_pool=raw["work_pool"]["name"],
            work_queue=raw["work_pool"].get("work_queue_name"),
            concurrency_limit=raw.get("concurrency_limit"),
            schedules=tuple(raw.get("schedules", ())),
        )
        for raw in yaml.safe_load(file.read_text())["deployments"]
    ]


def expanded(entries: Sequence[Entry], targets: Sequence[str]) -> list[Entry]:
    """Every deployment there is to be: one a target, and once what has no target since it is about all."""
    found: list[Entry] = []
    for entry in entries:
        found += [entry] if entry.target is None else [expand(entry, target) for target in targets]
    return found


def fits(entry: Entry, settings: Settings) -> bool:
    """Whether a deployment is of use to its target: drill and failover go to a moment, as dumps cannot."""
    return entry.entrypoint not in PHYSICAL_ONLY or settings.targets[str(entry.target)].engine == "physical"


def expand(entry: Entry, target: str) -> Entry:
    """The same deployment for another target."""
    return replace(
        entry,
        name=target,
        description=entry.description.replace(MODEL, target),
        tags=tuple(target if tag == MODEL else tag for tag in entry.tags),
        parameters={**entry.parameters, "target": target},
    )
