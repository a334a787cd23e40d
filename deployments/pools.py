"""The three work pools: made where they are missing, completed where nobody ever tuned them.

Imports Prefect.
"""

from __future__ import annotations

from dataclasses import dataclass

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from deployments.change import Change


@dataclass(frozen=True)
class Pool:
    """``slots``: how many of its runs go on at once. ``queue_slots``: the same of its default queue alone."""

    name: str
    description: str
    slots: int | None = None
    queue_slots: int | None = None


POOLS = (
    Pool(
        "backup",
        "Takes backups. Its worker has the age recipients, a signing key, and may write to the repositories.",
        slots=4,
    ),
    Pool(
        "verify",
        "Proves, watches, rehearses. Its worker has the age identity, reads repositories, writes evidence.",
        # Restores fill disks and processors. Not a limit of the pool: status would wait behind them.
        queue_slots=2,
    ),
    Pool(
        "emergency",
        "The real day. Its worker has all keys and is normally stopped; start it when a run waits for it.",
    ),
)
_DEFAULT_QUEUE = "default"


def make(client: SyncPrefectClient) -> list[Change]:
    """Create or complete them. One that has a description or a limit is as an operator wants it."""
    return [_make(client, pool) for pool in POOLS]


def _make(client: SyncPrefectClient, pool: Pool) -> Change:
    there = _read(client, pool.name)
    if there is not None and (there.description or there.concurrency_limit is not None):
        return Change(f"work pool {pool.name}", "unchanged")
    if there is None:
        try:
            client.create_work_pool(WorkPoolCreate(name=pool.name, type="process"))
        except ObjectAlreadyExists:
            return _make(client, pool)  # a worker that started this moment made it
        done = Change(f"work pool {pool.name}", "created")
    else:
        # Made by a worker that was started before anything was deployed.
        done = Change(f"work pool {pool.name}", "updated", ("description", "slots"))
    _complete(client, pool)
    return done


def _read(client: SyncPrefectClient, name: str) -> WorkPool | None:
    try:
        return client.read_work_pool(name)
    except ObjectNotFound:
        return None


def _complete(client: SyncPrefectClient, pool: Pool) -> None:
    if pool.queue_slots is not None:
        client.request(
            "PATCH",
            "/work_pools/{work_pool_name}/queues/{name}",
            path_params={"work_pool_name": pool.name, "name": _DEFAULT_QUEUE},
            json={"concurrency_limit": pool.queue_slots},
        )
    # The description last: by it the pool counts as done.
    completed = WorkPoolUpdate(description=pool.description, concurrency_limit=pool.slots)
    client.update_work_pool(pool.name, completed)
