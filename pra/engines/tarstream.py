"""The headers of a tar stream, one member at a time; the members' bytes are the caller's business.

``tarfile`` would read every byte through the interpreter. Long names are understood as GNU tar (types L
and K) and pax (type x) write them; PostgreSQL itself writes neither, it refuses names beyond 99 bytes.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from pra.errors import IntegrityError

BLOCK = tarfile.BLOCKSIZE
END = b"\0" * (2 * BLOCK)
"""What ends an archive."""
_EXTENSION_BYTES = 1 << 20
_NAME_TYPES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE)


class MemberType(Enum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"


@dataclass(frozen=True)
class Member:
    """A member of an archive.

    Attributes:
        name: Without a leading ``./`` and a trailing ``/``.
        size: Of its content in bytes; 0 for anything but a file.
        mode: Permission bits.
        head: Its header blocks as they stand in the archive, extensions included.
    """

    name: str
    type: MemberType
    size: int
    mode: int
    head: bytes

    @property
    def padded(self) -> int:
        """Bytes of content and padding that follow the header."""
        return padded(self.size)


def padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def read_member(read: Callable[[int], bytes]) -> Member | None:
    """The next member, or None at the end of the archive. The caller then reads ``padded`` bytes.

    Args:
        read: Returns exactly as many bytes as asked for, or raises.

    Raises:
        IntegrityError: It is no tar header, or one of a member that no base backup holds.
    """
    head = b""
    extended: dict[str, str] = {}
    while True:
        block = read(BLOCK)
        info = _parse(block)
        if info is None:
            if head:
                raise IntegrityError("the tar stream ends after a name", op="read tar")
            return None
        head += block
        if info.type not in _NAME_TYPES:
            return _member(info, extended, head)
        if info.size > _EXTENSION_BYTES:
            raise IntegrityError("the tar stream holds a name of more than a megabyte", op="read tar")
        data = read(padded(info.size))
        head += data
        extended |= _extension(info, data[: info.size])


def _parse(block: bytes) -> tarfile.TarInfo | None:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # a block of zeros; absent from the stubs
        return None
    except tarfile.HeaderError:
        raise IntegrityError("the stream is not a tar archive, or lost its place", op="read tar") from None


def _extension(info: tarfile.TarInfo, data: bytes) -> dict[str, str]:
    if info.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": data.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    if info.type == tarfile.GNUTYPE_LONGLINK:
        return {}
    found: dict[str, str] = {}
    try:
        while data.strip(b"\0"):
            length = int(data.split(b" ", 1)[0])
            key, _, value = data[:length].split(b" ", 1)[1].partition(b"=")
            found[key.decode()] = value[:-1].decode("utf-8", "surrogateescape")
            if length <= 0:
                raise ValueError
            data = data[length:]
    except (ValueError, IndexError):
        raise IntegrityError("the tar stream holds a pax header that cannot be read", op="read tar") from None
    return found


def _member(info: tarfile.TarInfo, extended: dict[str, str], head: bytes) -> Member:
    name = extended.get("path", info.name).removeprefix("./").rstrip("/")
    mode = info.mode & 0o7777
    if info.isdir():
        return Member(name, MemberType.DIRECTORY, 0, mode, head)
    if info.issym():
        return Member(name, MemberType.SYMLINK, 0, mode, head)
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise IntegrityError(f"the tar stream holds {name}, which is no plain file", op="read tar")
    size = extended.get("size", "")
    return Member(name, MemberType.FILE, int(size) if size.isdigit() else info.size, mode, head)
