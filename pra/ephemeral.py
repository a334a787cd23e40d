"""Folders that belong to one living process, and are removed by the next one when it died."""

from __future__ import annotations

import fcntl
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK = "owner.lock"
_YOUNG_SECONDS = 60.0  # a folder this young without a lock is still being made


def _nothing(folder: Path) -> None:
    return None


@contextmanager
def ephemeral(root: Path, prefix: str) -> Iterator[Path]:
    """A new 0700 folder ``<root>/<prefix>xxxxxxxx``, removed on leaving, whatever happened.

    Its lock is held while this process lives: the kernel drops it however the process dies.
    """
    folder = root / f"{prefix}{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    try:
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(root: Path, prefix: str, before_removal: Callable[[Path], None] = _nothing) -> list[Path]:
    """Remove folders whose owner is dead, calling ``before_removal`` on each first. Returns them."""
    removed: list[Path] = []
    for folder in sorted(root.glob(f"{prefix}*")):
        try:
            with (folder / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder, before_removal)
                removed.append(folder)
        except BlockingIOError:
            continue  # its owner lives
        except FileNotFoundError:
            if _age(folder) > _YOUNG_SECONDS:
                _remove(folder, before_removal)
                removed.append(folder)
    return removed


def _remove(folder: Path, before_removal: Callable[[Path], None]) -> None:
    before_removal(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _age(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0  # somebody else has just removed it
