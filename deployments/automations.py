"""Automations of Prefect's server that help along: made or brought up to date by name. Imports Prefect.

None is relied upon. A run that fails alerts by itself, and the status pass, every five minutes, reads the
repositories: what an automation misses is noticed without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture

from deployments.change import Change

SILENCE = timedelta(minutes=10)
"""A run sends a sign of life every three minutes (PREFECT_FLOWS_HEARTBEAT_FREQUENCY): three in a row are
missing. Longer than a server takes to be started again, which would find every run silent."""
PAUSE = timedelta(minutes=1)
"""After one look, the failures of the next minute bring no other."""
_RUN = "prefect.flow-run."
# Events are named after states, and ours have names of their own.
_BAD = ("Crashed", "Failed", "Fail", "Partial", "TimedOut")
_RUNS: dict[str, str | list[str]] = {"prefect.resource.id": f"{_RUN}*"}
_OURS: dict[str, str | list[str]] = {
    "prefect.resource.role": "tag",
    "prefect.resource.id": "prefect.tag.pra",
}


def wanted(
    status: str, status_id: UUID, flows: Iterable[str], *, silence: timedelta = SILENCE
) -> list[AutomationCore]:
    """Every automation there is to be.

    Args:
        status: The deployment that looks at everything, as ``status/all``.
        status_id: Its id.
        flows: Whose failure brings a look. Not the status flow: its own would bring the next.
        silence: How long a run may give no sign of life.
    """
    return [_look_at_everything(status, status_id, flows), _end_silent_runs(silence)]


def _look_at_everything(status: str, status_id: UUID, flows: Iterable[str]) -> AutomationCore:
    return AutomationCore(
        name=f"pra: look at everything when a run fails ({status})",
        description=(
            "A bonus, never relied upon: the failed run alerts by itself, and a status pass looks every "
            "five minutes anyway. This one only makes it look at once."
        ),
        trigger=EventTrigger(
            match=_RUNS,
            # Both have to be there: of our tag, and of one of these flows.
            match_related=[_OURS, {"prefect.resource.role": "flow", "prefect.resource.name": sorted(flows)}],
            expect={f"{_RUN}{name}" for name in _BAD},
            posture=Posture.Reactive,
            threshold=1,
            within=PAUSE,
        ),
        actions=[
            RunDeployment(source="selected", deployment_id=status_id, parameters=None, job_variables=None)
        ],
    )


def _end_silent_runs(silence: timedelta) -> AutomationCore:
    return AutomationCore(
        name="pra: a run that gives no sign of life has crashed",
        description=(
            "A bonus, never relied upon: a run whose process was killed stays Running and keeps its "
            "slot, so that the next one waits. This ends it as Crashed. What it had not finished is in "
            "no repository; what it had finished stays."
        ),
        trigger=EventTrigger(
            match=_RUNS,
            match_related=_OURS,
            for_each={"prefect.resource.id"},
            after={f"{_RUN}heartbeat"},
            # Any event of the run, whatever its last state is called: Partial and Fail are ours alone.
            expect={f"{_RUN}*"},
            posture=Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name=None,
                force=False,
                message=f"it gave no sign of life for {silence.total_seconds() / 60:g} minutes: its "
                "process was killed, or its machine is gone. Look at the worker's log",
            )
        ],
    )


def upsert(client: SyncPrefectClient, automations: Sequence[AutomationCore]) -> list[Change]:
    """Create or update by name; what is as it should be is not written. One switched off stays off."""
    return [_upsert(client, automation) for automation in automations]


def _upsert(client: SyncPrefectClient, automation: AutomationCore) -> Change:
    name = f"automation {automation.name}"
    there = next(iter(client.read_automations_by_name(automation.name)), None)
    if there is None:
        client.create_automation(automation)
        return Change(name, "created")
    present, mine = _comparable(there), _comparable(automation)
    differing = tuple(key for key in mine if mine[key] != present[key])
    if not differing:
        return Change(name, "unchanged")
    # Read back from its own dump, every field counts as set: what is not set is not sent, types included.
    # But for the owner, of which an update will not hear. Whether it is on is an operator's decision.
    said = automation.model_dump(exclude={"owner_resource"}) | {"enabled": there.enabled}
    changed = AutomationCore.model_validate(said)
    client.update_automation(there.id, changed)
    return Change(name, "updated", differing)


def _comparable(automation: Automation | AutomationCore) -> dict[str, Any]:
    fields = {"description", "trigger", "actions"}
    found = AutomationCore.model_dump(automation, mode="json", include=fields)
    return {name: _sorted(value) for name, value in found.items()}


def _sorted(value: Any) -> Any:
    """Sets come as lists in any order."""
    if isinstance(value, dict):
        return {key: _sorted(each) for key, each in sorted(value.items())}
    if isinstance(value, list):
        return sorted((_sorted(each) for each in value), key=str)
    return value
