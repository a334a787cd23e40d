"""WAL fetched ahead of a recovering server, into a bounded folder, by this process.

The server's ``restore_command`` is a few words of shell that copy a file from that folder: no program of ours
is started per segment. It first says which file it wants, so the folder holds a window of segments from
that one on; a server restarted in recovery asks for earlier ones again, and they are fetched again.

Something that cannot be had must never look like the end of the WAL: then the command ends with a status that
makes the server stop (above 125), and `WalAhead.check` says why. What is damaged further on, where recovery
may never come, is no error until it is asked for.
"""

from __future__ import annotations

import os
import shlex
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from pra.disk import disk_errors
from pra.errors import IntegrityError, PraError
from pra.postgres.wal import SEGMENT, history_name
from pra.proc import Account, Scope
from pra.storage.base import Storage
from pra.wal.archive import Archive, ArchivedPartial, ArchivedSegment, history_text
from pra.wal.reading import read_segment

LIMIT_BYTES = 1 << 30
_TRIES = 3
_PACE = 0.01
_LEAST = 2  # segments in the folder, however small it may be: the one in use and the next
_OP = "fetch WAL"
Inspect = Callable[[str, bytes], None]


class WalAhead:
    """A context manager; leaving it ends the fetching and removes the folder.

    Args:
        target: Whose WAL it is, for messages.
        scope: Once it is closed nothing more is served.
        archive: What the repository holds of this server's WAL.
        names: The segments to serve, in the order of replay; any other is "not there" at once.
        folder: Does not exist; its parent can be entered by ``account``.
        segment_bytes: Size of a segment on that server; a partial one is padded with zeros to it.
        exact: By name, the SHA-256 of contents that a manifest names.
        jobs: Threads that fetch.
        limit_bytes: How much may lie in the folder, unpacked.
        account: The server's, where we are root.
        inspect: Called with each segment's name and bytes before it is served; what it raises is served
            instead.
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
        exact: Mapping[str, str] | None = None,
        jobs: int = 2,
        limit_bytes: int = LIMIT_BYTES,
        account: Account | None = None,
        inspect: Inspect | None = None,
    ) -> None:
        self.folder = folder
        self._storage, self._target, self._archive = storage, target, archive
        self._scope, self._identities = scope, tuple(identities)
        self._names = tuple(names)
        self._place = {name: place for place, name in enumerate(self._names)}
        self._exact = dict(exact or {})
        self._segment_bytes = segment_bytes
        self._window = max(_LEAST, limit_bytes // segment_bytes)
        self._account = account
        self._inspect = inspect
        self._wake = threading.Condition()
        self._position = 0
        self._ready: set[str] = set()
        self._busy: set[str] = set()
        self._errors: dict[str, BaseException] = {}
        self._tries: dict[str, int] = {}
        self._failure: BaseException | None = None
        self._closed = False
        self._wanted = ""
        self._asked = 0
        self._at_end = 0
        self._bytes = 0
        self._threads = [threading.Thread(target=self._watch, name="wal watch", daemon=True)]
        self._threads += [
            threading.Thread(target=self._fetch, name=f"wal fetch {number}", daemon=True)
            for number in range(max(1, jobs))
        ]

    def __enter__(self) -> Self:
        """Fetch the histories, and start fetching segments.

        Raises:
            IntegrityError: A history is not what its key says, or there are two of a timeline.
            StorageError: The repository does not answer. SpaceError: The disk is full.
        """
        with disk_errors(_OP, self.folder.parent):
            self.folder.mkdir(mode=0o700)
            try:
                self._lay_out()
            except BaseException:
                shutil.rmtree(self.folder, ignore_errors=True)
                raise
        for thread in self._threads:
            thread.start()
        return self

    def _lay_out(self) -> None:
        self._own(self.folder)
        self._wal.mkdir(mode=0o700)
        self._own(self._wal)
        histories = self._fetch_histories()
        for path, lines in ((self._list, (*self._names, *histories)), (self._log, ()), (self._go, ())):
            path.write_text("".join(f"{line}\n" for line in lines))
            self._own(path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._go.unlink(missing_ok=True)  # a command that still waits ends, and not as the end of the WAL
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- what the server is told -------------------------------------------------------------------

    @property
    def restore_command(self) -> str:
        """For ``postgresql.conf``, not yet quoted for it.

        A segment that a start before this one has read may be given up between the look and the copy: it is
        waited for again then. A copy that fails while the segment is there has found a full disk.
        """
        log, listed, go, wal = (
            shlex.quote(str(path)).replace("%", "%%") for path in (self._log, self._list, self._go, self._wal)
        )
        return (
            f"echo %f >>{log}; grep -qxF %f {listed} || exit 1; "
            f"while :; do until [ -e {wal}/%f ]; do [ -e {go} ] || exit 200; sleep 0.01; done; "
            f"cp {wal}/%f %p && exit 0; [ -e {wal}/%f ] && exit 201; done"
        )

    def begin(self) -> None:
        """A server is about to start: what was asked for before counts no more, and is tried again."""
        with self._wake:
            self._at_end, self._wanted, self._failure = 0, "", None
            self._errors.clear()
            self._tries.clear()
            self._go.touch()
            self._own(self._go)
            self._wake.notify_all()

    def check(self) -> None:
        """Raise what kept a segment that the server asked for from being served.

        Raises:
            IntegrityError: A segment or history is not what its key says; the message names it.
            StorageError: The repository failed. SpaceError: The disk is full.
        """
        if self._failure is not None:
            raise self._failure

    @property
    def asked(self) -> int:
        """How many files have been asked for; grows while recovery moves."""
        return self._asked

    @property
    def ended(self) -> bool:
        """The server has come to the end of what there is, and asks again."""
        return self._at_end > 1

    @property
    def bytes_read(self) -> int:
        """Stored bytes read from the repository."""
        return self._bytes

    # -- the folder --------------------------------------------------------------------------------

    @property
    def _wal(self) -> Path:
        return self.folder / "wal"

    @property
    def _list(self) -> Path:
        return self.folder / "names"

    @property
    def _log(self) -> Path:
        return self.folder / "asked"

    @property
    def _go(self) -> Path:
        return self.folder / "go"

    def _own(self, path: Path) -> None:
        if self._account is not None and os.geteuid() == 0:
            os.chown(path, self._account.uid, self._account.gid)

    def _put(self, name: str, data: bytes) -> None:
        staged = self._wal / f".{name}"
        staged.touch(mode=0o600)
        staged.write_bytes(data)
        self._own(staged)
        staged.rename(self._wal / name)

    # -- following the server ----------------------------------------------------------------------

    def _watch(self) -> None:
        with self._log.open("rb") as log:
            rest = b""
            while not self._closed and not self._scope.closed:
                rest += log.read()
                *lines, rest = rest.split(b"\n")
                with self._wake:
                    for line in lines:
                        self._heed(line.decode(errors="replace"))
                    self._judge()
                    self._wake.wait(_PACE)

    def _heed(self, name: str) -> None:
        self._asked += 1
        if not SEGMENT.fullmatch(name):
            return  # a history: those are all there
        place = self._place.get(name)
        at_end = place is None or (place == len(self._names) - 1 and self._position == place)
        self._at_end = self._at_end + 1 if at_end else 0
        if place is None:
            return
        self._position = place
        self._wanted = name
        for stale in [ready for ready in self._ready if not self._in_window(ready)]:
            self._ready.discard(stale)
            (self._wal / stale).unlink(missing_ok=True)
        self._wake.notify_all()

    def _in_window(self, name: str) -> bool:
        # The one before stays: the server may be copying it while it has already asked for the next.
        return self._position - 1 <= self._place[name] < self._position + self._window

    def _judge(self) -> None:
        """What is asked for and cannot be had is tried again where that helps; else the server must stop."""
        error = self._errors.get(self._wanted)
        if error is None:
            return
        transient = isinstance(error, PraError) and error.transient
        if transient and self._tries.get(self._wanted, 0) < _TRIES:
            del self._errors[self._wanted]
            self._wake.notify_all()
            return
        self._failure = error
        self._go.unlink(missing_ok=True)

    # -- fetching ----------------------------------------------------------------------------------

    def _fetch(self) -> None:
        while (name := self._next()) is not None:
            try:
                data = self._read(name)
                if self._inspect is not None:
                    self._inspect(name, data)
                with disk_errors(_OP, self.folder.parent):
                    self._put(name, data)
            except BaseException as error:
                with self._wake:
                    self._errors[name] = error
                    self._tries[name] = self._tries.get(name, 0) + 1
                    self._busy.discard(name)
                continue
            with self._wake:
                self._busy.discard(name)
                self._ready.add(name)

    def _next(self) -> str | None:
        """The next name to fetch, waiting for there to be one; None when all is over."""
        with self._wake:
            while not self._closed:
                for name in self._names[self._position : self._position + self._window]:
                    if name not in self._ready and name not in self._busy and name not in self._errors:
                        self._busy.add(name)
                        return name
                self._wake.wait()
        return None

    def _read(self, name: str) -> bytes:
        entry: ArchivedSegment | ArchivedPartial | None = self._archive.find(name, self._exact.get(name))
        if entry is None:
            entry = self._archive.partials.get(name)
        if entry is None:
            raise IntegrityError(
                f"WAL segment {name} of {self._target} is missing in {self._archive.repository}", op=_OP
            )
        data = read_segment(self._storage, entry, self._identities)
        self._bytes += entry.bytes
        if len(data) != self._segment_bytes and (
            isinstance(entry, ArchivedSegment) or len(data) > self._segment_bytes
        ):
            raise IntegrityError(
                f"WAL segment {name} in {self._archive.repository} has {len(data)} bytes, "
                f"expected {self._segment_bytes}",
                op=_OP,
                hint="Use another repository.",
            )
        return data.ljust(self._segment_bytes, b"\0")

    def _fetch_histories(self) -> tuple[str, ...]:
        names = []
        for timeline, entries in self._archive.histories.items():
            if len(entries) > 1:
                raise IntegrityError(
                    f"timeline forked: {self._archive.repository} holds {history_name(timeline)} "
                    "with two contents",
                    op=_OP,
                )
            self._put(history_name(timeline), history_text(self._storage, entries[0]))
            names.append(history_name(timeline))
        return tuple(names)
