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
                f"configuration has schema {str(document.get('schema'))[:40]!r}, this release reads {SCHEMA!r}",
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
    raise NotImplementedError


def _rule(databases: Sequence[str], users: Sequence[str], options: Sequence[str], **words: str) -> HbaRule:
    return HbaRule(databases=tuple(databases), users=tuple(users), options=tuple(options), **words)


def _quoted(word: str) -> str:
    plain = word.replace("_", "").replace("-", "").lstrip("+@/").isalnum()
    return word if plain else '"' + word.replace('"', '""') + '"'
