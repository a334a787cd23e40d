"""A second copy of a stopped server's data directory; it shares blocks where the file system can."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from pra.errors import SpaceError
from pra.proc import Scope

_SECONDS = 24 * 3600.0
_RESERVE = 128 << 20
_MAP = "tablespace_map"


def copy_data(scope: Scope, source: Path, copy: Path) -> None:
    """Copy data directory and tablespaces; the copy's tablespaces lie in ``<copy>-tablespaces/<oid>``.

    Nothing may run in ``source``. Owner and modes are kept.

    Raises:
        SpaceError: It would not fit.
        ToolError: Copying failed.
    """
    links = _links(source)
    check_room(copy.parent, [source, *links.values()])
    _copy(scope, source, copy)
    if not links:
        return
    folder = Path(f"{copy}-tablespaces")
    folder.mkdir(mode=0o700)
    info = source.stat()
    os.chown(folder, info.st_uid, info.st_gid)
    places = {}
    for name, place in links.items():
        places[name] = folder / name
        _copy(scope, place, places[name])
        link = copy / "pg_tblspc" / name
        link.unlink()
        link.symlink_to(places[name])
    _rewrite_map(copy / _MAP, places)


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


def _links(data: Path) -> dict[str, Path]:
    """Tablespaces outside the data directory, by OID; those inside it are copied with it."""
    folder = data / "pg_tblspc"
    return {each.name: each.resolve() for each in folder.iterdir() if each.is_symlink()}


def _size(folder: Path) -> int:
    total = 0
    for here, _, names in os.walk(folder):
        for name in names:
            total += (Path(here) / name).lstat().st_blocks * 512
    return total


def _rewrite_map(file: Path, places: dict[str, Path]) -> None:
    """The first start makes the links anew from this file, where it has not been consumed yet."""
    if not file.exists():
        return
    lines = []
    for line in file.read_text(errors="surrogateescape").splitlines():
        oid = line.split(" ", 1)[0]
        lines.append(f"{oid} {places[oid]}" if oid in places else line)
    file.write_text("".join(f"{line}\n" for line in lines), errors="surrogateescape")
