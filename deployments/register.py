"""`pra deploy`: work pools, deployments, automations and the page to start from, as pra.toml has them.

Imports Prefect: loaded when asked for. What is as it should be is not written; what an operator decided in
the interface stays: a pause, a schedule of their own, a pool's slots, an automation that is switched off.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import DeploymentSort
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from deployments import automations, desired, entries, pools, spread
from deployments.change import Change
from deployments.desired import Desired, owner_of
from deployments.entries import ALL, Entry
from deployments.zones import zones_at_hand
from pra.errors import UnavailableError, UsageError
from pra.settings import Settings
from tasks import start_here

_PAGE = 200
"""The server gives no more at once."""
_STATUS = "status"
_UNWATCHED = {_STATUS, "metrics"}
"""Flows whose failure brings no look at everything: the look itself, and a measurement."""
_OURS = re.compile(r"flows\.[a-z_.]+")
_ABOUT_ALL = re.compile(rf"{ALL}(-[0-9a-f]{{6}})?")

There = Mapping[str, DeploymentResponse]
"""What the server has, by ``flow/name``."""


def deploy(settings: Settings, *, config: Path | None = None, take_over: bool = False) -> list[Change]:
    """Bring the server to what pra.toml says, in as many writes as there are differences.

    Deployments of targets that left go, with their schedules: those that were registered from the same
    settings' file, and no others.

    Args:
        config: The file that runs shall read their settings from (``PRA_CONFIG``). By it an installation
            knows its own: without one nothing is ever removed.
        take_over: Make another installation's deployments of our targets ours.

    Raises:
        UnavailableError: No Prefect API answers.
        UsageError: Another installation, or somebody else, has a deployment under the name of one of ours;
            nothing was written.
    """
    url = get_current_settings().api.url
    if not url:
        raise UnavailableError(
            "no Prefect API is configured", op="register deployments", hint="Set PREFECT_API_URL."
        )
    owner = str(config) if config else None
    try:
        with zones_at_hand(), get_client(sync_client=True) as client:
            return list(_deploy(client, settings, owner, take_over=take_over))
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        raise UnavailableError(
            f"the Prefect API at {url} failed with {type(error).__name__}",
            op="register deployments",
            hint="Start the Prefect server, then run: pra deploy",
        ) from error


def _deploy(
    client: SyncPrefectClient, settings: Settings, owner: str | None, *, take_over: bool
) -> Iterator[Change]:
    there = _read(client)
    wanted = [Desired(entry, owner) for entry in planned(settings, there, owner, take_over=take_over)]
    _refuse_strange(there, wanted)
    if not take_over:
        _refuse_foreign(there, wanted)
    yield from pools.make(client)
    flow_ids = {name: client.create_flow_from_name(name) for name in sorted({each.flow for each in wanted})}
    # One after the other: the server is one process and SQLite takes one writer; four were no faster.
    for each in wanted:
        yield _put(client, flow_ids[each.flow], there.get(each.name), each)
    for name in sorted(leaving(there, {each.name for each in wanted}, owner)):
        client.delete_deployment(there[name].id)
        yield Change(name, "removed")
    for status in [each for each in wanted if each.flow == _STATUS]:
        yield from automations.upsert(client, _automations(client, status, wanted))
        start_here.introduce(client, settings, status.entry.name)


def planned(settings: Settings, there: There, owner: str | None, *, take_over: bool = False) -> list[Entry]:
    """Every deployment that pra.toml asks for, at its own minute. Pure.

    What is about all targets is called ``all``; where another installation on this server has that name, or
    somebody else, ``all-`` and six digits that stand for our settings' file.
    """
    everything = entries.expanded(entries.read_entries(), list(settings.targets))
    found = spread.spread([entry for entry in everything if entries.fits(entry, settings)])
    taken = {
        name for name, each in there.items() if _is_strange(each) or (not take_over and _foreign(each, owner))
    }
    return [
        replace(entry, name=f"{ALL}-{_digits(owner)}")
        if entry.target is None and f"{desired.load(entry.entrypoint)[0]}/{ALL}" in taken
        else entry
        for entry in found
    ]


def _digits(owner: str | None) -> str:
    return hashlib.sha256((owner or "").encode()).hexdigest()[:6]


def leaving(there: There, wanted: set[str], owner: str | None) -> list[str]:
    """What an earlier `pra deploy` of this installation made, and nothing asks for any more. Pure.

    A copy that an operator made in the interface is not called after its target, and stays.
    """
    return [
        name
        for name, each in there.items()
        if name not in wanted and owner is not None and owner_of(each) == owner and _is_made_here(each)
    ]


def _is_made_here(there: DeploymentResponse) -> bool:
    target = (there.parameters or {}).get("target")
    named = there.name == target if target is not None else bool(_ABOUT_ALL.fullmatch(there.name))
    return named and bool(_OURS.fullmatch(there.entrypoint or ""))


def _foreign(there: DeploymentResponse, owner: str | None) -> bool:
    return owner_of(there) not in (None, owner)


def _is_strange(there: DeploymentResponse) -> bool:
    """Made by a person or by another program: it runs no flow of ours."""
    return owner_of(there) is None and not _OURS.fullmatch(there.entrypoint or "")


def _refuse_strange(there: There, wanted: Iterable[Desired]) -> None:
    for each in wanted:
        found = there.get(each.name)
        if found is not None and _is_strange(found):
            raise UsageError(
                f"{each.name} is a deployment of somebody else: it runs {found.entrypoint or 'another flow'}",
                op="register deployments",
                hint="Rename the target, or that deployment; or use a Prefect server for PRA alone.",
            )


def _refuse_foreign(there: There, wanted: Iterable[Desired]) -> None:
    for each in wanted:
        found = there.get(each.name)
        if found is not None and _foreign(found, each.owner):
            raise UsageError(
                f"{each.name} belongs to the installation of {owner_of(found)}",
                op="register deployments",
                hint="If that file is now this one, run: pra deploy --take-over; else rename the target.",
            )


def _read(client: SyncPrefectClient) -> There:
    """Everything that is registered, a page at a time: a request for each would take minutes.

    By the moment of their making. The server's own order is by name, which all deployments of a target share:
    with equals in no order, PostgreSQL may leave one out between two pages, and it would be made anew.
    """
    flows = {flow.id: flow.name for page in _paged(client.read_flows) for flow in page}
    return {
        f"{flows.get(each.flow_id, '?')}/{each.name}": each
        for page in _paged(partial(client.read_deployments, sort=DeploymentSort.CREATED_DESC))
        for each in page
    }


def _paged[T](read: Callable[..., list[T]]) -> Iterator[list[T]]:
    offset = 0
    while page := read(limit=_PAGE, offset=offset):
        yield page
        offset += len(page)


def _put(
    client: SyncPrefectClient, flow_id: UUID, there: DeploymentResponse | None, wanted: Desired
) -> Change:
    if there is None:
        desired.create(client, flow_id, wanted)
        return Change(wanted.name, "created")
    differing = desired.differences(there, wanted)
    if not differing:
        return Change(wanted.name, "unchanged")
    desired.update(client, there, wanted, differing)
    return Change(wanted.name, "updated", differing)


def _automations(
    client: SyncPrefectClient, status: Desired, wanted: Iterable[Desired]
) -> list[AutomationCore]:
    there = client.read_deployment_by_name(status.name)
    return automations.wanted(status.name, there.id, {each.flow for each in wanted} - _UNWATCHED)
