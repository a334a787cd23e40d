"""The replication protocol: what the server offers, the slot that keeps its WAL, and ``pg_basebackup``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pra.manifest import Tablespace
from pra.postgres.connect import Connection, Server
from pra.postgres.tools import Tools


@dataclass(frozen=True)
class SlotFacts:
    """The streamer's slot. ``wal_status`` as in ``pg_replication_slots``; ``kept_bytes`` is the WAL it holds."""

    name: str
    active: bool
    wal_status: str
    kept_bytes: int


@dataclass(frozen=True)
class ReplicationFacts:
    """What decides whether, and how, a base backup can be taken."""

    role: str
    may_replicate: bool
    in_recovery: bool
    wal_level: str
    senders: int
    senders_used: int
    slots: int
    slots_used: int
    slot_keep_bytes: int | None
    summarize_wal: bool
    wal_segment_bytes: int
    checkpoint_seconds: int
    server_bytes: int
    tablespaces: tuple[Tablespace, ...]
    databases: tuple[str, ...]
    slot: SlotFacts | None


@dataclass(frozen=True)
class Identity:
    """``IDENTIFY_SYSTEM``: which server, on which timeline, how far its WAL is."""

    system_identifier: str
    timeline: int
    lsn: int


def read_replication(connection: Connection, slot: str) -> ReplicationFacts:
    """Ask a server what it offers. Raises PostgresError."""
    raise NotImplementedError


def identify(server: Server) -> Identity:
    """Ask over the replication protocol itself, which ``pg_hba.conf`` may refuse.

    Raises:
        ConnectError: It does not answer, or lets no replication connection in; the hint has the line.
        RightsError: The role may not replicate; the hint has the SQL.
    """
    raise NotImplementedError


@contextmanager
def hold_wal(server: Server) -> Iterator[Identity]:
    """Keep the server from removing WAL from now on: a temporary slot, gone with its connection.

    Raises:
        ConnectError, RightsError: As `identify`.
        PostgresError: No slot is free; transient.
    """
    raise NotImplementedError
    yield


def basebackup_argv(
    tools: Tools,
    server: Server,
    *,
    label: str,
    checkpoint: Literal["spread", "fast"],
    max_rate: int | None,
    incremental: Path | None = None,
    directory: Path | None = None,
) -> tuple[str, ...]:
    """``pg_basebackup`` in tar format with the WAL it needs: to stdout, or into ``directory``.

    Args:
        max_rate: Bytes a second.
        incremental: The manifest of the backup before.
    """
    raise NotImplementedError
