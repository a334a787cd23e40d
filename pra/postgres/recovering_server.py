"""A server in recovery on an existing data directory: started at a target, paused, rolled on, promoted.

It has configuration files of its own: what was restored is not believed. In a sandbox nothing of the source's
configuration is used but what a hot standby must have; see `pra.postgres.sandbox` for what inert means.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pra.engines.recovery import RecoveryTarget
from pra.postgres.connect import Server
from pra.postgres.tools import Tools
from pra.proc import Account, Scope


class WalSource(Protocol):
    """Where a recovering server gets its WAL; `pra.wal.ahead.WalAhead`."""

    @property
    def restore_command(self) -> str: ...
    def check(self) -> None: ...
    @property
    def served(self) -> int: ...


class RecoveringServer:
    """See `open_recovery`."""

    tools: Tools
    isolated: bool
    data: Path
    home: Path

    @property
    def server(self) -> Server:
        """As the bootstrap superuser, database ``postgres``."""
        raise NotImplementedError

    def start(self, target: RecoveryTarget, timeline: int, *, pause: bool = True) -> None:
        """Start recovery and wait until it has come to the target.

        Args:
            pause: Stay there in hot standby, to be read and rolled on; otherwise promote.

        Raises:
            TargetNotReached: The WAL ended first; the message says where.
            RestoreError: The server did not start, or did not get there; with its last words.
            IntegrityError, StorageError: WAL could not be fetched.
        """
        raise NotImplementedError

    def advance(self, target: RecoveryTarget, *, pause: bool = True) -> None:
        """From where it is paused on to a later target of the same timeline, by a restart."""
        raise NotImplementedError

    def paused_at(self) -> int | None:
        """The LSN behind the last record replayed, while paused; None otherwise."""
        raise NotImplementedError

    def replayed_lsn(self) -> int:
        """The LSN behind the last record replayed, also once promoted."""
        raise NotImplementedError

    def last_commit(self) -> datetime | None:
        """Commit (or abort) time of the last transaction replayed; None when there was none."""
        raise NotImplementedError

    def promote(self) -> None:
        """End recovery: the server takes writes, on a new timeline."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop the server; the data directory stays."""
        raise NotImplementedError

    def last_words(self) -> str:
        """The last error in its log."""
        raise NotImplementedError


@contextmanager
def open_recovery(
    scope: Scope,
    tools: Tools,
    data: Path,
    *,
    root: Path,
    account: Account | None,
    durable: bool = False,
    role: str,
    ahead: WalSource,
) -> Iterator[RecoveringServer]:
    """Adopt a data directory; nothing runs before `RecoveringServer.start`. Stopped on leaving.

    Args:
        root: The sandboxes' folder, for socket, log and configuration.
        account: Owner of the data directory and of the server; None: whoever we are.
        durable: A server one keeps: fsync on.
        role: The bootstrap superuser's name.
    """
    raise NotImplementedError


def make_startable(data: Path, *, configuration: Path | None, tools: Tools) -> tuple[str, ...]:
    """Leave a promoted, stopped data directory that starts by itself: ``pg_ctl -D DATA start``.

    Debian keeps ``postgresql.conf`` and ``pg_hba.conf`` elsewhere: where they are missing they are written from
    the backup's configuration. Archiving is off, no slot, no ``primary_conninfo``, no ``restore_command``.

    Returns:
        What was changed or could not be kept, one sentence each.
    """
    raise NotImplementedError
