"""What Prefect's server shall hold about one deployment, and how that differs from what it has.

Imports Prefect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentScheduleUpdate,
    DeploymentUpdate,
)
from prefect.client.schemas.objects import ConcurrencyOptions, DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

from deployments.entries import Entry

_DEFAULT_QUEUE = "default"
_OWNER = "PRA_CONFIG"
Fields = dict[str, Any]


@cache
def load(entrypoint: str) -> tuple[str, dict[str, Any]]:
    """The name of a flow, and the form that the interface makes for its parameters."""
    flow: Flow[..., Any] = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    return flow.name, parameter_schema(flow).model_dump(exclude_unset=True)


@dataclass(frozen=True)
class Desired:
    """One deployment. ``owner``: the settings' file that its runs shall read, by which it is ours."""

    entry: Entry
    owner: str | None

    @property
    def flow(self) -> str:
        return load(self.entry.entrypoint)[0]

    @property
    def name(self) -> str:
        return f"{self.flow}/{self.entry.name}"

    @property
    def form(self) -> dict[str, Any]:
        """That of the flow, with the deployment's own target as the one choice: no other can be typed in."""
        form = deepcopy(load(self.entry.entrypoint)[1])
        if self.entry.target is not None:
            form["properties"]["target"]["enum"] = [self.entry.target]
        return form

    @property
    def fields(self) -> dict[str, Fields]:
        """Everything but schedules, as the API takes it; grouped, under the word that reports a change."""
        entry, limit = self.entry, self.entry.concurrency_limit
        options = ConcurrencyOptions(collision_strategy=limit["collision_strategy"]) if limit else None
        return {
            "entrypoint": {"entrypoint": entry.entrypoint},
            # Flows are named by module: they are where the worker finds PRA installed, and nowhere to fetch.
            "source": {"path": None, "pull_steps": []},
            "description": {"description": entry.description},
            "tags": {"tags": sorted(entry.tags)},
            "parameters": {"parameters": dict(entry.parameters)},
            "work pool": {"work_pool_name": entry.work_pool, "work_queue_name": entry.work_queue},
            "variables": {"job_variables": _variables({}, self.owner)},
            "concurrency limit": {
                "concurrency_limit": limit["limit"] if limit else None,
                "concurrency_options": options,
            },
            "form": {"parameter_openapi_schema": self.form, "enforce_parameter_schema": True},
        }


def owner_of(there: DeploymentResponse) -> str | None:
    """The settings' file of the installation that made it; None: nobody known."""
    environment = (there.job_variables or {}).get("env")
    owner = environment.get(_OWNER) if isinstance(environment, Mapping) else None
    return str(owner) if owner else None


def _variables(others: Mapping[str, Any], owner: str | None) -> dict[str, Any]:
    """What an operator set beside, such as an image, stays."""
    if owner is None:
        return dict(others)
    return {**others, "env": {**(others.get("env") or {}), _OWNER: owner}}


def differences(there: DeploymentResponse, desired: Desired) -> tuple[str, ...]:
    """What is not as it should be."""
    present, wanted = _present(there), desired.fields
    found = [word for word, fields in wanted.items() if present[word] != _comparable(fields)]
    if _crons(there.schedules) != {str(raw["slug"]): _line(raw) for raw in desired.entry.schedules}:
        found.append("schedules")
    return tuple(found)


def _present(there: DeploymentResponse) -> dict[str, Fields]:
    limit = there.global_concurrency_limit
    queue = None if there.work_queue_name == _DEFAULT_QUEUE else there.work_queue_name
    return {
        "entrypoint": {"entrypoint": there.entrypoint},
        "source": {"path": there.path, "pull_steps": there.pull_steps or []},
        "description": {"description": there.description},
        "tags": {"tags": sorted(there.tags)},
        "parameters": {"parameters": there.parameters},
        "work pool": {"work_pool_name": there.work_pool_name, "work_queue_name": queue},
        "variables": {"job_variables": _variables({}, owner_of(there))},
        "concurrency limit": {
            "concurrency_limit": limit.limit if limit else None,
            "concurrency_options": _strategy(there.concurrency_options),
        },
        "form": {
            "parameter_openapi_schema": there.parameter_openapi_schema,
            "enforce_parameter_schema": there.enforce_parameter_schema,
        },
    }


def _comparable(fields: Fields) -> Fields:
    if "concurrency_options" not in fields:
        return fields
    return {**fields, "concurrency_options": _strategy(fields["concurrency_options"])}


def _strategy(options: ConcurrencyOptions | None) -> str | None:
    # Other options, such as how long a slot is kept for a run that is slow to start, are the operator's.
    return str(options.collision_strategy.value) if options else None


def _line(raw: Mapping[str, Any]) -> tuple[str, str]:
    return str(raw["cron"]), str(raw["timezone"])


def _crons(schedules: list[DeploymentSchedule]) -> dict[str, tuple[str, str] | None]:
    """Those with a slug. One without was made by a person in the interface, and is theirs."""
    return {
        each.slug: (each.schedule.cron, str(each.schedule.timezone))
        if isinstance(each.schedule, CronSchedule)
        else None
        for each in schedules
        if each.slug
    }


def create(client: SyncPrefectClient, flow_id: UUID, desired: Desired) -> None:
    """Make a deployment that is not there."""
    everything = {name: value for fields in desired.fields.values() for name, value in fields.items()}
    schedules = [
        DeploymentScheduleCreate(schedule=_schedule(raw), active=raw["active"], slug=raw["slug"])
        for raw in desired.entry.schedules
    ]
    client.create_deployment(flow_id, desired.entry.name, schedules=schedules, **everything)


def update(
    client: SyncPrefectClient, there: DeploymentResponse, desired: Desired, differing: tuple[str, ...]
) -> None:
    """Write what differs. A schedule that was paused stays so, and one that a person added stays.

    What left goes last: whatever ends this half-way, a schedule is there.
    """
    wanted = [fields for word, fields in desired.fields.items() if word in differing]
    changed = {name: value for fields in wanted for name, value in fields.items()}
    if "variables" in differing:
        changed["job_variables"] = _variables(there.job_variables or {}, desired.owner)
    if "schedules" in differing:
        changed["schedules"] = list(_schedules(there, desired))
    client.update_deployment(there.id, DeploymentUpdate(**changed))
    if "schedules" in differing:
        slugs = {raw["slug"] for raw in desired.entry.schedules}
        for old in [each for each in there.schedules if each.slug and each.slug not in slugs]:
            # An update leaves it where it is, unless the server replaced the whole list.
            with suppress(ObjectNotFound):
                client.delete_deployment_schedule(there.id, old.id)


def _schedules(there: DeploymentResponse, desired: Desired) -> Iterator[DeploymentScheduleUpdate]:
    active = {each.slug: each.active for each in there.schedules}
    for raw in desired.entry.schedules:
        kept = active.get(raw["slug"], raw["active"])
        yield DeploymentScheduleUpdate(schedule=_schedule(raw), active=kept, slug=raw["slug"])
    # With one among them that has no slug, the server replaces the whole list by the one it is given.
    for each in there.schedules:
        if not each.slug:
            yield DeploymentScheduleUpdate(
                schedule=each.schedule, active=each.active, parameters=each.parameters
            )


def _schedule(raw: Mapping[str, Any]) -> CronSchedule:
    return CronSchedule(cron=raw["cron"], timezone=raw["timezone"])
