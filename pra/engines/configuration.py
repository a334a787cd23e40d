"""What a server is configured to be, wherever that is written: on Debian it is not in the data directory.

The settings that differ from their defaults, the rules of ``pg_hba.conf`` and, where the role may read them,
the files themselves. It may hold secrets (``primary_conninfo``): it is stored encrypted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, LiteralString

import psycopg

from pra.errors import IntegrityError
from pra.postgres.connect import Connection, Server, one_value, postgres_errors

SCHEMA = "pra/configuration/1"
OBJECT = "configuration.json"
_LARGEST_FILE = 1 << 20


@dataclass(frozen=True)
class Setting:
    """A setting that differs from its default.

    Attributes:
        value: In the words of ``SHOW``, with its unit: ``128MB``.
        source: As ``pg_settings`` says: ``configuration file``, ``command line`` …
        file: Where it is written; empty where it is not in a file, or where the role may not know.
    """

    name: str
    value: str
    source: str
    file: str = ""


@dataclass(frozen=True)
class HbaRule:
    """A line of ``pg_hba.conf`` that is in force; ``address`` and ``netmask`` are empty for ``local``."""

    type: str
    databases: tuple[str, ...]
    users: tuple[str, ...]
    address: str
    netmask: str
    method: str
    options: tuple[str, ...] = ()

    def line(self) -> str:
        """As it is written in the file."""
        words = [self.type, ",".join(map(_quoted, self.databases)), ",".join(map(_quoted, self.users))]
        words += [word for word in (self.address, self.netmask) if word]
        options = (f'{name}="{value}"' for name, _, value in (o.partition("=") for o in self.options))
        return " ".join([*words, self.method, *options])


@dataclass(frozen=True)
class ConfigurationFile:
    """A configuration file as it was: ``path`` on the server, and its whole text."""

    path: str
    text: str


@dataclass(frozen=True)
class Configuration:
    """What the server was told.

    Attributes:
        data_directory: Where its data lay; empty where the role may not know.
        settings: By name.
        hba: In the order of the file; empty where the role may not know.
        files: ``postgresql.conf``, what it includes, ``pg_hba.conf`` and ``pg_ident.conf``, where readable.
        unreadable: Paths of those that could not be read.
        outside: Whether any of them lies outside the data directory, so that no base backup has it.
    """

    version_num: int
    data_directory: str
    settings: tuple[Setting, ...]
    hba: tuple[HbaRule, ...]
    files: tuple[ConfigurationFile, ...]
    unreadable: tuple[str, ...]
    outside: bool

    def setting(self, name: str) -> str | None:
        """The value of a setting that differs from its default; None for any other."""
        return next((setting.value for setting in self.settings if setting.name == name), None)

    def file(self, name: str) -> str | None:
        """The text of the file whose path ends with this name, for example ``pg_hba.conf``."""
        return next((file.text for file in self.files if file.path.rsplit("/", 1)[-1] == name), None)

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Configuration:
        """Raises IntegrityError for anything but what `to_json` wrote."""
        if document.get("schema") != SCHEMA:
            raise IntegrityError(
                f"configuration has schema {str(document.get('schema'))[:40]!r}, not {SCHEMA!r}",
                op="read configuration",
                hint="It was written by a newer release: upgrade this one.",
            )
        try:
            return cls(
                version_num=int(document["version_num"]),
                data_directory=str(document["data_directory"]),
                settings=tuple(Setting(**each) for each in document["settings"]),
                hba=tuple(_rule(**each) for each in document["hba"]),
                files=tuple(ConfigurationFile(**each) for each in document["files"]),
                unreadable=tuple(map(str, document["unreadable"])),
                outside=bool(document["outside"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError("a configuration that is not whole", op="read configuration") from error


def read(server: Server) -> Configuration:
    """Ask the server for its configuration; what the role may not read is named, not guessed.

    Raises:
        ConnectError: It does not answer.
        PostgresError: It refused a question that every role may ask.
    """
    with server.connect() as connection, postgres_errors("read configuration"):
        paths = _paths(connection)
        files, unreadable = _files(connection, paths)
        home = str(_shown(connection, "data_directory") or "")
        return Configuration(
            version_num=connection.info.server_version,
            data_directory=home,
            settings=_settings(connection),
            hba=_hba(connection),
            files=files,
            unreadable=unreadable,
            outside=not home or any(not path.startswith(f"{home}/") for path in paths),
        )


def _settings(connection: Connection) -> tuple[Setting, ...]:
    rows = connection.execute(
        "SELECT name, current_setting(name), source, coalesce(sourcefile, '') FROM pg_catalog.pg_settings "
        "WHERE source NOT IN ('default', 'override', 'session', 'client') ORDER BY name"
    ).fetchall()
    return tuple(Setting(*row) for row in rows)


def _hba(connection: Connection) -> tuple[HbaRule, ...]:
    rows = _if_allowed(
        connection,
        "SELECT type, database, user_name, coalesce(address, ''), coalesce(netmask, ''), auth_method, "
        "coalesce(options, '{}') FROM pg_catalog.pg_hba_file_rules WHERE error IS NULL ORDER BY line_number",
    )
    return tuple(
        HbaRule(kind, tuple(databases), tuple(users), address, netmask, method, tuple(options))
        for kind, databases, users, address, netmask, method, options in rows
    )


def _paths(connection: Connection) -> tuple[str, ...]:
    """Every file that configures the server, without what it writes itself (``postgresql.auto.conf``)."""
    named = [_shown(connection, name) for name in ("config_file", "hba_file", "ident_file")]
    included = _if_allowed(
        connection, "SELECT DISTINCT sourcefile FROM pg_catalog.pg_file_settings WHERE sourcefile <> ''"
    )
    more = [str(path) for (path,) in included if not path.endswith("/postgresql.auto.conf")]
    return tuple(dict.fromkeys([*(path for path in named if path), *sorted(more)]))


def _files(
    connection: Connection, paths: Sequence[str]
) -> tuple[tuple[ConfigurationFile, ...], tuple[str, ...]]:
    files, unreadable = [], []
    for path in paths:
        found = _if_allowed(connection, _READ_FILE, path, _LARGEST_FILE)
        text = found[0][0] if found else None
        if text is None:
            unreadable.append(path)
        else:
            files.append(ConfigurationFile(path, bytes(text).decode(errors="replace")))
    return tuple(files), tuple(unreadable)


# As bytes: a file may hold text in any encoding.
_READ_FILE = "SELECT pg_catalog.pg_read_binary_file(%s, 0, %s, true)"


def _shown(connection: Connection, name: str) -> str | None:
    """A setting that only some roles may see; None for the others."""
    value = one_value(connection, "SELECT setting FROM pg_catalog.pg_settings WHERE name = %s", name)
    return None if value is None else str(value)


def _if_allowed(connection: Connection, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
    """The rows; none where the role may not ask, or the server may not read its own file."""
    try:
        return connection.execute(query, values or None).fetchall()
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.SystemError):
        return []


def _rule(databases: Sequence[str], users: Sequence[str], options: Sequence[str], **words: str) -> HbaRule:
    return HbaRule(databases=tuple(databases), users=tuple(users), options=tuple(options), **words)


def _quoted(word: str) -> str:
    plain = word.replace("_", "").replace("-", "").lstrip("+@/").isalnum()
    return word if plain else '"' + word.replace('"', '""') + '"'
