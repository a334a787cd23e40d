"""The recovered server on its data directory: started, stopped, recognised, cleared, put into service."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from pra.errors import ConnectError, PostgresError, RestoreError, ToolError, UsageError
from pra.failover.commands import run_command
from pra.postgres.connect import Server, one_value, postgres_errors
from pra.postgres.startable import ALONE
from pra.postgres.tools import Tools, readable_by
from pra.proc import Account, Scope
from pra.settings_failover import Failover

LOG = "failover-start.log"
"""In the data directory, where its owner may write: what the server says until its own logging begins."""
_OURS = "# Written at the restore, "
_OP = "start recovered server"


@dataclass(frozen=True)
class Place:
    """One data directory and how its server is started.

    Attributes:
        env: What the configured commands are told.
    """

    directory: Path
    how: Failover
    tools: Tools
    scope: Scope = field(repr=False)
    env: dict[str, str] = field(default_factory=dict)

    @property
    def account(self) -> Account | None:
        """Its owner, when we are root: PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return None
        info = self.directory.stat()
        return Account(pwd.getpwuid(info.st_uid).pw_name, info.st_uid, info.st_gid)

    def start(self) -> None:
        """Start it, by the configured command or ``pg_ctl``. Raises ToolError, RestoreError."""
        how = self.how
        if how.start is not None:
            run_command(self.scope, how.start, op=_OP, limit=how.start_timeout, env=self.env)
            return
        log = self.directory / LOG
        seconds = max(1, round(how.start_timeout.total_seconds()))
        try:
            self._pg_ctl("start", "-w", "-t", str(seconds), "-l", str(log), seconds=seconds + 10.0)
        except ToolError as error:
            words = self._last_words() or error.message
            raise RestoreError(
                f"the recovered server did not start: {words}",
                op=_OP,
                hint=f"Mend it (its log: {log}), then run the failover again with --resume.",
            ) from None

    def _last_words(self) -> str:
        """The last error in its log; empty where there is none."""
        log = self.directory / LOG
        lines = log.read_text(errors="replace").splitlines()[-60:] if log.exists() else []
        told = [line for line in lines if any(mark in line for mark in ("FATAL:", "PANIC:"))]
        return told[-1].partition(": ")[2].strip()[:300] if told else ""

    def stop(self) -> None:
        """Stop it; well if it does not run. Raises ToolError."""
        how = self.how
        if how.stop is not None:
            run_command(self.scope, how.stop, op=_OP, limit=how.stop_timeout, env=self.env)
            return
        if self.running():
            seconds = max(1, round(how.stop_timeout.total_seconds()))
            self._pg_ctl("stop", "-w", "-m", "fast", "-t", str(seconds), seconds=seconds + 10.0)

    def running(self) -> bool:
        """Whether a server has this directory open: its own lock file names a living process."""
        try:
            pid = int((self.directory / "postmaster.pid").read_text().split("\n", 1)[0])
            os.kill(pid, 0)
        except PermissionError:
            return True
        except (OSError, ValueError):
            return False
        return True

    def _pg_ctl(self, verb: str, *words: str, seconds: float) -> None:
        account = self.account
        tools = readable_by(self.tools, account) if account is not None else self.tools
        argv = (tools.path("pg_ctl"), verb, "-D", str(self.directory), *words)
        self.scope.run(
            argv, op=_OP, timeout=seconds, env=tools.env(), account=account, cwd=self.directory.parent
        )

    def clear(self) -> None:
        """Remove what an interrupted recovery had finished but not recorded.

        Raises:
            UsageError: What lies there is not of our making.
        """
        if not self.directory.exists() or not any(self.directory.iterdir()):
            return
        configuration = self.directory / "postgresql.conf"
        ours = configuration.exists() and configuration.read_text(errors="replace").startswith(_OURS)
        # PostgreSQL writes it at each start, a restore takes it out: what has it may hold somebody's rows.
        served = (self.directory / "postmaster.opts").exists()
        if not ours or served or self.running():
            raise UsageError(
                f"{self.directory} is not empty, and not what an interrupted recovery left",
                op="recover",
                hint="Look what it is, move it away, then run the failover again with --resume.",
            )
        shutil.rmtree(self.directory)


def await_answer(server: Server, seconds: float, scope: Scope) -> None:
    """Wait until it lets us in and takes writes.

    Raises:
        RestoreError: It did not in time; with what it said last.
    """
    deadline, words = time.monotonic() + seconds, ""
    while time.monotonic() < deadline and not scope.closed:
        try:
            with server.connect(statement_seconds=30) as connection, postgres_errors(_OP):
                if not one_value(connection, "SELECT pg_is_in_recovery()"):
                    return
            words = "it is still in recovery"
        except ConnectError as error:
            words = error.message
            if not error.transient:
                break
        except PostgresError as error:
            words = error.message
        time.sleep(0.1)
    raise RestoreError(
        f"the recovered server does not answer at {server.place}: {words}",
        op=_OP,
        hint="Correct failover.dsn, or the server's port, listen_addresses and pg_hba.conf, then --resume.",
    )


def is_ours(server: Server, system_id: str, directory: Path | None) -> bool:
    """Whether the server that answers there is the one that was recovered.

    Raises:
        ConnectError, PostgresError: It does not answer.
    """
    with server.connect(statement_seconds=30) as connection, postgres_errors(_OP):
        found = str(one_value(connection, "SELECT system_identifier::text FROM pg_control_system()"))
        # No row where the role may not know.
        place = one_value(connection, "SELECT setting FROM pg_settings WHERE name = 'data_directory'")
    if found != system_id:
        return False
    with contextlib.suppress(OSError):
        return not place or directory is None or Path(str(place)).resolve() == directory.resolve()
    return True


def put_into_service(directory: Path) -> tuple[str, ...]:
    """Take out what kept a restored server from being anybody's primary. In force at its next start.

    Returns:
        The settings that were taken out; none where that has been done already.
    """
    file = directory / "postgresql.conf"
    lines = file.read_text().splitlines(keepends=True)
    kept = [line for line in lines if line.partition("=")[0].strip() not in ALONE]
    kept = [line for line in kept if not line.startswith("# A restored server is nobody's copy")]
    taken = tuple(name for name in ALONE if any(line.partition("=")[0].strip() == name for line in lines))
    if taken:
        info = file.stat()
        temporary = file.with_name("postgresql.conf.new")
        temporary.unlink(missing_ok=True)
        temporary.touch(mode=0o600)
        temporary.write_text("".join(kept))
        if os.geteuid() == 0:
            os.chown(temporary, info.st_uid, info.st_gid)
        temporary.replace(file)
    return taken
