"""A base backup's volumes, verified and unpacked straight into a data directory."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from pra.disk import disk_errors
from pra.engines.base_unpacker import CONTROL, WITHHELD
from pra.engines.beside import Beside
from pra.engines.plumbing import make_pipe, write_all
from pra.engines.reading import Report, no_report
from pra.errors import IntegrityError, UsageError
from pra.manifest import Manifest
from pra.model import StoredObject
from pra.postgres import tablespace_map
from pra.proc import Account, Scope
from pra.storage.base import Storage

SMALL_BYTES = 8 << 20
"""Up to this much to decrypt, one process beside us does it all."""
VOLUME = re.compile(r"(base|tblspc-(\d{1,10}))-\d{4,}\.tar\.zst(\.age)?")
"""Names of volumes; every other object of a physical backup is one file."""
TABLESPACE_MAP = tablespace_map.NAME
_OP = "fetch base backup"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class BaseFiles:
    """One member of a chain on this machine, in clear.

    Attributes:
        directory: The data directory (of an incremental backup: ``INCREMENTAL.*`` files among it), whole.
        extras: Folder of the other objects, by name without ``.zst`` and ``.age``: ``fingerprint.json``,
            ``configuration.json``, the lineage.
        bytes: Fetched from the repository.
        tablespaces: Where each tablespace's files were put, by OID.
    """

    directory: Path
    extras: Path
    bytes: int
    tablespaces: Mapping[int, Path] = field(default_factory=dict)


def fetch_base(
    storage: Storage,
    key_of: Callable[[str], str],
    manifest: Manifest,
    directory: Path,
    *,
    scope: Scope,
    identities: Sequence[str],
    jobs: int = 2,
    tablespaces: Mapping[int, Path] | None = None,
    extras: Path | None = None,
    owner: Account | None = None,
    report: Report = no_report,
    small_bytes: int = SMALL_BYTES,
) -> BaseFiles:
    """Bring every object, verify it against the manifest, decrypt and unpack it.

    Every volume lands in ``directory`` as PostgreSQL expects it; ``global/pg_control`` is put there last,
    after everything else was verified, so that a server never starts on a part. ``tablespace_map`` is
    rewritten to say what ``tablespaces`` says: recovery makes its links from that.

    Args:
        key_of: Gives an object's key from its name.
        directory: An existing, empty 0700 folder.
        jobs: Processes that unpack side by side.
        tablespaces: By OID: the existing, empty 0700 folder for it. Every one the manifest names has one.
        extras: Folder for the other objects, made here 0700; default: ``<directory>.extras`` beside it.
        owner: Whose the data directory's content becomes, where we are root.
        report: Called with ("fetch", bytes so far, bytes in all).
        small_bytes: Up to this size one process is enough.

    Raises:
        UsageError: A folder is not empty, or a tablespace has none.
        IntegrityError: An object is not what was signed; the message names it.
        DecryptError: No identity opens it.
        StorageError: The repository failed. SpaceError: The disk is full.
        ToolError: An unpacking process ended, or the scope was closed.
    """
    folders = {oid: Path(folder) for oid, folder in (tablespaces or {}).items()}
    others = extras or directory.with_name(f"{directory.name}.extras")
    _require_places(manifest, directory, folders)
    with disk_errors(_OP, others.parent):
        others.mkdir(mode=0o700)
    owned = (owner.uid, owner.gid) if owner is not None and os.geteuid() == 0 else None
    setup = {
        "identities": list(identities),
        "directory": str(directory),
        "extras": str(others),
        "tablespaces": {str(oid): str(folder) for oid, folder in folders.items()},
        "owner": owned,
    }
    fetching = _Fetching(storage, key_of, manifest, scope, setup, report)
    fetching.run(1 if manifest.bytes <= small_bytes else jobs)
    with disk_errors(_OP, directory):
        relocate(directory / TABLESPACE_MAP, folders)
        _put_control(directory)
        if owned is not None:
            for folder in (directory, *folders.values()):
                os.chown(folder, *owned)
    return BaseFiles(directory, others, manifest.bytes, folders)


def _require_places(manifest: Manifest, directory: Path, folders: Mapping[int, Path]) -> None:
    named = manifest.physical.tablespaces if manifest.physical is not None else ()
    for tablespace in named:
        if tablespace.oid not in folders:
            raise UsageError(
                f"no place was given for the tablespace at {tablespace.location}",
                op=_OP,
                hint=f"Give it one: --tablespace {tablespace.location}=DIRECTORY.",
            )
    for stored in manifest.objects:
        match = VOLUME.fullmatch(stored.name)
        if match and match[2] and int(match[2]) not in folders:
            raise IntegrityError(f"{stored.name} belongs to a tablespace the manifest does not name", op=_OP)
    for folder in (directory, *folders.values()):
        if not folder.is_dir() or any(folder.iterdir()):
            raise UsageError(
                f"{folder} is not an empty directory",
                op=_OP,
                hint="Choose a new directory, or empty this one.",
            )


def relocate(path: Path, folders: Mapping[int, Path]) -> None:
    """Make recovery link each tablespace to where it is now."""
    if path.exists():
        tablespace_map.write_map(path, folders)


def _put_control(directory: Path) -> None:
    """Let the directory be a server's. Raises IntegrityError when no volume held pg_control."""
    try:
        (directory / WITHHELD).rename(directory / CONTROL)
    except FileNotFoundError:
        raise IntegrityError(
            f"the backup holds no {CONTROL}: it is no base backup", op=_OP, hint="Take another backup."
        ) from None


class _Fetching:
    """Threads that share out the objects, each with an unpacking process of its own."""

    def __init__(
        self,
        storage: Storage,
        key_of: Callable[[str], str],
        manifest: Manifest,
        scope: Scope,
        setup: Mapping[str, object],
        report: Report,
    ) -> None:
        self._storage = storage
        self._key_of = key_of
        self._scope = scope
        self._setup = setup
        self._report = report
        self._lock = threading.Lock()
        self._done = 0
        self._total = manifest.bytes
        self._helpers: list[Beside] = []
        self._waiting: queue.SimpleQueue[StoredObject] = queue.SimpleQueue()
        for stored in sorted(manifest.objects, key=lambda stored: -stored.bytes):
            self._waiting.put(stored)

    def run(self, jobs: int) -> None:
        """The first error is raised; processes are ended before any thread is waited for."""
        with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="fetch") as pool:
            futures = [pool.submit(self._work) for _ in range(jobs)]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                self._stop()
                raise

    def _work(self) -> None:
        beside = Beside(self._scope, "pra.engines.base_unpacker", op=_OP)
        with self._lock:
            self._helpers.append(beside)
        try:
            beside.say(self._setup)
            for stored in _each(self._waiting):
                self._fetch(beside, stored)
                with self._lock:
                    self._done += stored.bytes
                    self._report("fetch", self._done, self._total)
            beside.close()
        except BaseException:
            for _ in _each(self._waiting):  # what has failed once is not worth reading on for
                pass
            beside.kill()
            raise

    def _stop(self) -> None:
        for _ in _each(self._waiting):
            pass
        with self._lock:
            helpers = list(self._helpers)
        for helper in helpers:
            helper.kill()

    def _fetch(self, beside: Beside, stored: StoredObject) -> None:
        match = VOLUME.fullmatch(stored.name)
        order = {"object": asdict(stored), "volume": match[1] if match else None}
        with self._storage.open(self._key_of(stored.name)) as raw:
            if (fd := _file_of(raw)) is not None:
                beside.say(order, fd)
            else:
                self._pump(beside, order, raw)
            beside.hear()

    def _pump(self, beside: Beside, order: Mapping[str, object], raw: BinaryIO) -> None:
        """Read the object here, where its repository's errors are raised, and pass it on."""
        source, sink = make_pipe()
        try:
            try:
                beside.say(order, source)
            finally:
                os.close(source)
            # Who closes the pipe early says why in its answer.
            with contextlib.suppress(BrokenPipeError):
                while chunk := raw.read(_CHUNK):
                    write_all(sink, chunk)
        finally:
            os.close(sink)


def _file_of(raw: BinaryIO) -> int | None:
    """The descriptor of a plain file, which another process can read as well as we can."""
    try:
        fd = raw.fileno()
        return fd if stat.S_ISREG(os.fstat(fd).st_mode) else None
    except (OSError, AttributeError):
        return None


def _each(waiting: queue.SimpleQueue[StoredObject]) -> Iterator[StoredObject]:
    while True:
        try:
            yield waiting.get_nowait()
        except queue.Empty:
            return
