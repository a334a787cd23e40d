"""A PostgreSQL server that serves from a data directory we made: durable, and still nobody's copy.

It differs from a sandbox in two ways: fsync is on, since what it answers is timed, and it may archive nothing
but can be streamed from, since it has to be protected again. It listens on a unix socket in its own folder.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from pra.errors import RestoreError
from pra.postgres.connect import Server
from pra.postgres.sandbox import INERT
from pra.postgres.tools import Tools, readable_by
from pra.proc import Account, Process, Scope, can_isolate

START_SECONDS = 120.0
STOP_SECONDS = 60.0
_PORT = 5432  # names the socket file; nothing listens on TCP
_OP = "start service"
_WRONG = ("FATAL:", "PANIC:", "ERROR:", "could not")
SERVING: Mapping[str, str] = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "wal_level": "replica",
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "max_slot_wal_keep_size": "4GB",
    "autovacuum": "off",
    "shared_buffers": "128MB",
    "log_connections": "on",
    "log_line_prefix": "%m [%p] %u@%d ",
    "log_timezone": "UTC",
}


@dataclass
class ServiceServer:
    """One server on one data directory.

    Attributes:
        home: Its own folder: socket, log, access rules.
        role: The bootstrap superuser.
    """

    home: Path
    data: Path
    tools: Tools
    account: Account | None
    role: str
    scope: Scope = field(repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)
    process: Process | None = field(default=None, repr=False)
    _since: int = 0

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    @property
    def socket(self) -> Path:
        return self.home / "s"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.running()

    def server(self, database: str = "postgres") -> Server:
        user = self.role.replace("\\", "\\\\").replace("'", "\\'")
        return Server(f"host={self.socket} port={_PORT} user='{user}'").with_database(database)

    def prepare(self) -> None:
        """Make the folder; the account that runs the server owns it."""
        for folder in (self.home, self.socket):
            own_folder(folder, self.account)
        for name, text in (("pg_hba.conf", _HBA), ("pg_ident.conf", "")):
            path = self.home / name
            path.touch(mode=0o600)
            path.write_text(text)
        if self.account is not None:
            self.tools = readable_by(self.tools, self.account)
            for name in ("pg_hba.conf", "pg_ident.conf"):
                os.chown(self.home / name, self.account.uid, self.account.gid)

    def start(self, seconds: float = START_SECONDS) -> None:
        """Start it and wait until it answers.

        Raises:
            RestoreError: It ended, or did not answer in time; with its last words.
        """
        with self.log.open("ab") as log:
            self._since = log.tell()
            self.process = self.scope.start(
                self._argv(),
                op=_OP,
                env=self.tools.env(),
                cwd=self.home,
                account=self.account,
                isolated=can_isolate(),
                stdout=log,
                stderr=log,
                keep_stdout=False,
            )
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.running and not self.scope.closed:
            with contextlib.suppress(psycopg.Error):
                psycopg.connect(self.server().dsn, connect_timeout=5).close()
                return
            time.sleep(0.02)
        words = self.last_words()
        self.stop(signal.SIGKILL)
        raise RestoreError(f"the server did not start: {words}", op=_OP, hint=f"Look into {self.log}.")

    def _argv(self) -> list[str]:
        files = {
            "unix_socket_directories": str(self.socket),
            "hba_file": str(self.home / "pg_hba.conf"),
            "ident_file": str(self.home / "pg_ident.conf"),
        }
        settings = {**SERVING, **self.settings, **INERT, **files}
        if self.tools.major >= 17:
            settings.setdefault("summarize_wal", "on")
        argv = [self.tools.path("postgres"), "-D", str(self.data), "-p", str(_PORT)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        return argv

    def stop(self, first: signal.Signals = signal.SIGINT) -> None:
        """Fast shutdown; with SIGKILL the whole group is killed at once, as in a disaster."""
        if self.process is not None:
            self.process.end(grace=0 if first is signal.SIGKILL else STOP_SECONDS, first=first)
            self.scope.forget(self.process)
            self.process = None

    def last_words(self) -> str:
        """The last error that this start has logged."""
        if not self.log.exists():
            return "it wrote no log"
        with self.log.open("rb") as file:
            file.seek(self._since)
            lines = file.read().decode(errors="replace").splitlines()[-60:]
        told = [line for line in lines if any(mark in line for mark in _WRONG)]
        return told[-1].split("] ", 1)[-1].strip()[:300] if told else "its log names no error"


def own_folder(folder: Path, account: Account | None) -> None:
    """Make a 0700 folder that belongs to the server's account."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if account is not None:
        os.chown(folder, account.uid, account.gid)


_HBA = "local all all trust\nlocal replication all trust\n"
