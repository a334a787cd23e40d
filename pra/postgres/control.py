"""What ``pg_control`` says about a data directory, as ``pg_controldata`` prints it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pra.errors import IntegrityError, ToolError
from pra.postgres.tools import Tools
from pra.proc import Scope

_MINIMUMS = {
    "max_connections setting": "max_connections",
    "max_worker_processes setting": "max_worker_processes",
    "max_wal_senders setting": "max_wal_senders",
    "max_prepared_xacts setting": "max_prepared_transactions",
    "max_locks_per_xact setting": "max_locks_per_transaction",
}


@dataclass(frozen=True)
class Control:
    """A data directory's control file.

    Attributes:
        minimums: Settings that a hot standby may not have lower than the server that wrote the WAL.
    """

    system_id: str
    state: str
    timeline: int
    checksums: bool
    minimums: Mapping[str, int]


def parse_control(lines: Iterable[str]) -> Control:
    """Read the output of ``pg_controldata`` in the C locale.

    Raises:
        IntegrityError: Something is missing in it.
    """
    said = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            said[name.strip()] = value.strip()
    try:
        return Control(
            system_id=said["Database system identifier"],
            state=said["Database cluster state"],
            timeline=int(said["Latest checkpoint's TimeLineID"]),
            checksums=said["Data page checksum version"] != "0",
            minimums={setting: int(said[name]) for name, setting in _MINIMUMS.items()},
        )
    except (KeyError, ValueError):
        raise IntegrityError("pg_control cannot be understood", op="read pg_control") from None


def read_control(scope: Scope, tools: Tools, data: Path) -> Control:
    """Ask ``pg_controldata``.

    Raises:
        IntegrityError: The file is missing, damaged, or another major's.
    """
    try:
        done = scope.run(
            (tools.path("pg_controldata"), "-D", str(data)),
            op="read pg_control",
            timeout=30,
            env={**tools.env(), "LC_ALL": "C"},
        )
    except ToolError as error:
        raise IntegrityError(error.message, op="read pg_control") from None
    if "WARNING" in f"{done.stdout}{done.stderr}":
        raise IntegrityError("pg_control is damaged: its checksum does not fit", op="read pg_control")
    return parse_control(done.stdout.splitlines())
