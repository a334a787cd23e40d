"""Whether a backup can be restored on this machine: disk, extensions, build."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from pra.errors import SpaceError, UsageError
from pra.manifest import Manifest
from pra.postgres.connect import Server, one_value

_RESERVE = 64 << 20
_WAL_WINDOW = 1 << 30  # what `pra.wal.ahead` may keep at once


def check_space(manifest: Manifest, *, work: Path, data: Path | None) -> None:
    """The unpacked dump in ``work``, the database in ``data``; one disk may have to hold both.

    Args:
        data: None where the database is on another machine.

    Raises:
        SpaceError: It will not fit.
    """
    dump = sum(stored.plain_bytes for stored in manifest.objects)
    database = int(manifest.server.database_bytes * 1.2)
    needs = [(work, dump)] if data is None else [(work, dump), (data, database)]
    if data is not None and work.stat().st_dev == data.stat().st_dev:
        needs = [(data, dump + database)]
    for folder, needed in needs:
        check_free(folder, needed)


def check_free(folder: Path, needed: int) -> None:
    """Raises SpaceError where fewer than ``needed`` bytes, and a reserve, are free."""
    free = shutil.disk_usage(folder).free
    if free < needed + _RESERVE:
        raise SpaceError(
            f"{free >> 20} MiB free where {needed + _RESERVE >> 20} MiB are needed",
            op="check space for the restore",
            hint=f"Make room below {folder}, or name another folder in pra.toml.",
        )


def check_server(server: Server, manifest: Manifest) -> None:
    """The server that is to receive the backup has its extensions and its locale provider.

    Raises:
        UsageError: Something is missing here, which says nothing about the backup.
    """
    with server.connect() as connection:
        rows = connection.execute("SELECT name FROM pg_catalog.pg_available_extensions").fetchall()
        available = {name for (name,) in rows}
        version = str(one_value(connection, "SELECT current_setting('server_version')"))
        icu = one_value(connection, "SELECT count(*) FROM pg_catalog.pg_collation WHERE collprovider = 'i'")
    missing = [extension.name for extension in manifest.extensions if extension.name not in available]
    if missing:
        raise UsageError(
            f"PostgreSQL {version} here lacks extensions: {', '.join(missing)}",
            op="check extensions",
            hint="Install their packages, or set postgres.bindir to a build that has them.",
        )
    if manifest.server.locale_provider == "icu" and not icu:
        raise UsageError(
            f"the database uses ICU, and PostgreSQL {version} here was built without it",
            op="check locale provider",
            hint="Set postgres.bindir in pra.toml to a build with ICU, such as your distribution's.",
        )


def check_chain_space(chain: Sequence[Manifest], folder: Path) -> None:
    """A chain of base backups unpacked in ``folder``, and what they are combined into.

    Raises:
        SpaceError: It will not fit.
    """
    sizes = [sum(stored.plain_bytes for stored in manifest.objects) for manifest in chain]
    needed = sum(sizes) + (max(sizes) if len(chain) > 1 else 0) + _WAL_WINDOW
    check_free(folder, needed)
