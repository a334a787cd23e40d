"""The steps of a backup as tasks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.logging import get_run_logger

from pra.errors import PraError
from pra.manifest import Manifest
from pra.model import PublishResult
from pra.procedures import backup, expiry, publishing
from pra.procedures.backup import BackupReport, Outcome, Ready
from pra.storage.spool import Spool
from tasks.step import Handle, red, step
from tasks.work import Work


def repositories(work: Work) -> list[str]:
    return list(work.held.repositories)


@step("preflight")
def preflight(work: Work, accept_new_server: bool, full: bool) -> Handle[Ready]:
    ready = backup.preflight(work.held, accept_new_server=accept_new_server, full=full)
    for line in (*ready.gaps, *ready.warnings):
        get_run_logger().warning("%s", line)
    return Handle(ready)


# A retry is another attempt under a new id; the publishers forget the one before.
@step("take", retries=backup.TAKE_TRIES - 1)
def take(work: Work, ready: Handle[Ready], spool: Handle[Spool]) -> Handle[Manifest]:
    manifest = backup.take(work.held, ready.held, spool.held)
    get_run_logger().info(
        "%s: %d objects, %d bytes", manifest.backup_id, len(manifest.objects), manifest.bytes
    )
    if manifest.physical is not None and manifest.physical.full_reason:
        get_run_logger().info("a full backup, since %s", manifest.physical.full_reason)
    return Handle(manifest)


@step("publish", run_name="publish to {repository}", retries=0)
def publish(work: Work, spool: Handle[Spool], repository: str) -> Handle[PublishResult]:
    """Uploads are retried inside the storage; what a repository refuses is a result, not an exception."""
    result = backup.publish(work.held, spool.held, repository)
    if result.ok:
        return Handle(result)
    return red(Handle(result), str(PraError(result.error, hint=result.hint)))


def refused_everywhere(spool: Handle[Spool]) -> bool:
    """Every repository failed, which ended the reading too: not the database's fault."""
    return spool.held.deserted


@step("catch up", run_name="catch up {repository}")
def catch_up(work: Work, repository: str) -> list[str]:
    return publishing.catch_up(work.held, repository)


@step("expire", run_name="expire in {repository}")
def expire(work: Work, repository: str) -> list[str]:
    return expiry.expire_names(work.held, repository)


@contextmanager
def tolerating(work: Work, outcome: Outcome, phase: str, repository: str) -> Iterator[None]:
    """House-keeping that fails shows in red and becomes a warning: what was published stays published."""
    with backup.tolerating(work.held, outcome, phase, repository):
        yield


def describe(work: Work, manifest: Handle[Manifest], ready: Handle[Ready], outcome: Outcome) -> BackupReport:
    for line in outcome.warnings:
        get_run_logger().warning("%s", line)
    done = backup.make_report(work.held, manifest.held, ready.held, outcome, work.seconds)
    backup.note(work.held, done)
    return done


__all__ = [
    "Outcome",
    "catch_up",
    "describe",
    "expire",
    "preflight",
    "publish",
    "refused_everywhere",
    "repositories",
    "take",
    "tolerating",
]
