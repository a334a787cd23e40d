"""A tar stream cut into sealed volumes while it is being read.

``pg_basebackup -Ft -D -`` writes one long tar archive. The cutter reads its headers alone; the files' bytes
go from pipe to pipe inside the kernel, to the process beside us that seals (`pra.engines.sealer`).
A volume holds whole members and is a tar archive of its own, so volumes are published while the server is
still being read, and unpacked side by side. Extracted over one another, in any order, they are the directory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO

from pra.engines.reading import Report, no_report
from pra.model import StoredObject
from pra.proc import Scope
from pra.storage.spool import Attempt

VOLUME_BYTES = 256 << 20
TAKEN_BYTES = 64 << 20
"""Limit of one member that is given to ``taken``."""


def nothing(_: str) -> bool:
    """Diverts or copies no member."""
    return False


def ignore(_: str, __: bytes) -> None:
    """Takes a member and makes nothing of it."""


class Cutter:
    """Cuts tar streams into volumes ``<prefix>-0001.tar.zst[.age]`` that are sealed, added to ``attempt``.

    One sealing process is started when the first volume begins, and lives until `finish` or `abort`.

    Args:
        scope: Owns the sealing process.
        recipients: age recipients; none of them: no encryption.
        volume_bytes: A volume takes whole members up to this many bytes; a larger member has one of its own.
        threads: Of the compressor; 0 compresses on the thread that reads.
        prefix: ``base``, or ``tblspc-<oid>``.
        divert: By name: True for a member that goes to ``taken`` instead of into a volume.
        copy: By name: True for a member that goes into a volume and to ``taken`` as well.
        taken: Called on the thread of `feed` with a member's name and bytes, at most `TAKEN_BYTES`.
        report: Called with ("read", bytes so far, 0).
    """

    def __init__(
        self,
        attempt: Attempt,
        *,
        scope: Scope,
        recipients: Sequence[str],
        volume_bytes: int = VOLUME_BYTES,
        threads: int = 2,
        prefix: str = "base",
        divert: Callable[[str], bool] = nothing,
        copy: Callable[[str], bool] = nothing,
        taken: Callable[[str, bytes], None] = ignore,
        report: Report = no_report,
    ) -> None:
        raise NotImplementedError

    def feed(self, source: BinaryIO | int) -> None:
        """Read one tar stream to its end; several may follow one another.

        A file that has a descriptor is read through it, so nothing may have been read from it before.
        Waits while the spool is full. It is the caller's to notice that the writer of the stream failed:
        look at that first, since a stream that ends early is only what follows from it.

        Raises:
            IntegrityError: It is no tar archive, or ends early.
            SpaceError: The spool's disk is full. StorageError: No publisher is left, or the attempt is over.
            ToolError: The sealing process ended, or the scope was closed.
        """
        raise NotImplementedError

    def finish(self) -> list[StoredObject]:
        """Wait for every volume; they are in the attempt then, and returned in order of name.

        Raises: as `feed`.
        """
        raise NotImplementedError

    def abort(self) -> None:
        """End the sealing process and forget what it was doing. End the attempt first. Never raises."""
        raise NotImplementedError
