"""Where a real restore goes: an empty database behind a DSN, or a new data directory."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pra.errors import RestoreError, UsageError
from pra.manifest import Manifest, Tablespace
from pra.postgres.connect import Server, one_value
from pra.postgres.tools import can_traverse
from pra.proc import Account

# What somebody made: objects of every kind that are not the system's, an extension's or part of another.
_KINDS = {
    "pg_class": "relkind <> 't'",
    "pg_proc": "true",
    "pg_type": "typtype <> 'c' AND typelem = 0 OR typtype IN ('d', 'e', 'r')",
    "pg_operator": "true",
    "pg_collation": "true",
    "pg_ts_config": "true",
    "pg_ts_dict": "true",
    "pg_namespace": "nspname <> 'public' AND nspname !~ '^pg_'",
    "pg_foreign_server": "true",
    "pg_publication": "true",
    "pg_event_trigger": "true",
}
_OWN = """
SELECT count(*) FROM pg_catalog.{table} AS o
 WHERE o.oid >= 16384 AND ({condition})
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = '{table}'::regclass AND d.objid = o.oid AND d.deptype IN ('e', 'i'))
"""
_OBJECTS = "SELECT (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata) + " + " + ".join(
    f"({_OWN.format(table=table, condition=condition)})" for table, condition in _KINDS.items()
)


@dataclass(frozen=True)
class Destination:
    """Exactly one of ``server`` and ``directory`` is set."""

    text: str
    server: Server | None = None
    directory: Path | None = None

    @classmethod
    def parse(cls, text: str, password: str | None = None) -> Destination:
        """Read ``--into``: a DSN holds ``://`` or ``=``, everything else is a folder.

        Raises:
            UsageError: Neither.
        """
        if "://" in text or "=" in text:
            server = Server.parse(text, password)
            return cls(f"database {server.place}", server=server)
        if not text.strip():
            raise UsageError("no destination", op="read destination", hint="Give --into a DSN or a folder.")
        path = Path(text).expanduser().absolute()
        return cls(f"data directory {path}", directory=path)


def check_destination(destination: Destination, manifest: Manifest) -> None:
    """Refuse whatever is not empty, too old or not writable, before anything is fetched.

    Raises:
        RestoreError: The destination cannot receive this backup; nothing was touched.
    """
    if destination.server is not None:
        _check_server(destination.server, manifest)
    if destination.directory is not None:
        _check_directory(destination.directory)


def _check_server(server: Server, manifest: Manifest) -> None:
    with server.connect() as connection:
        row = connection.execute(_OBJECTS.encode()).fetchone()
        version = connection.info.server_version
        encoding = str(one_value(connection, "SELECT current_setting('server_encoding')"))
    count = int(row[0]) if row else 0
    if count:
        raise UsageError(
            f"{server.place} is not empty: it holds {count} objects",
            op="check destination",
            hint="Create an empty database (CREATE DATABASE … TEMPLATE template0) and restore into that.",
        )
    if version // 10000 < manifest.server.version_num // 10000:
        raise UsageError(
            f"the destination is PostgreSQL {version // 10000}, the backup is from {manifest.server.version}",
            op="check destination",
            hint="Restore into the same major version, or a newer one.",
        )
    if encoding != manifest.server.encoding:
        raise UsageError(
            f"the destination's encoding is {encoding}, the backup's is {manifest.server.encoding}",
            op="check destination",
            hint=f"CREATE DATABASE … ENCODING '{manifest.server.encoding}' TEMPLATE template0.",
        )


def _check_directory(directory: Path) -> None:
    if directory.is_symlink() or (
        directory.exists() and (not directory.is_dir() or any(directory.iterdir()))
    ):
        raise UsageError(
            f"{directory} is not empty",
            op="check destination",
            hint="Name a folder that does not exist yet, or an empty one.",
        )
    parent = directory.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UsageError(
            f"{parent} is not a folder we can write to",
            op="check destination",
            hint=f"Create {parent} first.",
        )


def place_tablespaces(
    spaces: Sequence[Tablespace], wanted: Mapping[str, Path], directory: Path
) -> dict[int, Path]:
    """Where each tablespace goes, by OID. Every one has to be named: another host has other disks.

    Args:
        wanted: Old location → new folder, which does not exist yet or is empty.
        directory: The data directory, in which a tablespace must not lie.

    Raises:
        UsageError: One is not named, is named and not there, or its folder cannot be used.
    """
    known = {space.location: space.oid for space in spaces}
    unknown = [old for old in wanted if old not in known]
    if unknown:
        raise UsageError(
            f"the backup has no tablespace at {unknown[0]}",
            op="place tablespaces",
            hint=f"It has: {', '.join(known) or 'none'}.",
        )
    missing = [old for old in known if old not in wanted]
    if missing:
        options = " ".join(f"--tablespace {old}=/NEW/FOLDER" for old in missing)
        raise UsageError(
            f"{len(missing)} tablespaces have no place: {', '.join(missing)}",
            op="place tablespaces",
            hint=f"Name a new folder for each: {options}",
        )
    for place in wanted.values():
        if place == directory or directory in place.parents or place in directory.parents:
            raise UsageError(
                f"the tablespace folder {place} and the data directory lie within each other",
                op="place tablespaces",
                hint="PostgreSQL wants them apart: name a folder beside it.",
            )
        _check_directory(place)
    return {known[old]: place for old, place in wanted.items()}


def check_reach(directory: Path, account: Account) -> None:
    """Raises UsageError where the account that is to own the data directory cannot get to it."""
    if not can_traverse(directory.parent, account):
        raise UsageError(
            f"the account {account.name} cannot reach {directory.parent}",
            op="check destination",
            hint="PostgreSQL refuses to run as root: name a folder whose parents that account may enter.",
        )


def owner_of(directory: Path) -> Account | None:
    """Who is to own a new data directory: us, or, when we are root, the parent's owner or ``postgres``.

    Raises:
        RestoreError: Root would own it, and PostgreSQL refuses to run as root.
    """
    if os.geteuid() != 0:
        return None
    info = directory.parent.stat()
    if info.st_uid != 0:
        return Account(pwd.getpwuid(info.st_uid).pw_name, info.st_uid, info.st_gid)
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        raise RestoreError(
            "no account to own the data directory",
            op="check destination",
            hint="PostgreSQL refuses to run as root: restore below a folder of the account that will run it.",
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
