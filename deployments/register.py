"""Register the deployments of ``prefect.yaml``, once a target. Imports Prefect: loaded by ``pra deploy``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists, PrefectHTTPStatusError
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.schedules import Cron
from prefect.settings import get_current_settings
from prefect.types.entrypoint import EntrypointType

from pra.errors import SettingsError, UnavailableError
from pra.settings import Settings

FILE = Path(__file__).parents[1] / "prefect.yaml"
MODEL = "akig"
"""The target for which prefect.yaml is written."""


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


def expand(entry: Entry, target: str) -> Entry:
    """The same deployment for another target."""
    return Entry(
        name=target,
        entrypoint=entry.entrypoint,
        description=entry.description.replace(MODEL, target),
        tags=tuple(target if tag == MODEL else tag for tag in entry.tags),
        parameters={**entry.parameters, "target": target},
        work_pool=entry.work_pool,
        concurrency_limit=entry.concurrency_limit,
        schedules=entry.schedules,
    )


def deploy(settings: Settings, *, config: Path | None = None) -> list[str]:
    """Create or update work pools and deployments; doing it again changes nothing.

    Args:
        config: The file that runs shall read their settings from (``PRA_CONFIG``).

    Returns:
        The deployments' names, ``flow/target``.

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
            for pool in sorted({entry.work_pool for entry in entries}):
                _make_pool(client, pool)
        return [name for entry in entries for name in _for_targets(entry, settings, config)]
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        raise UnavailableError(
            f"the Prefect API at {url} failed with {type(error).__name__}",
            op="register deployments",
            hint="Start the Prefect server, then run: pra deploy",
        ) from error


def _for_targets(entry: Entry, settings: Settings, config: Path | None) -> Iterator[str]:
    flow: Flow[..., Any] = load_flow_from_entrypoint(entry.entrypoint, use_placeholder_flow=False)
    variables = {"PRA_CONFIG": str(config)} if config else {}
    for target in settings.targets:
        this = expand(entry, target)
        limit = this.concurrency_limit
        deployment = RunnerDeployment.from_flow(
            flow,
            this.name,
            description=this.description,
            tags=list(this.tags),
            parameters=dict(this.parameters),
            schedules=[
                Cron(each["cron"], timezone=each["timezone"], active=each["active"], slug=each["slug"])
                for each in this.schedules
            ],
            concurrency_limit=ConcurrencyLimitConfig(**limit) if limit else None,
            work_pool_name=this.work_pool,
            job_variables={"env": variables} if variables else None,
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        deployment.apply()
        yield f"{flow.name}/{target}"


def _make_pool(client: SyncPrefectClient, name: str) -> None:
    try:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    except ObjectAlreadyExists:
        return  # as it should be: an operator may have changed it
