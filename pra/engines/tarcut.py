"""A tar stream cut into sealed volumes while it is being read.

``pg_basebackup -Ft -D -`` writes one long tar archive. The process beside us that seals reads it itself
(`pra.engines.sealer`): its bytes never pass through this interpreter, whose threads talk to the repositories.
A volume holds whole members and is a tar archive of its own, so volumes are published while the server is
still being read, and unpacked side by side. Extracted over one another, in any order, they are the directory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO

from pra.engines.beside import Beside
from pra.engines.reading import Report, no_report
from pra.engines.sealer import TAKEN_BYTES
from pra.model import StoredObject
from pra.proc import Scope
from pra.storage.spool import Attempt

__all__ = ["TAKEN_BYTES", "VOLUME_BYTES", "Cutter", "ignore", "nothing"]

VOLUME_BYTES = 256 << 20


def nothing(_: str) -> bool:
    """Diverts or copies no member."""
    return False


def ignore(_: str, __: bytes) -> None:
    """Takes a member and makes nothing of it."""


class Cutter:
    """Cuts tar streams into volumes ``<prefix>-0001.tar.zst[.age]``, which are sealed into ``attempt``.

    One sealing process is started by the first `feed`, and lives until `finish` or `abort`.

    Args:
        scope: Owns the sealing process.
        recipients: age recipients; none of them: no encryption.
        volume_bytes: A volume takes whole members up to this many bytes; a larger member has one of its own.
        threads: That compress side by side.
        prefix: ``base``, or ``tblspc-<oid>``.
        divert: By name: True for a file that goes to ``taken`` instead of into a volume.
        copy: By name: True for a file that goes into a volume and to ``taken`` as well. Neither is asked
            about relations: ``base/…``, and ``PG_…/…`` in a tablespace.
        taken: Called on the thread of `feed` with a file's name and bytes, at most 1 GiB.
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
        self._attempt = attempt
        self._scope = scope
        self._setup = {
            "recipients": list(recipients),
            "threads": threads,
            "volume_bytes": volume_bytes,
            "folder": str(attempt.path(f"{prefix}-0001").parent),
            "prefix": prefix,
        }
        self._divert, self._copy, self._taken = divert, copy, taken
        self._report = report
        self._read = 0
        self._objects: list[StoredObject] = []
        self._beside: Beside | None = None

    def feed(self, source: IO[bytes] | int) -> None:
        """Read one tar stream to its end; its volumes are in the attempt then. Several may follow.

        Waits while the spool is full. It is the caller's to notice that the writer of the stream failed:
        look at that first, since a stream that ends early is only what follows from it.

        Args:
            source: A pipe or a file, or its descriptor, from which nothing was read before.

        Raises:
            IntegrityError: It is no tar archive, or ends early.
            SpaceError: The spool's disk is full. StorageError: No publisher is left, or the attempt is over.
            ToolError: The sealing process ended, or the scope was closed.
            Exception: Whatever ``taken`` raised.
        """
        if self._beside is None:
            self._beside = Beside(self._scope, "pra.engines.sealer", op="seal volume")
            self._beside.say(self._setup)
        beside = self._beside
        beside.say({"feed": True}, source if isinstance(source, int) else source.fileno())
        while True:
            heard = beside.hear()
            match heard.document:
                case {"read": count}:
                    self._report("read", self._read + count, 0)
                case {"ask": name}:
                    beside.say({"divert": self._divert(name), "copy": self._copy(name)})
                case {"taken": name}:
                    self._taken(name, heard.data)
                case {"stored": fields}:
                    stored = StoredObject(**fields)
                    self._attempt.add(stored)
                    self._objects.append(stored)
                    beside.say({"added": stored.name})
                case {"fed": count}:
                    self._read += count
                    self._report("read", self._read, 0)
                    return

    def finish(self) -> list[StoredObject]:
        """Let the sealing process end; what it made, in order of name."""
        if self._beside is not None:
            self._beside.close()
        return sorted(self._objects, key=lambda stored: (len(stored.name), stored.name))

    def abort(self) -> None:
        """End the sealing process and forget what it was doing. End the attempt first. Never raises."""
        if self._beside is not None:
            self._beside.kill()
