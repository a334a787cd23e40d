"""WAL fetched ahead of a recovering server, into a bounded folder, by this process.

The server's ``restore_command`` is a few words of shell that copy a file from that folder: no program of ours
is started per segment. What the server asks for is seen there, so the folder holds a window of segments
from that one on; a server restarted in recovery asks for earlier ones again, and they are fetched again.
Something that cannot be had must never look like the end of the WAL: then the command ends with a status that
makes the server stop (above 125), and `WalAhead.check` says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pra.proc import Account, Scope
from pra.storage.base import Storage

if TYPE_CHECKING:
    from pra.wal.archive import Archive

LIMIT_BYTES = 1 << 30


class WalAhead:
    """A context manager; leaving it ends the fetching and removes the folder.

    Args:
        archive: What the repository holds of this server's WAL.
        names: The segments to serve, in the order of replay; any other is "not there" at once.
        folder: Does not exist; its parent can be entered by ``account``.
        segment_bytes: Size of a segment on that server.
        limit_bytes: How much may lie in the folder, unpacked.
    """

    def __init__(
        self,
        storage: Storage,
        target: str,
        archive: Archive,
        names: Sequence[str],
        folder: Path,
        *,
        scope: Scope,
        identities: Sequence[str],
        segment_bytes: int,
        jobs: int = 2,
        limit_bytes: int = LIMIT_BYTES,
        account: Account | None = None,
    ) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError

    @property
    def restore_command(self) -> str:
        """For ``postgresql.conf``, not yet quoted for it."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise what kept a segment from being fetched.

        Raises:
            IntegrityError: A segment or history is not what its key says; the message names it.
            StorageError: The repository failed.
        """
        raise NotImplementedError

    @property
    def served(self) -> int:
        """How many files have been asked for and given; grows while recovery moves."""
        raise NotImplementedError

    @property
    def bytes(self) -> int:
        """Stored bytes read from the repository."""
        raise NotImplementedError
