"""The folder of ``pra up``, and the one ``pra up`` that may use it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pra.errors import BusyError, UsageError
from pra.timing import to_iso, utc_now

OP = "run everything"
UP, DOWN = "pra up", "pra down"
# A socket's address holds 107 bytes; supervisord first binds one with its number behind it.
_LONGEST_SOCKET = 107 - len(".4194304")
_LONGEST_STATE = _LONGEST_SOCKET - len("/up/supervisor.sock")
_TRIES = 5


@dataclass(frozen=True)
class Place:
    """Where everything lies that ``pra up`` writes, below ``state_dir/up``; Prefect's own in ``home``."""

    state_dir: Path

    @property
    def folder(self) -> Path:
        return self.state_dir / "up"

    @property
    def home(self) -> Path:
        return self.state_dir / "prefect"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def config(self) -> Path:
        return self.folder / "supervisord.conf"

    @property
    def socket(self) -> Path:
        return self.folder / "supervisor.sock"

    @property
    def pidfile(self) -> Path:
        return self.folder / "supervisord.pid"

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    def log(self, part: str) -> Path:
        return self.logs / f"{part}.log"

    def make(self) -> None:
        """Make the folders, 0700.

        Raises:
            UsageError: Their path is too long for a socket, or cannot stand in supervisord's file.
        """
        if len(os.fsencode(self.socket)) > _LONGEST_SOCKET:
            raise UsageError(
                f"the state directory's path is too long for a socket: {self.socket}",
                op=OP,
                hint=f"Set PRA_STATE_DIR to one of at most {_LONGEST_STATE} bytes.",
            )
        for folder in (self.folder, self.home, self.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)


@dataclass(frozen=True)
class Holder:
    """The ``pra up``, or ``pra down``, that is at work. ``since`` is ISO 8601 in UTC."""

    pid: int
    since: str
    role: str


@contextmanager
def held(place: Place, *, role: str = UP) -> Iterator[None]:
    """Be the only one at this place. Whatever ends this process gives it free.

    Raises:
        BusyError: Another ``pra up`` or ``pra down`` is at work here.
    """
    descriptor = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor, place)
        os.ftruncate(descriptor, 0)
        said = {"pid": os.getpid(), "since": to_iso(utc_now()), "role": role}
        os.write(descriptor, json.dumps(said).encode())
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, place: Place) -> None:
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.1)  # perhaps somebody only looks
    found = holder(place)
    if found is not None and found.role == DOWN:
        raise BusyError("pra down is at work", op=OP, hint="Wait until it has ended, then try again.")
    who = f" (process {found.pid}, since {found.since})" if found else ""
    raise BusyError(
        f"pra up runs already with this state directory{who}",
        op=OP,
        hint="Look at it with: pra up --status; end it with: pra down",
    )


def holder(place: Place) -> Holder | None:
    """Who is at work here; None when nobody is."""
    try:
        descriptor = os.open(place.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        try:
            said = json.loads(os.read(descriptor, 1000))
            return Holder(int(said["pid"]), str(said["since"]), str(said["role"]))
        except (ValueError, KeyError):
            return Holder(0, "", "")  # it has the lock, and has not yet said who it is
    finally:
        os.close(descriptor)


def has_lock(place: Place, pid: int) -> bool:
    """Whether this process of this machine has the lock open: the number in it may be of another one.

    Who has just taken it has not yet written its own, and one in a container counts in numbers of its own.
    """
    lock = place.lock.stat()
    try:
        return any(_is_same(each, lock) for each in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False  # it has ended, or is another account's


def _is_same(descriptor: Path, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(descriptor.stat(), file)
    except OSError:
        return False  # closed meanwhile
