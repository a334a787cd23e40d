"""Durable files: the few file-system steps on which a repository in a directory rests."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK = 16 << 20
# No hard link here: other device, exFAT, some network shares, another owner, too many links.
_NO_LINK = {
    errno.EXDEV,
    errno.EPERM,
    errno.EMLINK,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EACCES,
}


def link_alone(source: Path, path: Path) -> bool:
    """Hard-link ``source`` to ``path`` unless a third name shares the file; False if it was not linked.

    Two repositories that shared one file would be one copy, and one damage.
    """
    if not link(source, path):
        return False
    if path.stat().st_nlink <= 2:
        return True
    path.unlink()
    return False


def link(source: Path, path: Path) -> bool:
    """Hard-link ``source`` to ``path``; False where the file system cannot.

    Raises:
        FileExistsError: ``path`` is taken. The test and the link are one atomic step.
    """
    try:
        os.link(source, path, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno in _NO_LINK:
            return False
        raise
    return True


def copy(source: Path, path: Path) -> None:
    """Copy into a new file, 0600, and sync it."""
    with source.open("rb") as reader, open(_new(path), "wb", buffering=0) as writer:
        while os.sendfile(writer.fileno(), reader.fileno(), None, _CHUNK):
            pass
        os.fsync(writer.fileno())


def write(path: Path, data: bytes) -> None:
    """Write a new file, 0600, and sync it."""
    with open(_new(path), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _new(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def digest_from_disk(path: Path) -> str:
    """SHA-256 of a file that was synced, read from the disk and not from memory where that can be had."""
    with path.open("rb", buffering=0) as stream:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Make a file's content, or a directory's entries, durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(folder: Path) -> None:
    """Make ``folder`` and what is missing above it, 0700, durably."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
        sync(path.parent)


def in_key_order(
    folder: Path, base: str, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every file below ``folder / base`` with its key, ordered by the key's whole text.

    Args:
        base: Empty, or the key of a directory with a trailing slash.
        wanted: Whether to look into the directory of this key (with a trailing slash).
    """
    try:
        with os.scandir(folder / base) as found:
            entries = [(entry, entry.is_dir(follow_symlinks=False)) for entry in found]
    except (FileNotFoundError, NotADirectoryError):  # never there, or removed while we list
        return
    # With its slash a directory sorts as its keys do: "a-b" and "a.b" come before "a/b".
    for entry, is_folder in sorted(entries, key=lambda e: e[0].name + "/" * e[1]):
        if not is_folder:
            yield base + entry.name, entry
        elif wanted(f"{base}{entry.name}/"):
            yield from in_key_order(folder, f"{base}{entry.name}/", wanted)


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold an exclusive lock on ``path``. flock: POSIX record locks do not part threads.

    Raises:
        TimeoutError: Somebody held it for longer than ``seconds``.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while not try_lock(descriptor):
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, f"lock {path.name} held for more than {seconds:.0f} s")
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class TranslatingFile(io.FileIO):
    """A file opened for reading whose failures are told apart from the reader's own.

    Args:
        translate: Makes the exception to raise from an :class:`OSError`.
    """

    def __init__(self, path: Path, translate: Callable[[OSError], Exception]) -> None:
        super().__init__(path, "rb")
        self._translate = translate

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise self._translate(error) from error

    def readall(self) -> bytes:
        try:
            return super().readall()
        except OSError as error:
            raise self._translate(error) from error
