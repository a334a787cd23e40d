"""Samples on their way into the repository: every hour that is over as one object, every day as another.

How far each day file has been published is remembered beside it. A clock that was set back makes a second
object of an hour, never another content of the first.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pra.disk import disk_errors
from pra.errors import ObjectExists, StorageError
from pra.layout import samples_key
from pra.storage.base import Storage
from pra.watch.samples import LocalSamples, day_of, pack
from pra.watch.status.record import write_whole

KEPT = timedelta(days=400)
"""How long this host keeps its own day files; what is published stays."""
_TRIES = 1000
_log = logging.getLogger(__name__)


@dataclass
class _Progress:
    """Bytes of each day file that are published."""

    path: Path
    offsets: dict[str, int]

    @classmethod
    def load(cls, path: Path) -> _Progress:
        try:
            raw = json.loads(path.read_text())
            offsets = {str(name): int(offset) for name, offset in raw.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            offsets = {}  # published once more, under the next number; a reader takes each sample once
        return cls(path, offsets)

    def reached(self, name: str, offset: int) -> None:
        self.offsets[name] = offset
        write_whole(self.path, json.dumps(self.offsets).encode())

    def forget(self, name: str) -> None:
        self.offsets.pop(name, None)
        write_whole(self.path, json.dumps(self.offsets).encode())


def publish(local: LocalSamples, storage: Storage, now: datetime) -> list[str]:
    """Publish every hour that is over, and close the days that are.

    Returns:
        The keys written.

    Raises:
        StorageError: The repository failed; what is left goes with the next pass.
        SpaceError: The state directory is full.
    """
    keys: list[str] = []
    with disk_errors("publish samples", local.folder):
        local.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with local.publishing() as alone:
            if not alone:
                return []
            progress = _Progress.load(local.folder / "published.json")
            for path in sorted(local.folder.glob("*.jsonl")):
                day = day_of(path)
                if day is None:
                    continue
                keys += _hours(local, storage, path, day, progress, now)
                if day < now.astimezone(UTC).date():
                    keys += _close(local, storage, path, day, progress)
            _drop_old(local, now)
    return keys


def _hours(
    local: LocalSamples, storage: Storage, path: Path, day: date, progress: _Progress, now: datetime
) -> list[str]:
    """The lines from where it was left, up to the first one whose hour is not over."""
    offset = progress.offsets.get(path.name, 0)
    rest = path.read_bytes()[offset:]
    hours: dict[int, list[bytes]] = {}
    for line in rest.splitlines(keepends=True):
        hour = _hour(line)
        if not line.endswith(b"\n") and day >= now.astimezone(UTC).date():
            break  # somebody may be writing it
        if hour is not None and datetime(day.year, day.month, day.day, hour, tzinfo=UTC) + _HOUR > now:
            break
        offset += len(line)
        if hour is not None:
            hours.setdefault(hour, []).append(line.strip())
    keys = [_create(storage, local.host, day, hour, lines) for hour, lines in sorted(hours.items())]
    if offset != progress.offsets.get(path.name, 0):
        progress.reached(path.name, offset)
    return keys


_HOUR = timedelta(hours=1)


def _hour(line: bytes) -> int | None:
    """None for a line that nobody could read."""
    try:
        return datetime.fromtimestamp(json.loads(line)["t"], UTC).hour
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return None


def _create(storage: Storage, host: str, day: date, hour: int | None, lines: Sequence[bytes]) -> str:
    data = pack(lines, host)
    for number in range(1, _TRIES):
        key = samples_key(host, day, hour, number)
        try:
            storage.create(key, data)
        except ObjectExists:
            if storage.read(key) == data:
                return key  # ours, of a try whose answer was lost
            continue
        return key
    raise StorageError(
        f"too many objects of one hour in {storage.name}", op="publish samples", transient=False
    )


def _close(local: LocalSamples, storage: Storage, path: Path, day: date, progress: _Progress) -> list[str]:
    """A day that is over: one object, which spares readers the hours; here, it stays compressed."""
    size = path.stat().st_size
    if progress.offsets.get(path.name) != size:
        return []
    lines = [line for line in local.lines(day) if _hour(line) is not None]
    keys = [_create(storage, local.host, day, None, lines)] if lines else []
    with local.locked():
        if path.stat().st_size == size:  # no clock was set back to that day meanwhile
            write_whole(path.with_name(f"{path.name}.zst"), pack(lines, local.host))
            path.unlink()
            progress.forget(path.name)
    return keys


def _drop_old(local: LocalSamples, now: datetime) -> None:
    for path in local.folder.glob("*.jsonl.zst"):
        day = day_of(path)
        if day is not None and day < (now - KEPT).date():
            path.unlink(missing_ok=True)
            _log.info("samples of %s are no longer kept here", day)
