"""Register the deployments of ``prefect.yaml``, each once a target, or once for all of them.

Imports Prefect: loaded by ``pra deploy``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import httpx
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.schedules import Cron
from prefect.settings import get_current_settings
from prefect.types.entrypoint import EntrypointType

from pra.errors import SettingsError, UnavailableError
from pra.settings import Settings

FILE = Path(__file__).parents[1] / "prefect.yaml"
PHYSICAL_ONLY = ("flows.dr_drill.dr_drill", "flows.emergency.failover")
MODEL = "akig"
"""The target for which prefect.yaml is written."""

Action = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True)
class Entry:
    """One deployment of prefect.yaml. ``schedules`` are as written there."""

    name: str
    entrypoint: str
    description: str
    tags: tuple[str, ...]
    parameters: Mapping[str, Any]
    work_pool: str
    concurrency_limit: Mapping[str, Any] | None
    schedules: tuple[Mapping[str, Any], ...]


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
            concurrency_limit=raw.get("concurrency_limit"),
            schedules=tuple(raw.get("schedules", ())),
        )
        for raw in yaml.safe_load(file.read_text())["deployments"]
    ]


def expanded(entries: Sequence[Entry], targets: Sequence[str]) -> list[Entry]:
    """Every deployment there is to be: one a target, and once what has no target since it is about all."""
    found: list[Entry] = []
    for entry in entries:
        found += [expand(entry, target) for target in targets] if "target" in entry.parameters else [entry]
    return found


def fits(entry: Entry, settings: Settings) -> bool:
    """Whether a deployment is of use to its target: drill and failover go to a moment, as dumps cannot."""
    target = entry.parameters.get("target")
    return entry.entrypoint not in PHYSICAL_ONLY or settings.targets[str(target)].engine == "physical"


def expand(entry: Entry, target: str) -> Entry:
    """The same deployment for another target."""
    return replace(
        entry,
        name=target,
        description=entry.description.replace(MODEL, target),
        tags=tuple(target if tag == MODEL else tag for tag in entry.tags),
        parameters={**entry.parameters, "target": target},
    )


@dataclass(frozen=True)
class Change:
    """What was done to one deployment (``flow/target``) or work pool: created, updated or unchanged.

    ``what`` names the fields that differed.
    """

    name: str
    action: Action
    what: tuple[str, ...] = ()


def deploy(settings: Settings, *, config: Path | None = None) -> list[Change]:
    """Create or update work pools and deployments; what is as it should be is not written.

    A schedule that was paused, and a deployment, stay paused: that was an operator's decision.

    Args:
        config: The file that runs shall read their settings from (``PRA_CONFIG``).

    Raises:
        UnavailableError: No Prefect API answers.
    """
    url = get_current_settings().api.url
    if not url:
        raise UnavailableError(
            "no Prefect API is configured", op="register deployments", hint="Set PREFECT_API_URL."
        )
    try:
        with get_client(sync_client=True) as client:
            entries = read_entries()
            pools = [_make_pool(client, pool) for pool in sorted({entry.work_pool for entry in entries})]
            wanted = [each for each in expanded(entries, list(settings.targets)) if fits(each, settings)]
            return pools + [_register(client, entry, config) for entry in wanted]
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        raise UnavailableError(
            f"the Prefect API at {url} failed with {type(error).__name__}",
            op="register deployments",
            hint="Start the Prefect server, then run: pra deploy",
        ) from error


def _register(client: SyncPrefectClient, entry: Entry, config: Path | None) -> Change:
    flow: Flow[..., Any] = load_flow_from_entrypoint(entry.entrypoint, use_placeholder_flow=False)
    name = f"{flow.name}/{entry.name}"
    wanted = _build(flow, entry, config)
    try:
        there = client.read_deployment_by_name(name)
    except ObjectNotFound:
        wanted.apply()
        return Change(name, "created")
    differing = _differences(there, wanted)
    if not differing:
        return Change(name, "unchanged")
    _keep_pauses(there, wanted)
    wanted.apply()
    return Change(name, "updated", differing)


def _build(flow: Flow[..., Any], entry: Entry, config: Path | None) -> RunnerDeployment:
    limit = entry.concurrency_limit
    return RunnerDeployment.from_flow(
        flow,
        entry.name,
        description=entry.description,
        tags=list(entry.tags),
        parameters=dict(entry.parameters),
        schedules=[
            Cron(each["cron"], timezone=each["timezone"], active=each["active"], slug=each["slug"])
            for each in entry.schedules
        ],
        concurrency_limit=ConcurrencyLimitConfig(**limit) if limit else None,
        work_pool_name=entry.work_pool,
        job_variables={"env": {"PRA_CONFIG": str(config)}} if config else {},
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _differences(there: DeploymentResponse, wanted: RunnerDeployment) -> tuple[str, ...]:
    """The fields that differ from what the server has."""
    limit = there.global_concurrency_limit
    options = there.concurrency_options
    pairs: dict[str, tuple[Any, Any]] = {
        "entrypoint": (there.entrypoint, wanted.entrypoint),
        "description": (there.description, wanted.description),
        "tags": (sorted(there.tags), sorted(wanted.tags)),
        "parameters": (there.parameters, wanted.parameters),
        "work pool": (there.work_pool_name, wanted.work_pool_name),
        "variables": (there.job_variables, wanted.job_variables),
        "concurrency limit": (limit.limit if limit else None, wanted.concurrency_limit),
        "collision strategy": (
            options.collision_strategy if options else None,
            wanted.concurrency_options.collision_strategy if wanted.concurrency_options else None,
        ),
        "form": (there.parameter_openapi_schema, _form(wanted)),
        "schedules": (_cron(there.schedules), _cron(wanted.schedules or [])),
    }
    return tuple(name for name, (is_there, is_wanted) in pairs.items() if is_there != is_wanted)


def _form(wanted: RunnerDeployment) -> dict[str, Any]:
    # As apply() sends it.
    return wanted._parameter_openapi_schema.model_dump(exclude_unset=True)


def _cron(schedules: Sequence[Any]) -> dict[str, tuple[str, str]]:
    return {each.slug: (each.schedule.cron, each.schedule.timezone) for each in schedules}


def _keep_pauses(there: DeploymentResponse, wanted: RunnerDeployment) -> None:
    active = {each.slug: each.active for each in there.schedules}
    for schedule in wanted.schedules or []:
        schedule.active = active.get(schedule.slug, schedule.active)


def _make_pool(client: SyncPrefectClient, name: str) -> Change:
    try:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    except ObjectAlreadyExists:
        return Change(f"work pool {name}", "unchanged")  # an operator may have tuned it
    return Change(f"work pool {name}", "created")
