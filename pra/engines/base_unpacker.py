"""A process that decrypts, verifies and unpacks objects for `pra.engines.base_fetching`.

What it hears and says, one JSON line each (see `pra.engines.beside`)::

    {"identities": […], "directory": …, "extras": …, "tablespaces": {oid: folder}, "owner": [uid, gid]}  once
    {"object": {…}, "volume": "base" | "tblspc-<oid>" | null} and a descriptor to read the stored bytes from
    ← {}  or  {"error": {…}}

The descriptor is a file or a pipe; its end is the object's end. Damage may make an object longer or shorter
than its manifest says, so its own size cannot be what ends it.
"""

from __future__ import annotations

import io
import os
import re
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast

from pra.disk import disk_errors
from pra.engines.beside import Channel, error_document
from pra.engines.tarstream import Member, MemberType, padded, read_member
from pra.errors import IntegrityError, PraError, StorageError
from pra.model import StoredObject
from pra.storage.unsealing import unseal_pieces

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CONTROL = "global/pg_control"
WITHHELD = "global/pg_control.withheld"
"""What pg_control is called until everything else was verified: without it, no server starts."""
TABLESPACE = re.compile(r"pg_tblspc/(\d{1,10})")
_OP = "unpack base backup"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Places:
    """Where things go.

    Attributes:
        directory: The data directory.
        extras: Folder of what is no volume.
        tablespaces: By OID: the folder of its files, and what ``pg_tblspc/<oid>`` will point at.
        owner: User and group of what is made; None: as it comes.
    """

    directory: Path
    extras: Path
    tablespaces: Mapping[int, Path]
    owner: tuple[int, int] | None = None


class Unpacker:
    def __init__(self, places: Places, identities: Sequence[str]) -> None:
        self._places = places
        self._identities = identities

    def receive(self, raw: BinaryIO, stored: StoredObject, volume: str | None) -> None:
        """Verify, decrypt and unpack one object.

        Raises:
            IntegrityError: The bytes are not what was signed, or a volume holds what no base backup does.
            DecryptError: No identity opens them. StorageError: They cannot be read.
            SpaceError, StorageError: They cannot be written.
        """
        with unseal_pieces(raw, stored, identities=self._identities) as plain:
            if volume is None:
                self._keep(plain, stored.name.removesuffix(".age").removesuffix(".zst"))
            else:
                _Volume(self._places, self._root_of(volume), plain).extract()

    def _keep(self, plain: Iterable[bytes], name: str) -> None:
        with disk_errors(_OP, self._places.extras):
            sink = (self._places.extras / name).open("xb")
        with sink:
            for chunk in plain:
                with disk_errors(_OP, self._places.extras):
                    sink.write(chunk)
            with disk_errors(_OP, self._places.extras):
                sink.flush()

    def _root_of(self, volume: str) -> Path:
        if volume == "base":
            return self._places.directory
        return self._places.tablespaces[int(volume.removeprefix("tblspc-"))]


class _Volume:
    """One volume on its way into a directory."""

    def __init__(self, places: Places, root: Path, plain: Iterator[bytes]) -> None:
        self._places = places
        self._root = root
        self._plain = plain
        self._known: set[str] = {"."}
        self._rest = memoryview(b"")

    def extract(self) -> None:
        while (member := read_member(self._take)) is not None:
            _check_name(member.name)
            if member.type is MemberType.DIRECTORY:
                self._directory(member)
            elif member.type is MemberType.SYMLINK:
                self._link(member)
            else:
                self._file(member)
        while self._fill():  # what follows the end of the archive is still part of the object's digest
            pass

    def _directory(self, member: Member) -> None:
        with disk_errors(_OP, self._root):
            self._make_directory(member.name)
            (self._root / member.name).chmod(member.mode & 0o750 | 0o700)

    def _make_directory(self, name: str) -> None:
        """Volumes are unpacked side by side, so a file may come before its directory does."""
        if name in self._known:
            return
        self._make_directory(str(PurePosixPath(name).parent))
        path = self._root / name
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            pass
        else:
            self._own(path)
        self._known.add(name)

    def _link(self, member: Member) -> None:
        match = TABLESPACE.fullmatch(member.name)
        folder = self._places.tablespaces.get(int(match[1])) if match else None
        if folder is None:
            raise IntegrityError(
                f"a volume holds a link {member.name}, which the manifest knows nothing of", op=_OP
            )
        with disk_errors(_OP, self._root):
            self._make_directory("pg_tblspc")
            (self._root / member.name).symlink_to(folder)
            self._own(self._root / member.name)

    def _own(self, path: Path) -> None:
        if self._places.owner is not None:
            os.chown(path, *self._places.owner, follow_symlinks=False)

    def _file(self, member: Member) -> None:
        name = WITHHELD if member.name == CONTROL else member.name
        with disk_errors(_OP, self._root):
            self._make_directory(str(PurePosixPath(name).parent))
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
                fd = os.open(self._root / name, flags, member.mode & 0o640 | 0o600)
            except FileExistsError:
                raise IntegrityError(f"the backup holds {member.name} twice", op=_OP) from None
        try:
            if self._places.owner is not None:
                os.fchown(fd, *self._places.owner)
            self._pass_on(member.size, fd)
        finally:
            os.close(fd)
        self._pass_on(padded(member.size) - member.size, None)

    def _pass_on(self, size: int, fd: int | None) -> None:
        while size:
            piece = self._next(size)
            size -= len(piece)
            while fd is not None and piece:
                with disk_errors(_OP, self._root):
                    piece = piece[os.write(fd, piece) :]

    def _take(self, size: int) -> bytes:
        taken = bytearray()
        while len(taken) < size:
            taken += self._next(size - len(taken))
        return bytes(taken)

    def _next(self, size: int) -> memoryview:
        """At most ``size`` bytes, at least one."""
        if not self._rest and not self._fill():
            raise IntegrityError("a volume ends before its tar archive does", op=_OP)
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def _fill(self) -> bool:
        self._rest = memoryview(next(self._plain, b""))
        return bool(self._rest)


def _check_name(name: str) -> None:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\0" in name:
        raise IntegrityError("a volume holds a name that leads out of its directory", op=_OP)


class _Input(io.FileIO):
    """The stored bytes; what the operating system says about them is about the repository."""

    def __init__(self, fd: int, name: str) -> None:
        super().__init__(fd, "rb")
        self._object = name

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        try:
            return super().readinto(buffer) or 0
        except OSError as error:
            raise StorageError(
                f"{self._object} cannot be read: {(error.strerror or str(error)).lower()}", op="fetch backup"
            ) from None


def main() -> int:
    channel = Channel(socket.socket(fileno=os.dup(sys.stdin.fileno())))
    if (heard := channel.hear()) is None:
        return 0
    setup = heard.document
    places = Places(
        Path(setup["directory"]),
        Path(setup["extras"]),
        {int(oid): Path(folder) for oid, folder in setup["tablespaces"].items()},
        tuple(setup["owner"]) if setup["owner"] else None,
    )
    unpacker = Unpacker(places, setup["identities"])
    while (heard := channel.hear()) is not None:
        if heard.fd is None:
            return 1
        answer: dict[str, object] = {}
        stored = StoredObject(**heard.document["object"])
        with io.BufferedReader(_Input(heard.fd, stored.name), _CHUNK) as raw:
            try:
                unpacker.receive(cast(BinaryIO, raw), stored, heard.document["volume"])
            except PraError as error:
                answer = {"error": error_document(error)}
        channel.say(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
