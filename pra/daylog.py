"""Logs that operators follow with ``tail -F``: a file a day, a month of them here, each in a repository too.

A day's file is set aside under its date by whoever writes first on the next, and archived by the next status
pass. Lines hold names, counts, times and errors' messages, as alerts do: never a row's value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import zstandard

from pra.disk import disk_errors
from pra.errors import ObjectExists, StorageError
from pra.layout import log_key
from pra.storage.base import Storage
from pra.storage.files import locked

KEPT = timedelta(days=31)
LOCK_SECONDS = 10.0
"""For another that writes a few lines: whoever holds the log longer was stopped, or waits for a disk."""
_SENT = ".archived"
_TRIES = 1000


def folder_of(state_dir: Path) -> Path:
    return state_dir / "logs"


def append(state_dir: Path, name: str, lines: Sequence[str], now: datetime) -> None:
    """Add lines to ``<name>.log``.

    Raises:
        SpaceError, StorageError: The state directory cannot be written.
    """
    folder = folder_of(state_dir)
    with disk_errors("write log", folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{name}.log"
        with _alone(folder, name):
            _rotate(path, now)
            with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                path.chmod(0o600)
                file.write("".join(f"{line}\n" for line in lines))


def _rotate(path: Path, now: datetime) -> None:
    """Set yesterday's aside. Never over another: a clock that was set back makes no second file of a day."""
    try:
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
    except FileNotFoundError:
        return
    aside = path.with_name(f"{path.stem}-{written:%Y-%m-%d}.log")
    if written < now.astimezone(UTC).date() and not aside.exists():
        path.rename(aside)
    for old, day in _set_aside(path.parent, path.stem):
        if day < (now - KEPT).date():
            old.unlink(missing_ok=True)
            _sent_mark(old).unlink(missing_ok=True)


def _set_aside(folder: Path, name: str) -> list[tuple[Path, date]]:
    """The files of days that are over, with their days, the oldest first."""
    found = []
    for path in sorted(folder.glob(f"{name}-*.log")):
        try:
            day = datetime.strptime(path.stem.removeprefix(f"{name}-"), "%Y-%m-%d").replace(tzinfo=UTC).date()
        except ValueError:
            continue
        found.append((path, day))
    return found


def archive(state_dir: Path, names: Sequence[str], host: str, storage: Storage) -> list[str]:
    """Publish every day that is over and was not yet. Returns the keys.

    Raises:
        StorageError: The repository failed; what is left goes with the next pass.
        SpaceError: The state directory is full.
    """
    folder, keys = folder_of(state_dir), []
    with disk_errors("archive logs", folder):
        for name in names:
            for path, day in _set_aside(folder, name):
                if not _sent_mark(path).exists():
                    keys.append(_publish(storage, host, day, name, path.read_bytes()))
                    _sent_mark(path).touch(mode=0o600)
    return keys


def _sent_mark(path: Path) -> Path:
    return path.with_name(f".{path.name}{_SENT}")


def _publish(storage: Storage, host: str, day: date, name: str, data: bytes) -> str:
    """Once: bytes that are there already, of a try whose answer was lost, are not written again."""
    for number in range(1, _TRIES):
        key = log_key(host, day, name, number)
        try:
            storage.create(key, zstandard.compress(data))
        except ObjectExists:
            if not _holds(storage, key, data):
                continue
        return key
    raise StorageError(f"too many logs of one day in {storage.name}", op="archive logs", transient=False)


def _holds(storage: Storage, key: str, data: bytes) -> bool:
    try:
        return zstandard.decompress(storage.read(key)) == data
    except zstandard.ZstdError:
        return False


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    with locked(folder / f".{name}.lock", LOCK_SECONDS):
        yield
