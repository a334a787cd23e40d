"""Bring a backup here: every object read, verified against the manifest, decrypted and unpacked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from pra import errors
from pra.engines.logical import FINGERPRINT, GLOBALS, Report, no_report
from pra.engines.unpacker import LENGTH, receive
from pra.errors import IntegrityError, PraError
from pra.manifest import Manifest
from pra.model import StoredObject
from pra.postgres.fingerprint import Fingerprint
from pra.proc import Scope
from pra.storage.base import Storage

SMALL_BYTES = 32 << 20
"""Below this much to decrypt, starting processes for it costs more than it saves."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Fetched:
    """A backup's content on this machine, in clear, inside a 0700 folder."""

    directory: Path
    fingerprint: Fingerprint
    bytes: int

    @property
    def dump(self) -> Path:
        return self.directory / "dump"

    @property
    def globals(self) -> Path:
        return self.directory / GLOBALS


def fetch(
    storage: Storage,
    key_of: Callable[[str], str],
    manifest: Manifest,
    directory: Path,
    *,
    scope: Scope,
    identities: Sequence[str],
    jobs: int = 2,
    report: Report = no_report,
    small_bytes: int = SMALL_BYTES,
) -> Fetched:
    """Bring every object, verify it against the manifest, decrypt and unpack it.

    Args:
        key_of: Gives an object's key from its name.
        directory: An existing, empty 0700 folder.
        small_bytes: Up to this size all is done in this process, beyond by `jobs` others.

    Raises:
        IntegrityError: An object is not what was signed; the message names it.
        DecryptError: No identity opens it.
        StorageError: The repository failed. SpaceError: The disk is full.
    """
    (directory / "dump").mkdir(mode=0o700)
    progress = _Progress(manifest.bytes, report)
    waiting: queue.SimpleQueue[StoredObject] = queue.SimpleQueue()
    for stored in sorted(manifest.objects, key=lambda stored: -stored.bytes):
        waiting.put(stored)

    def here() -> None:
        for stored in _each(waiting):
            with storage.open(key_of(stored.name)) as raw:
                receive(raw, stored, directory, identities)
            progress.add(stored.bytes)

    def beside() -> None:
        with _Unpacker(scope, directory, identities) as unpacker:
            for stored in _each(waiting):
                with storage.open(key_of(stored.name)) as raw:
                    unpacker.take(raw, stored)
                progress.add(stored.bytes)

    def work() -> None:
        try:
            here() if manifest.bytes <= small_bytes else beside()
        except BaseException:
            _empty(waiting)  # what has failed once is not worth reading on for
            raise

    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="fetch") as pool:
        for future in [pool.submit(work) for _ in range(jobs)]:
            future.result()
    return Fetched(directory, read_fingerprint(directory / FINGERPRINT, manifest), manifest.bytes)


def _each(waiting: queue.SimpleQueue[StoredObject]) -> Iterator[StoredObject]:
    while True:
        try:
            yield waiting.get_nowait()
        except queue.Empty:
            return


def _empty(waiting: queue.SimpleQueue[StoredObject]) -> None:
    for _ in _each(waiting):
        pass


class _Progress:
    def __init__(self, total: int, report: Report) -> None:
        self._lock = threading.Lock()
        self._done = 0
        self._total = total
        self._report = report

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._report("fetch", self._done, self._total)


class _Unpacker:
    """One process beside us that decrypts and unpacks; see `pra.engines.unpacker`."""

    def __init__(self, scope: Scope, directory: Path, identities: Sequence[str]) -> None:
        self._scope = scope
        self._process = scope.start(
            (sys.executable, "-m", "pra.engines.unpacker"),
            op="fetch backup",
            env={"PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            secrets=identities,
            keep_stdout=False,
        )
        self._say({"directory": str(directory), "identities": list(identities)})

    def __enter__(self) -> _Unpacker:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._stdin.close()
        self._process.end(grace=1)
        self._scope.forget(self._process)

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.popen.stdin is not None
        return self._process.popen.stdin

    def _say(self, document: dict[str, object]) -> None:
        self._write(json.dumps(document).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        try:
            self._stdin.write(data)
        except OSError:
            raise self._gone() from None

    def _gone(self) -> PraError:
        if self._scope.closed:
            return PraError("the work was stopped", op="fetch backup")
        return PraError(
            f"the unpacking process ended: {self._process.stderr()[-300:] or 'it wrote no message'}",
            op="fetch backup",
            hint="Look whether this machine ran out of memory, then run it again.",
        )

    def take(self, raw: IO[bytes], stored: StoredObject) -> None:
        """Hand over one object, and wait until it has been verified and unpacked.

        Raises:
            PraError: As `receive` raised it over there, or the process ended.
        """
        self._say(asdict(stored))
        while chunk := raw.read(_CHUNK):
            self._write(LENGTH.pack(len(chunk)))
            self._write(chunk)
        self._write(LENGTH.pack(0))
        try:
            self._stdin.flush()
        except OSError:
            raise self._gone() from None
        assert self._process.popen.stdout is not None
        line = self._process.popen.stdout.readline()
        if not line:
            raise self._gone()
        if answer := json.loads(line):
            kind = getattr(errors, answer.pop("kind"))
            raise kind(answer.pop("message"), **answer)


def read_fingerprint(path: Path, manifest: Manifest) -> Fingerprint:
    """The fingerprint that came with a backup. Raises IntegrityError when it is not the manifest's."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise IntegrityError("the backup holds no fingerprint", op="fetch backup") from None
    if hashlib.sha256(data).hexdigest() != manifest.fingerprint.sha256:
        raise IntegrityError("the fingerprint is not the one the manifest names", op="fetch backup")
    return Fingerprint.from_json(json.loads(data))
