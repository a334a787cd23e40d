"""The directories of spools.

A run is a directory with a locked file in it. The lock dies with the process, so that what a killed
run left behind can be told from what another run is using.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from pra.errors import StorageError
from pra.storage.files import try_lock

_RUN = "run-"
_BEING_MADE = ".new-"
_MAKING = timedelta(minutes=1)
_LOCK = "lock"


def sweep(root: Path, older_than: timedelta) -> list[str]:
    """Remove what dead runs left below ``root``; returns the names of the directories that went.

    A run whose process lives is never touched, whatever its age.

    Args:
        older_than: Leave alone what changed more recently.
    """
    swept: list[str] = []
    if not root.is_dir():
        return swept
    for folder in sorted(root.iterdir()):
        # Between mkdir and lock a new run is without protection but for its age.
        least = max(older_than, _MAKING) if folder.name.startswith(_BEING_MADE) else older_than
        if folder.name.startswith((_RUN, _BEING_MADE)) and _is_dead(folder, least):
            shutil.rmtree(folder, ignore_errors=True)
            swept.append(folder.name)
    return swept


def _is_dead(folder: Path, older_than: timedelta) -> bool:
    with suppress(FileNotFoundError):  # it ended while we look
        if time.time() - folder.stat().st_mtime < older_than.total_seconds():
            return False
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            return try_lock(descriptor)
        finally:
            os.close(descriptor)
    return False


def make_run(root: Path) -> tuple[Path, int]:
    """A new run's directory, 0700, and the descriptor that holds its lock.

    It carries its final name only once it is locked.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{os.getpid()}-{secrets.token_hex(4)}"
    made = root / f"{_BEING_MADE}{name}"
    made.mkdir(mode=0o700)
    descriptor = os.open(made / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not try_lock(descriptor):
        raise StorageError(f"{made.name} was taken by another run", op="spool")
    return made.rename(root / f"{_RUN}{name}"), descriptor
