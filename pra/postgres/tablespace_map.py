"""``tablespace_map``: by which a server's first start out of a base backup makes the links in ``pg_tblspc``.

A line is the OID, a space and the path, in which a newline, a carriage return and a backslash have a
backslash before them (``do_pg_backup_start`` in ``access/transam/xlog.c``, ``read_tablespace_map`` in
``access/transam/xlogrecovery.c``). Pure but for reading and writing that file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

NAME = "tablespace_map"
_LINE = re.compile(r"(\d+) ((?:\\.|[^\\\n\r])+)[\n\r]", re.DOTALL)


def read_map(file: Path) -> dict[int, Path]:
    """Where it puts each tablespace, by OID; nothing where there is no such file."""
    if not file.exists():
        return {}
    text = file.read_bytes().decode(errors="surrogateescape")
    return {
        int(oid): Path(re.sub(r"\\(.)", r"\1", path, flags=re.DOTALL)) for oid, path in _LINE.findall(text)
    }


def write_map(file: Path, places: Mapping[int, Path]) -> None:
    """Write it anew; owner and mode stay."""
    escaped = {oid: re.sub(r"([\\\n\r])", r"\\\1", str(place)) for oid, place in places.items()}
    text = "".join(f"{oid} {place}\n" for oid, place in sorted(escaped.items()))
    file.write_bytes(text.encode(errors="surrogateescape"))
