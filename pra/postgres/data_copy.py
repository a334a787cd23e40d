"""A second copy of a stopped server's data directory; it shares blocks where the file system can."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from pra.errors import SpaceError
from pra.postgres.tablespace_map import NAME, read_map, write_map
from pra.proc import Scope

_SECONDS = 24 * 3600.0
_RESERVE = 128 << 20


def copy_data(scope: Scope, source: Path, copy: Path) -> None:
    """Copy data directory and tablespaces; the copy's tablespaces lie in ``<copy>-tablespaces/<oid>``.

    Nothing may run in ``source``; whether it ever was started makes no difference. Owner and modes are kept.

    Raises:
        SpaceError: It would not fit.
        ToolError: Copying failed.
    """
    places = _tablespaces(source)
    check_room(copy.parent, [source, *places.values()])
    _copy(scope, source, copy)
    if not places:
        return
    folder = Path(f"{copy}-tablespaces")
    folder.mkdir(mode=0o700)
    info = source.stat()
    os.chown(folder, info.st_uid, info.st_gid)
    copied = {oid: folder / str(oid) for oid in places}
    for oid, place in places.items():
        _copy(scope, place, copied[oid])
        link = copy / "pg_tblspc" / str(oid)
        if link.is_symlink():
            link.unlink()
            link.symlink_to(copied[oid])
    if listed := read_map(copy / NAME):
        write_map(copy / NAME, listed | {oid: copied[oid] for oid in listed if oid in copied})


def remove_copy(copy: Path) -> None:
    for folder in (copy, Path(f"{copy}-tablespaces")):
        shutil.rmtree(folder, ignore_errors=True)


def check_room(folder: Path, sources: list[Path]) -> None:
    """Raises SpaceError where a copy of ``sources`` would fill the disk. Shared blocks are not counted on."""
    needed = sum(_size(source) for source in sources) + _RESERVE
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SpaceError(
            f"{free >> 20} MiB free where {needed >> 20} MiB are needed for a copy of the server",
            op="copy data directory",
            hint=f"Make room below {folder}, or set another [sandbox] dir in pra.toml.",
        )


def _copy(scope: Scope, source: Path, copy: Path) -> None:
    share = ("--reflink=auto",) if sys.platform == "linux" else ()
    scope.run(["cp", "-a", *share, str(source), str(copy)], op="copy data directory", timeout=_SECONDS)


def _tablespaces(data: Path) -> dict[int, Path]:
    """Those outside the data directory, by OID; the others are copied with it.

    Until the first start nothing but the map may say where they are: that start makes the links from it.
    """
    folder = data / "pg_tblspc"
    linked = {int(each.name): each.resolve() for each in folder.iterdir() if each.is_symlink()}
    listed = {oid: place for oid, place in read_map(data / NAME).items() if place.is_absolute()}
    return linked | listed


def _size(folder: Path) -> int:
    total = 0
    for here, _, names in os.walk(folder):
        for name in names:
            total += (Path(here) / name).lstat().st_blocks * 512
    return total
