"""The artifact ``start-here``: written by `pra deploy`, and by a status pass when something on it changed.

An artifact is kept each time it is written, so that it is not written every five minutes: a mark at its end
says what it showed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import (
    ArtifactCollectionFilter,
    ArtifactCollectionFilterKey,
    DeploymentFilter,
    DeploymentFilterName,
    DeploymentFilterTags,
)
from prefect.client.schemas.objects import ArtifactCollection
from prefect.runtime import deployment as this_deployment
from prefect.runtime import flow_run as this_run

from pra.messages import mark, translator
from pra.settings import Settings
from pra.timing import utc_now
from pra.watch.status.finding import StatusPass
from pra.watch.status.passing import latest
from tasks import start_here_page as pages
from tasks.start_here_page import Line, Page, Shown

KEY = "start-here"
DAILY = timedelta(days=1)
_PROOF, _DRILL = "verify", "drill"
_MARK = re.compile(r"<!-- ([0-9a-f]+) ([0-9a-f]+) -->")
_DESCRIPTION = mark("Is everything well, what to press for what, where to look")


def refresh(settings: Settings, done: StatusPass) -> bool:
    """After a status pass: write the page when something on it changed, or once a day.

    Returns:
        Whether it was written.
    """
    with get_client(sync_client=True) as client:
        return _write(client, settings, done, key_of(str(this_deployment.name or "")), deployed=False)


def introduce(client: SyncPrefectClient, settings: Settings, status: str) -> bool:
    """After deployments were written: the page has their addresses.

    Args:
        status: The name of the deployment that looks at everything: ``all``.

    Returns:
        Whether it was written.
    """
    return _write(client, settings, latest(settings), key_of(status), deployed=True)


def key_of(status: str) -> str:
    """A second installation on the same server has a page of its own, as it has a status deployment."""
    _all, _, digits = status.partition("-")
    return f"{KEY}-{digits}" if digits else KEY


def _write(
    client: SyncPrefectClient, settings: Settings, done: StatusPass | None, key: str, *, deployed: bool
) -> bool:
    lines, host = pages.facts_of(list(settings.targets), done)
    artifacts = _artifacts(client, key, [line.target for line in lines])
    page = Page(
        lines=tuple(_linked(line, artifacts) for line in lines),
        more=len(settings.targets) - len(lines),
        host=host,
        language=settings.language,
        runbook=settings.alerts.runbook,
    )
    before, facts = artifacts.get(key), pages.digest(page)
    known = _MARK.search(str(before.data or "")) if before else None
    fresh = before is not None and before.updated is not None and utc_now() - before.updated < DAILY
    same = fresh and known is not None and known[1] == facts
    if same and not deployed:
        return False
    press = _deployments(client, [line.target for line in lines])
    page = replace(page, lines=tuple(replace(x, press=press.get(x.target, {})) for x in page.lines))
    addresses = pages.digest_of_addresses(page)
    if same and known is not None and known[2] == addresses:
        return False
    text = pages.render(page, utc_now())
    client.create_artifact(
        ArtifactCreate(
            key=key,
            type="markdown",
            data=f"{text}\n<!-- {facts} {addresses} -->\n",
            description=translator(settings.language)(_DESCRIPTION),
            flow_run_id=UUID(this_run.id) if this_run.id else None,
        )
    )
    return True


def _linked(line: Line, artifacts: Mapping[str, ArtifactCollection]) -> Line:
    shown = [artifacts.get(f"{kind}-{line.target}") for kind in (_PROOF, _DRILL)]
    proof, drill = (
        Shown(str(each.latest_id), each.description or "", each.updated) if each and each.updated else None
        for each in shown
    )
    return replace(line, proof=proof, drill=drill)


def _artifacts(client: SyncPrefectClient, key: str, targets: Sequence[str]) -> dict[str, ArtifactCollection]:
    """The newest of each key: this page, proofs and drills."""
    keys = [key, *(f"{kind}-{target}" for target in targets for kind in (_PROOF, _DRILL))]
    chosen = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=keys))
    return {str(each.key): each for each in client.read_latest_artifacts(artifact_filter=chosen)}


def _deployments(client: SyncPrefectClient, targets: Sequence[str]) -> dict[str, dict[str, str]]:
    """The id of each deployment, by target and flow."""
    chosen = DeploymentFilter(
        name=DeploymentFilterName(any_=list(targets)), tags=DeploymentFilterTags(all_=["pra"])
    )
    flows = {flow.id: flow.name for flow in client.read_flows(deployment_filter=chosen)}
    found: dict[str, dict[str, str]] = {}
    for each in client.read_deployments(deployment_filter=chosen):
        found.setdefault(each.name, {})[flows.get(each.flow_id, "")] = str(each.id)
    return found
