"""libpq's ``pg_service.conf``: where an application finds its database, switched by one atomic rename.

A program that connects with ``service=NAME`` reads the file anew with each connection, so whoever rewrites it
decides where the next one goes.
"""

from __future__ import annotations

import configparser
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from pra.disk import disk_errors
from pra.errors import UsageError
from pra.storage.files import sync

_OP = "switch service"


def point(file: Path, service: str, words: Mapping[str, str]) -> None:
    """Make ``service`` mean these connection words; other services in the file stay.

    Written beside it and renamed: a reader sees the old file or the new one. Mode and owner are kept.

    Raises:
        UsageError: The file is there and is no service file.
        StorageError, SpaceError: It cannot be written.
    """
    parser = _read(file)
    if parser.has_section(service):
        parser.remove_section(service)
    parser.add_section(service)
    for key, value in words.items():
        parser.set(service, key, value)
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with disk_errors(_OP, file.parent):
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                parser.write(out, space_around_delimiters=False)
                out.flush()
                if file.exists():
                    info = file.stat()
                    os.fchmod(out.fileno(), info.st_mode & 0o7777)
                    if os.geteuid() == 0:
                        os.fchown(out.fileno(), info.st_uid, info.st_gid)
                os.fsync(out.fileno())
            temporary.replace(file)
            sync(file.parent)
        finally:
            temporary.unlink(missing_ok=True)


def read(file: Path, service: str) -> dict[str, str]:
    """The connection words of a service; empty where there is none of that name."""
    parser = _read(file)
    return dict(parser.items(service)) if parser.has_section(service) else {}


def _read(file: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys as they are written
    if file.exists():
        try:
            parser.read_string(file.read_text())
        except (OSError, UnicodeDecodeError, configparser.Error) as error:
            raise UsageError(
                f"{file} is no service file: {type(error).__name__}",
                op=_OP,
                hint="Write [service] and key=value lines, as libpq reads them.",
            ) from None
    return parser
