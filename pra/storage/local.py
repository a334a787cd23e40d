"""A repository in a directory: ``file:///path``.

Every write goes temporary file → fsync → rename or link → fsync of the directory, so that after a
power cut a key is either whole or absent. Temporary files lie beside their destination, under a
name that starts with a dot, which no key may.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from pra.errors import ObjectExists, ObjectMissing, RepositoryFull, SettingsError, StorageError
from pra.storage import files
from pra.storage.base import Capabilities, ObjectStat, Upload
from pra.storage.naming import check_key, check_prefix

_TEMPORARY = ".tmp-"
_LOCK = ".lock"
_RACES = 50  # tries at making a directory that others prune meanwhile
_LOCK_SECONDS = 15.0


class LocalStorage:
    """Keeps the contract of :class:`pra.storage.base.Storage` in a directory.

    Directories are made 0700 and files 0600. The root itself is made by :meth:`initialise` alone:
    where the disk that holds it is not mounted, every call fails instead of filling the disk below
    (so choose a directory below the mount point: ``file:///mnt/disk/pra``). There is no object
    lock: ``retain_until`` has no effect here and :meth:`capabilities` says so.

    Args:
        name: The repository's name in the settings, for messages.
        url: ``file:///absolute/path``, or the path itself.

    Raises:
        SettingsError: The URL is not an absolute local path.
    """

    def __init__(self, name: str, url: str | Path) -> None:
        self.name = name
        self.root = _root_of(name, url)
        self.url = self.root.as_uri()

    def initialise(self) -> None:
        """Make the root where it does not exist yet. Its parent must exist.

        Raises:
            StorageError: The parent is missing or refuses.
        """
        with self._errors("initialise repository", ""):
            if not self.root.is_dir():
                self.root.mkdir(mode=0o700)
                files.sync(self.root.parent)

    def put(self, key: str, source: Path, *, sha256: str, retain_until: datetime | None = None) -> None:
        """Link or copy ``source`` to ``key``. The source must never be modified afterwards.

        A link costs neither space nor time; the file is synced all the same. It is made for one
        repository only: the next gets a copy, which is read back from the disk and compared with
        ``sha256``.

        Raises:
            RepositoryFull: No space or quota left.
            StorageError: The copy is not what was sent, or the file system refused.
        """
        if not source.is_file():
            raise StorageError(f"nothing to store as {key}: {source} is gone", op="put", transient=False)

        def write(temporary: Path, path: Path) -> None:
            if files.link_alone(source, temporary):
                files.sync(temporary)
            else:
                files.copy(source, temporary)
                self._compare(temporary, key, sha256)
            # Age counts from publication here, not from when the spool file was written.
            os.utime(temporary)
            temporary.replace(path)

        self._written("put", key, write)

    def create(self, key: str, data: bytes, *, retain_until: datetime | None = None) -> None:
        def write(temporary: Path, path: Path) -> None:
            files.write(temporary, data)
            try:
                if not files.link(temporary, path):
                    self._rename_if_free(temporary, path)
            except FileExistsError:
                raise ObjectExists(f"{key} in {self.name} exists already", op="create") from None

        self._written("create", key, write)

    def replace(self, key: str, data: bytes, *, previous: bytes | None) -> None:
        if previous is None:
            self.create(key, data)
            return

        def write(temporary: Path, path: Path) -> None:
            files.write(temporary, data)
            with self._lock():
                try:
                    current = path.read_bytes()
                except FileNotFoundError:
                    current = None
                if current != previous:
                    raise ObjectExists(f"{key} in {self.name} has changed meanwhile", op="replace")
                temporary.replace(path)

        self._written("replace", key, write)

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        path = self._path(key)
        with self._errors("open", key):
            raw = files.TranslatingFile(path, lambda error: self._translated(error, "read", key))
        with io.BufferedReader(raw, 1 << 18) as stream:
            yield stream

    def read(self, key: str, *, limit: int = 64 << 20) -> bytes:
        with self.open(key) as stream:
            data = stream.read(limit + 1)
        if len(data) > limit:
            raise StorageError(
                f"{key} in {self.name} is larger than {limit} bytes", op="read", transient=False
            )
        return data

    def stat(self, key: str) -> ObjectStat | None:
        path = self._path(key)
        try:
            with self._errors("stat", key):
                found = path.stat()
        except ObjectMissing:
            return None
        return _stat(key, found) if stat.S_ISREG(found.st_mode) else None

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        return self._listed(
            prefix, lambda name: not name.startswith("."), lambda key, found: _stat(key, found)
        )

    def list_after(self, prefix: str, after: str) -> Iterator[ObjectStat]:
        wanted = lambda name: not name.startswith(".")  # noqa: E731
        return self._listed(prefix, wanted, lambda key, found: _stat(key, found), after=check_prefix(after))

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            with self._errors("delete", key):
                path.unlink()
                files.sync(path.parent)
        except ObjectMissing:
            return
        self._prune(path.parent)

    def prolong(self, key: str, until: datetime) -> None:
        """There is no lock to prolong."""
        check_key(key)

    def retained_until(self, key: str) -> datetime | None:
        check_key(key)
        return None

    def unfinished(self, prefix: str) -> Iterator[Upload]:
        def upload(path: str, found: os.stat_result) -> Upload:
            folder, slash, name = path.rpartition("/")
            base = name.removeprefix(_TEMPORARY).partition("-")[2]
            return Upload(folder + slash + base, path, _stat(path, found).modified)

        folder, slash, _ = prefix.rpartition("/")
        found = self._listed(folder + slash, lambda name: name.startswith(_TEMPORARY), upload)
        return (one for one in found if one.key.startswith(prefix))

    def abort(self, upload: Upload) -> None:
        name = upload.upload_id.rpartition("/")[2]
        if not name.startswith(_TEMPORARY):
            raise StorageError(f"not an unfinished upload: {upload.upload_id!r}", op="abort", transient=False)
        path = self._path(upload.key).with_name(name)
        with self._errors("abort", upload.key):
            path.unlink(missing_ok=True)
        self._prune(path.parent)

    def capabilities(self) -> Capabilities:
        return Capabilities(conditional_write=True, object_lock=False)

    def free_bytes(self) -> int | None:
        """Bytes that this account may still write."""
        with self._errors("measure free space", ""):
            self._require_root()
            found = os.statvfs(self.root)
        return found.f_bavail * found.f_frsize

    # -- paths ---------------------------------------------------------------------------------

    def _path(self, key: str) -> Path:
        path = self.root / check_key(key)
        # A link planted inside the root must not lead out of it. As text: this is asked for every object.
        root, parent = os.path.realpath(self.root), os.path.realpath(path.parent)
        if parent != root and not parent.startswith(f"{root}/"):
            raise StorageError(
                f"{key} in {self.name} leads out of the repository",
                op="check key",
                hint="Remove the symbolic link inside the repository.",
                transient=False,
            )
        return path

    def _require_root(self) -> None:
        # Not is_dir(): a directory that may not be looked into is not a missing one.
        try:
            there = stat.S_ISDIR(self.root.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            there = False
        if not there:
            raise StorageError(
                f"repository {self.name} is not there: {self.root} is not a directory",
                op="open repository",
                hint=f"Mount its disk; for a new repository, create it once: mkdir -m 700 {self.root}",
                transient=False,
            )

    def _listed[T](
        self,
        prefix: str,
        wanted: Callable[[str], bool],
        make: Callable[[str, os.stat_result], T],
        *,
        after: str = "",
    ) -> Iterator[T]:
        check_prefix(prefix)
        with self._errors("list", prefix):
            self._require_root()

        def walk() -> Iterator[T]:
            folder, slash, _ = prefix.rpartition("/")
            into = lambda key: key.startswith(prefix) or prefix.startswith(key)  # noqa: E731
            with self._errors("list", prefix):
                for key, entry in files.in_key_order(self.root, folder + slash, into):
                    if key > after and wanted(entry.name) and key.startswith(prefix):
                        with contextlib.suppress(FileNotFoundError):  # gone while we list
                            yield make(key, entry.stat(follow_symlinks=False))
            self._require_root()  # a disk that went away meanwhile must not look empty

        return walk()

    def _prune(self, folder: Path) -> None:
        """Remove the directories that a deletion left empty; stop at the first in use."""
        with contextlib.suppress(OSError):
            while folder != self.root:
                folder.rmdir()
                folder = folder.parent

    # -- writing -------------------------------------------------------------------------------

    def _written(self, op: str, key: str, write: Callable[[Path, Path], None]) -> None:
        """Call ``write(temporary, path)`` and make the new name durable; the temporary is gone afterwards."""
        path = self._path(key)
        with self._errors(op, key):
            for left in reversed(range(_RACES)):
                self._require_root()
                temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(4)}-{path.name}")
                try:
                    files.make_directories(path.parent)
                    write(temporary, path)
                    files.sync(path.parent)
                    break
                except FileNotFoundError:
                    # A deletion next door may prune the empty directory we have just made, and another
                    # writer make it again before we look: what failed cannot be told from the outside.
                    if not left:
                        raise
                finally:
                    # Also after success: renaming onto a link of the same file keeps both names (POSIX).
                    temporary.unlink(missing_ok=True)

    def _rename_if_free(self, temporary: Path, path: Path) -> None:
        """The same as linking, where there are no links: everybody who creates here holds the lock."""
        with self._lock():
            if path.exists():
                raise FileExistsError(errno.EEXIST, "exists", str(path))
            temporary.replace(path)

    def _compare(self, path: Path, key: str, sha256: str) -> None:
        observed = files.digest_from_disk(path)
        if observed != sha256:
            raise StorageError(
                f"{key} in {self.name} was not stored as sent: expected sha256 {sha256}, observed {observed}",
                op="put",
                hint="Check the disk (dmesg, smartctl) and the memory of this machine.",
            )

    def _lock(self) -> contextlib.AbstractContextManager[None]:
        return files.locked(self.root / _LOCK, _LOCK_SECONDS)

    # -- errors --------------------------------------------------------------------------------

    @contextmanager
    def _errors(self, op: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._translated(error, op, key) from error

    def _translated(self, error: OSError, op: str, key: str) -> StorageError:
        where = f"{key} in {self.name}" if key else f"repository {self.name}"
        fact = f"{where}: {(error.strerror or str(error)).lower()}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return RepositoryFull(fact, op=op, hint=f"Free space below {self.root}, or run: pra expire")
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            hint = f"Give this account the right to read and write {self.root}."
            return StorageError(fact, op=op, hint=hint, transient=False)
        if isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError)):
            try:
                self._require_root()
            except StorageError as missing_root:
                return missing_root
            return ObjectMissing(f"{where} does not exist", op=op)
        return StorageError(fact, op=op, hint="Check the disk and its mount.")


def _root_of(name: str, url: str | Path) -> Path:
    text = str(url)
    if "://" in text:
        parts = urlsplit(text)
        text = unquote(parts.path) if parts.scheme == "file" and parts.netloc in ("", "localhost") else ""
    path = Path(text)
    if not path.is_absolute() or path == Path("/"):
        raise SettingsError(
            f"repository {name} is not an absolute local path: {str(url)!r}",
            op="open repository",
            hint='Write url = "file:///absolute/path".',
        )
    return path


def _stat(key: str, found: os.stat_result) -> ObjectStat:
    # The time of change is the kernel's alone: nobody can set it back.
    tag = f"{found.st_ino}-{found.st_ctime_ns}"
    return ObjectStat(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC), tag)
