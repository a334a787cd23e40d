"""Files to volumes and back: plain tar inside the pipe, so that ``tar x`` alone can read it.

A volume holds whole files and is independent of the others: volumes are sealed while the dump still
runs, published while others are sealed, and unpacked side by side.
"""

from __future__ import annotations

import queue
import re
import tarfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from pra.disk import disk_errors, explain_disk
from pra.errors import IntegrityError, PraError
from pra.model import StoredObject
from pra.storage.pipe import seal
from pra.storage.spool import Attempt

VOLUME_BYTES = 64 << 20
DUMP = re.compile(r"dump-\d{4}\.tar\.zst(\.age)?")
"""Names of volumes; every other object of a logical backup is one file."""
_CHUNK = 1 << 20
_BLOCK = tarfile.BLOCKSIZE


def tar_stream(root: Path, names: Sequence[str], *, consume: bool = False) -> Iterator[bytes]:
    """A tar archive of the named files below ``root``, in that order, as chunks.

    With ``consume``, each file is deleted once it has been read, so that plaintext never piles up.
    """
    for name in names:
        path = root / name
        with path.open("rb") as source:
            header = tarfile.TarInfo(name)
            header.size = path.stat().st_size
            header.mode = 0o600
            yield header.tobuf(tarfile.GNU_FORMAT)
            left = header.size
            while left:
                chunk = source.read(min(_CHUNK, left))
                if not chunk:
                    raise IntegrityError(f"{name} shrank while it was read", op="pack volume")
                left -= len(chunk)
                yield chunk
            if header.size % _BLOCK:
                yield b"\0" * (_BLOCK - header.size % _BLOCK)
        if consume:
            path.unlink()
    yield b"\0" * (2 * _BLOCK)


def unpack(stream: BinaryIO, directory: Path) -> list[str]:
    """Extract a volume; the stream is read to its end, so that its digests are verified.

    Raises:
        IntegrityError: It is no tar archive, or holds anything but plain files below ``directory``.
        SpaceError: The disk of ``directory`` is full, which says nothing about the volume.
    """
    names: list[str] = []
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_CHUNK) as archive:
            for member in archive:
                pure = PurePosixPath(member.name)
                source = archive.extractfile(member) if member.isreg() else None
                if source is None or pure.is_absolute() or ".." in pure.parts:
                    raise IntegrityError(
                        "a volume holds something that is not a plain file", op="unpack volume"
                    )
                _extract(source, directory / pure)
                names.append(member.name)
    except tarfile.TarError as error:
        raise IntegrityError(f"a volume cannot be unpacked: {error}", op="unpack volume") from None
    while stream.read(_CHUNK):
        pass
    return names


def _extract(source: IO[bytes], target: Path) -> None:
    with disk_errors("unpack volume", target.parent):
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            sink = target.open("xb")
        except FileExistsError:
            raise IntegrityError("a volume holds a file twice", op="unpack volume") from None
    # Reading has errors of its own, which must not be taken for the disk's.
    with sink:
        while chunk := source.read(_CHUNK):
            with disk_errors("unpack volume", target.parent):
                sink.write(chunk)
        with disk_errors("unpack volume", target.parent):
            sink.flush()


@dataclass(frozen=True)
class _Volume:
    number: int
    names: tuple[str, ...]


class Packer:
    """Seals finished files into volumes on threads of its own while more files are being written.

    ``offer`` is called as files become whole, ``finish`` once with all that remains. The first error of
    any thread is raised by ``finish``. Without ``compress``, files that are compressed already are not
    compressed again.
    """

    def __init__(
        self,
        root: Path,
        attempt: Attempt,
        *,
        recipients: Sequence[str],
        compress: bool = True,
        workers: int = 2,
        volume_bytes: int = VOLUME_BYTES,
        on_sealed: Callable[[StoredObject], None] | None = None,
    ) -> None:
        self._root = root
        self._attempt = attempt
        self._recipients = recipients
        self._compress = compress
        self._volume_bytes = volume_bytes
        self._on_sealed = on_sealed
        self._lock = threading.Lock()
        self._taken: set[str] = set()
        self._pending: list[str] = []
        self._pending_bytes = 0
        self._number = 0
        self._queue: queue.SimpleQueue[_Volume | None] = queue.SimpleQueue()
        self._objects: list[StoredObject] = []
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._work, name=f"pack {n}", daemon=True) for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def offer(self, name: str) -> None:
        """Take a whole file. Small ones share a volume."""
        size = (self._root / name).stat().st_size
        with self._lock:
            if name in self._taken:
                return
            self._taken.add(name)
            self._pending.append(name)
            self._pending_bytes += size
            if self._pending_bytes >= self._volume_bytes:
                self._cut()

    @property
    def failure(self) -> PraError | None:
        """What went wrong first, as soon as it has: nothing more will be sealed then."""
        if not self._errors:
            return None
        error = self._errors[0]
        if isinstance(error, PraError):
            return error
        if isinstance(error, OSError):
            return explain_disk(error, "pack volume", self._root)
        return PraError(f"unexpected {type(error).__name__} while sealing", op="pack volume")

    def _cut(self) -> None:
        if self._pending:
            self._number += 1
            self._queue.put(_Volume(self._number, tuple(self._pending)))
            self._pending, self._pending_bytes = [], 0

    def _work(self) -> None:
        while (volume := self._queue.get()) is not None:
            if self._errors:
                continue
            try:
                suffix = ".tar.zst.age" if self._recipients else ".tar.zst"
                path = self._attempt.path(f"dump-{volume.number:04d}{suffix}")
                stored = seal(
                    tar_stream(self._root, volume.names, consume=True),
                    path,
                    recipients=self._recipients,
                    compress=self._compress,
                    durable=False,
                )
                self._attempt.add(stored)
                with self._lock:
                    self._objects.append(stored)
                if self._on_sealed is not None:
                    self._on_sealed(stored)
            except BaseException as error:  # re-raised by finish() on the caller's thread
                self._errors.append(error)

    def finish(self) -> list[StoredObject]:
        """Seal all files below the root that were not offered, and wait for every volume."""
        for path in sorted(p for p in self._root.rglob("*") if p.is_file()):
            name = path.relative_to(self._root).as_posix()
            if name not in self._taken:
                self.offer(name)
        with self._lock:
            self._cut()
        self.stop()
        if (failure := self.failure) is not None:
            raise failure from self._errors[0]
        return sorted(self._objects, key=lambda stored: stored.name)

    def stop(self) -> None:
        """Let the threads end after what they are sealing now."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def abort(self) -> None:
        """Drop what is queued and let the threads end. End the attempt first: one may be waiting in it."""
        self._errors.append(IntegrityError("the dump was abandoned", op="pack volume"))
        self.stop()
