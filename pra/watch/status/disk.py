"""How full disks are: the worker's own, and those of local repositories."""

from __future__ import annotations

import os
from pathlib import Path

from pra.limited import TimedOut, within
from pra.settings import Settings, Status
from pra.side_by_side import side_by_side
from pra.storage import open_storage
from pra.storage.local import LocalStorage
from pra.watch.status.aim import size
from pra.watch.status.finding import HOST, Finding, Level


def space(
    status: Status, name: str, target: str, folder: Path, what: str, *, optional: bool = False
) -> list[Finding]:
    """How much of the disk below a folder is free.

    Args:
        optional: Where it cannot be looked at, nothing is said.
    """
    try:
        found = os.statvfs(folder)
    except OSError as error:
        if optional:
            return []
        fact = f"{what} cannot be looked at: {(error.strerror or type(error).__name__).lower()}"
        return [
            Finding(name, target, Level.UNKNOWN, fact, hint=f"Check that {folder} exists and is mounted.")
        ]
    if not found.f_blocks:
        return []  # a file system without a size, such as an overlay of nothing
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    share = round(free / total, 4)
    fact = f"{what} has {size(free)} free, {share:.0%}"
    level = _level(status, share)
    hint = f"Free space on the disk of {folder}, or enlarge it." if level is not Level.OK else ""
    return [Finding(name, target, level, fact, share, "share", hint=hint)]


def _level(status: Status, share: float) -> Level:
    if share < status.disk_critical:
        return Level.CRITICAL
    return Level.WARNING if share < status.disk_warning else Level.OK


def worker(settings: Settings) -> list[Finding]:
    """State directory, sandboxes and local repositories. A mount that hangs hides none of the others."""
    disks = [
        ("disk.state", settings.state_dir, "the state directory's disk"),
        ("disk.sandbox", sandboxes(settings), "the sandboxes' disk"),
    ]
    for repository in settings.repositories.values():
        if repository.url.startswith("file://"):
            storage = open_storage(repository)
            assert isinstance(storage, LocalStorage)
            what = f"the disk of repository {repository.name}"
            disks.append((f"disk.{repository.name}", storage.root, what))
    limit = settings.status.limit.total_seconds() / 2

    def look(disk: tuple[str, Path, str]) -> list[Finding]:
        name, folder, what = disk
        try:
            return within(limit, lambda: space(settings.status, name, HOST, folder, what))
        except TimedOut as error:
            fact, hint = f"{what}: {error}", f"Check the mount of {folder}."
            return [Finding(name, HOST, Level.UNKNOWN, fact, hint=hint)]

    return [finding for found in side_by_side(look, disks) for finding in found]


def sandboxes(settings: Settings) -> Path:
    """Where they would be: nothing is made here."""
    root = settings.sandbox.dir
    if root is None:
        root = Path("/var/tmp") if os.geteuid() == 0 else settings.state_dir
    while not root.exists() and root != root.parent:
        root = root.parent
    return root


def covers(settings: Settings) -> tuple[str, ...]:
    local = (r.name for r in settings.repositories.values() if r.url.startswith("file://"))
    return ("disk.state", "disk.sandbox", *(f"disk.{name}" for name in local))
