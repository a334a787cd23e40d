"""Samples: what each status pass measured, kept for years. Appended here, published by the hour, read back.

Locally ``<state>/status/samples/<yyyy-mm-dd>.jsonl`` holds one line a pass::

    {"t":1795682406,"x":{"akig":{"v":{"database":3.1,"size":314572800},"w":["backup.local"]}}}

``t`` is the second of the pass (UTC, since 1970), ``x`` has one entry a target (``""``: this host), in which
``v`` holds the measurements and ``c``, ``w``, ``u`` name what was critical, a warning, unknown; an empty one
is left out. What was asked, is neither in ``v`` nor there, was well. A published object is the same lines
behind a first line ``{"schema":"pra/samples/1","host":"…"}``, compressed. Names, counts and times only.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

from pra.disk import disk_errors
from pra.errors import PraError, StorageError
from pra.layout import SamplesKey, samples_prefix, split_samples_key
from pra.storage.base import Storage
from pra.watch.status.finding import Level, StatusPass

SCHEMA = "pra/samples/1"
_LARGEST = 256 << 20
_LETTERS = {Level.CRITICAL: "c", Level.WARNING: "w", Level.UNKNOWN: "u"}
_READERS = 8
_MOMENT = re.compile(rb'\{"t":(\d{1,11}),')


class Sample(NamedTuple):
    """One target in one pass. A tuple: a year has several hundred thousand.

    Attributes:
        values: Measurements by the name of the finding, in its unit.
        critical, warning, unknown: Names of findings. What is in none of them was well.
    """

    at: datetime
    host: str
    target: str
    values: Mapping[str, float]
    critical: Sequence[str]
    warning: Sequence[str]
    unknown: Sequence[str]

    def level_of(self, name: str) -> Level:
        """Of one finding: ``ok`` also where it was not asked."""
        for level, names in ((Level.CRITICAL, self.critical), (Level.UNKNOWN, self.unknown)):
            if name in names:
                return level
        return Level.WARNING if name in self.warning else Level.OK


def line_of(done: StatusPass) -> bytes:
    """One pass as one line, its end included."""
    entries: dict[str, dict[str, Any]] = {}
    for target in done.targets:
        findings = done.of(target)
        entry: dict[str, Any] = {"v": {f.name: _short(f.value) for f in findings if f.value is not None}}
        for level, letter in _LETTERS.items():
            entry[letter] = sorted(f.name for f in findings if f.level is level)
        entries[target] = {key: value for key, value in entry.items() if value}
    document = {"t": int(done.at.timestamp()), "x": entries}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _short(value: float) -> float:
    return int(value) if value == int(value) else round(value, 4)


# -- on this host --------------------------------------------------------------------------------


class LocalSamples:
    """The day files of one host, below ``folder``. Several processes may append."""

    def __init__(self, folder: Path, host: str) -> None:
        self.folder, self.host = folder, host

    def append(self, done: StatusPass) -> None:
        """Durable when it returns. What a crash left half-written stays a line of its own.

        Raises:
            SpaceError, StorageError: The state directory cannot be written.
        """
        with disk_errors("append sample", self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self.folder / f"{done.at.astimezone(UTC):%Y-%m-%d}.jsonl"
            with self.locked(), path.open("ab+") as file:
                path.chmod(0o600)
                if file.tell() and _last_byte(file.fileno(), file.tell()) != b"\n":
                    file.write(b"\n")
                file.write(line_of(done))
                file.flush()
                os.fsync(file.fileno())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One at a time, over processes."""
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def publishing(self) -> Iterator[bool]:
        """Whether nobody else publishes; appending goes on meanwhile, however slow the repository is."""
        with (self.folder / ".publishing").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def days(self) -> dict[date, Path]:
        """By day, its file: as appended, or compressed once it was published whole."""
        found: dict[date, Path] = {}
        for path in sorted(self.folder.glob("*.jsonl*")):
            day = day_of(path)
            if day is not None and (day not in found or path.suffix == ".jsonl"):
                found[day] = path
        return found

    def lines(self, day: date) -> list[bytes]:
        """What is there of one day, compressed and appended alike; empty when there is nothing."""
        pieces: list[bytes] = []
        for name in (f"{day:%Y-%m-%d}.jsonl.zst", f"{day:%Y-%m-%d}.jsonl"):
            try:
                data = (self.folder / name).read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StorageError(
                    f"{name} cannot be read: {(error.strerror or 'unreadable').lower()}", op="read samples"
                ) from None
            pieces += unpack(data) if name.endswith(".zst") else data.splitlines()
        return pieces


def day_of(path: Path) -> date | None:
    """The day of a day file; None for any other name."""
    try:
        return datetime.strptime(path.name.split(".", 1)[0], "%Y-%m-%d").date()
    except ValueError:
        return None


def _last_byte(descriptor: int, length: int) -> bytes:
    return os.pread(descriptor, 1, length - 1)


# -- as stored -----------------------------------------------------------------------------------


def pack(lines: Iterable[bytes], host: str) -> bytes:
    """Lines (without their ends) as an object."""
    head = json.dumps({"schema": SCHEMA, "host": host}, separators=(",", ":")).encode()
    return zstandard.ZstdCompressor(level=6).compress(b"\n".join([head, *lines]) + b"\n")


def unpack(data: bytes) -> list[bytes]:
    """The lines of an object, its head apart. Raises StorageError when it is none, or of another schema."""
    try:
        if not 0 < zstandard.frame_content_size(data) <= _LARGEST:
            raise ValueError("a size that no samples have")
        lines = zstandard.ZstdDecompressor().decompress(data).splitlines()
        schema = json.loads(lines[0])["schema"]
    except (zstandard.ZstdError, ValueError, KeyError, IndexError, TypeError):
        raise StorageError("not an object of samples", op="read samples", transient=False) from None
    if schema != SCHEMA:
        raise StorageError(
            f"samples of another schema: {str(schema)[:40]}", op="read samples", transient=False
        )
    return lines[1:]


def parse(lines: Iterable[bytes], host: str) -> Iterator[Sample]:
    """The samples of lines; one that is half-written, or none of ours, is passed over."""
    for document in _documents(list(lines)):
        try:
            at = datetime.fromtimestamp(document["t"], UTC)
            for target, entry in document["x"].items():
                yield Sample(
                    at,
                    host,
                    target,
                    entry.get("v") or {},
                    entry.get("c") or (),
                    entry.get("w") or (),
                    entry.get("u") or (),
                )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError):
            continue


def _documents(lines: Sequence[bytes]) -> Iterator[Any]:
    """What is JSON among them. A day at once takes a third of the time of its lines one by one."""
    try:
        # With something between them that two halves cannot have between them and be a whole.
        found = json.loads(b"[%b]" % b",null,".join(lines))
        if len(found) == 2 * len(lines) - 1 and not any(found[1::2]):
            yield from found[::2]
            return
    except ValueError:
        pass  # one of them is none: each for itself, then
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue


def between(lines: Iterable[bytes], since: datetime, until: datetime) -> Iterator[bytes]:
    """The lines from ``since`` to ``until``, both included, told apart without reading them whole: a line of
    200 targets has 60 kB. One that does not begin as ours do is left for `parse` to judge.
    """
    first, last = since.timestamp(), until.timestamp()
    for line in lines:
        match = _MOMENT.match(line)
        if match is None or first - 1 <= int(match[1]) <= last:
            yield line


# -- reading back --------------------------------------------------------------------------------


def read(
    since: datetime,
    until: datetime,
    *,
    local: LocalSamples | None = None,
    storages: Sequence[Storage] = (),
    problems: list[str] | None = None,
) -> Iterator[Sample]:
    """Every sample from ``since`` up to, not including, ``until``, in order of time.

    What this host has itself is read here, everything else (other hosts', and what this host has lost) from
    the repositories. A sample that is in several places comes once.

    Args:
        problems: Gets a line for each object that could not be read; otherwise the first one is raised.

    Raises:
        StorageError: A repository does not answer.
    """
    days = _days(since, until)
    objects = _objects(storages, days, local)
    with ThreadPoolExecutor(_READERS, thread_name_prefix="samples") as pool:
        for day, coming in _ahead(days, objects, pool):
            yield from _day(day, since, until, local, coming, problems)


def _days(since: datetime, until: datetime) -> list[date]:
    first, last = since.astimezone(UTC).date(), until.astimezone(UTC).date()
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


_Found = tuple[Storage, SamplesKey]


def _objects(
    storages: Sequence[Storage], days: Sequence[date], local: LocalSamples | None
) -> dict[date, list[_Found]]:
    """By day, the objects to read: the whole day of a host where there is one, otherwise its hours."""
    wanted, own = set(days), set(local.days()) if local is not None else set()
    found: dict[date, list[_Found]] = {}
    for storage in storages:
        keys = [key for stat in storage.list(samples_prefix()) if (key := split_samples_key(stat.key))]
        whole = {(key.host, key.day) for key in keys if key.hour is None}
        for key in keys:
            here = local is not None and key.host == local.host and key.day in own
            if key.day in wanted and not here and (key.hour is None) == ((key.host, key.day) in whole):
                found.setdefault(key.day, []).append((storage, key))
    return found


_Coming = tuple[_Found, Future[bytes]]


def _ahead(
    days: Sequence[date], objects: Mapping[date, Sequence[_Found]], pool: ThreadPoolExecutor
) -> Iterator[tuple[date, list[_Coming]]]:
    """Each day with its objects, which are on their way: a far repository takes its time."""
    under_way: deque[tuple[date, list[_Coming]]] = deque()
    try:
        for day in days:
            found = objects.get(day, [])
            coming = [(one, pool.submit(one[0].read, one[1].key, limit=_LARGEST)) for one in found]
            under_way.append((day, coming))
            if len(under_way) > _READERS:
                yield under_way.popleft()
        while under_way:
            yield under_way.popleft()
    finally:  # who reads no further waits for no more than what is being read
        for _, coming in under_way:
            for _, future in coming:
                future.cancel()


def _day(
    day: date,
    since: datetime,
    until: datetime,
    local: LocalSamples | None,
    objects: Sequence[_Coming],
    problems: list[str] | None,
) -> list[Sample]:
    found: dict[tuple[datetime, str, str], Sample] = {}
    pieces: list[tuple[str, list[bytes]]] = []
    if local is not None:
        pieces.append((local.host, local.lines(day)))
    for (storage, key), coming in objects:
        pieces.append((key.host, _lines(storage, key, coming, problems)))
    for host, lines in pieces:
        for sample in parse(between(lines, since, until), host):
            if since <= sample.at < until:
                found.setdefault(sample[:3], sample)
    return sorted(found.values(), key=lambda sample: sample[:3])


def _lines(
    storage: Storage, key: SamplesKey, coming: Future[bytes], problems: list[str] | None
) -> list[bytes]:
    try:
        return unpack(coming.result())
    except PraError as error:
        if problems is None:
            raise
        problems.append(f"{key.key} in {storage.name}: {error.message}")
        return []
