"""A report as a file: whole or not there, and for its owner's eyes."""

from __future__ import annotations

from pathlib import Path

from pra.errors import PraError
from pra.storage import files


def write_report(path: Path, page: str) -> None:
    """Write a page, 0600, in place of an older one; directories that are missing are made, 0700.

    Raises:
        PraError: The file system refused.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        files.make_directories(path.parent)
        temporary.unlink(missing_ok=True)  # left by an attempt that died
        files.write(temporary, page.encode())
        temporary.rename(path)
        files.sync(path.parent)
    except OSError as error:
        raise PraError(
            f"{path} was not written: {error.strerror}",
            op="write report",
            hint="Make room, or name another place.",
        ) from error
