"""A server in recovery on an existing data directory: started at a target, paused, rolled on, promoted.

It has configuration files of its own: what was restored is not believed. Nothing of the source's
configuration is used but what a hot standby must have; see `pra.postgres.sandbox` for what inert means. So it
archives nothing, also when it is promoted, and no ``restore_command`` or target of the source is followed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import psycopg

from pra import ephemeral
from pra.engines.recovery_target import LATEST, RecoveryTarget, settings_of
from pra.errors import PraError, RestoreError, SettingsError, TargetNotReached, TargetPassed
from pra.postgres.connect import Server, postgres_errors
from pra.postgres.control import read_control
from pra.postgres.recovery_log import transaction_end, where_it_ended
from pra.postgres.recovery_settings import COMMON, DURABLE, FAST, configuration
from pra.postgres.sandbox import INERT, PREFIX, STOP_SECONDS, sweep
from pra.postgres.tools import Tools, can_traverse, missing_libraries, readable_by
from pra.postgres.wal import parse_lsn
from pra.proc import Account, Process, Scope, can_isolate

STALL_SECONDS = 900.0
"""No segment asked for, no record replayed, no line logged for so long: something hangs."""
QUESTION_SECONDS = 60
"""Limit of each question we ask: what hangs must not keep `STALL_SECONDS` from being looked at."""
_PORT = 5432  # names the socket file; nothing listens on TCP
_OP = "recover"
_ENDED_BEFORE = "recovery ended before configured recovery target was reached"
_INCONSISTENT = "requested recovery stop point is before consistent recovery point"
_TOO_LOW = "because of insufficient parameter settings"
_AT_TARGET = "pausing at the end of recovery"
_OURS = "the database system is"  # what our own asking leaves in the log


class WalSource(Protocol):
    """Where a recovering server gets its WAL; `pra.wal.ahead.WalAhead`."""

    @property
    def restore_command(self) -> str: ...
    def begin(self) -> None:
        """A server is about to start: what was asked for before counts no more."""

    def check(self) -> None:
        """Raises what kept a file from being served."""

    @property
    def asked(self) -> int:
        """How many files were asked for; changes while recovery moves."""

    @property
    def ended(self) -> bool:
        """The server has come to the end of what there is, and asks again."""


@dataclass(frozen=True)
class _State:
    in_recovery: bool
    paused: bool
    lsn: int
    last_commit: datetime | None


@dataclass
class RecoveringServer:
    """See `open_recovery`.

    Attributes:
        ran_out: No transaction lay behind the settled target: it stands where the WAL ended.
    """

    home: Path
    data: Path
    tools: Tools
    account: Account | None
    isolated: bool
    role: str
    durable: bool
    ahead: WalSource = field(repr=False)
    scope: Scope = field(repr=False)
    process: Process | None = field(default=None, repr=False)
    timeline: int = 0
    ran_out: bool = False
    _standby: bool = False
    _since: int = 0
    _lsn: int = 0
    _last_commit: datetime | None = None
    _look_ahead: bool = True
    _at_stop: datetime | None = None

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    @property
    def server(self) -> Server:
        """As the bootstrap superuser, database ``postgres``."""
        user = self.role.replace("\\", "\\\\").replace("'", "\\'")
        return Server(f"host={self.home / 's'} port={_PORT} user='{user}' dbname=postgres")

    # -- starting and going on -------------------------------------------------------------------

    def start(self, target: RecoveryTarget, timeline: int, *, pause: bool = True) -> None:
        """Start recovery and wait until it has come to the target.

        Args:
            pause: Stay there in hot standby, to be read and rolled on; otherwise promote.

        Raises:
            TargetNotReached: The WAL ended first; the message says where.
            TargetPassed: It could not pause there, and is of no more use.
            RestoreError: The server did not start, or did not get there; with its last words.
            IntegrityError, StorageError: WAL could not be fetched.
        """
        self.timeline, self.ran_out = timeline, False
        try:
            self._recover_carefully(target, pause)
        except TargetNotReached:
            if not target.settled:
                raise
            # Nothing was committed between the last transaction and the target: the end is its state. Or the
            # WAL is damaged there, which PostgreSQL takes for its end: whoever knows how far it goes looks.
            self.ran_out = True
            self._recover_carefully(LATEST, pause)

    def advance(self, target: RecoveryTarget, *, pause: bool = True) -> None:
        """From where it is paused on to a later target of the same timeline, by a restart.

        Raises:
            RestoreError: The target lies before what was already replayed. Else as `start`.
        """
        self.stop(quick=not self.durable)
        self.start(target, self.timeline, pause=pause)

    def _recover_carefully(self, target: RecoveryTarget, pause: bool) -> None:
        try:
            self._recover(target, pause)
        except PraError:
            if self._blocked() is None:
                raise
            # PostgreSQL looks ahead in the WAL: what is damaged may lie behind the target.
            self.stop()
            self._recover(target, pause, look_ahead=False)

    def _blocked(self) -> PraError | None:
        try:
            self.ahead.check()
        except PraError as error:
            return None if self.scope.closed else error
        return None

    def _recover(self, target: RecoveryTarget, pause: bool, *, look_ahead: bool = True) -> None:
        self._look_ahead = look_ahead
        for _ in range(4):  # the source may have raised its settings while the WAL was written
            self._launch(target, pause)
            if self._wait(target, pause):
                self._account_for(target)
                return
            self.stop()
        raise RestoreError(f"hot standby is not possible: {self.last_words()}", op=_OP)

    def _account_for(self, target: RecoveryTarget) -> None:
        """PostgreSQL leaves the transaction that ends at an inclusive position out of its account."""
        if target.lsn is None or not target.inclusive:
            return
        ended = transaction_end(self.scope, self.tools, self.data / "pg_wal", target.lsn, self.timeline)
        self._at_stop = ended

    def _launch(self, target: RecoveryTarget, pause: bool) -> None:
        # Only a standby waits at the end of the WAL; recovery proper ends there, and promotes.
        self._standby = pause and target.kind == "latest"
        self._at_stop = None
        for name in ("recovery.signal", "standby.signal", "postmaster.pid"):
            (self.data / name).unlink(missing_ok=True)
        self._write(self.data / ("standby.signal" if self._standby else "recovery.signal"), "")
        self._write(self.home / "postgresql.conf", configuration(self._settings(target, pause)))
        self.ahead.begin()
        self._since = self.log.stat().st_size if self.log.exists() else 0
        argv = [self.tools.path("postgres"), "-D", str(self.data)]
        argv += ["-c", f"config_file={self.home / 'postgresql.conf'}"]
        for name, value in INERT.items():
            argv += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            self.process = self.scope.start(
                argv,
                op=_OP,
                env={**self.tools.env(), "LC_ALL": "C"},
                cwd=self.home,
                account=self.account,
                isolated=self.isolated,
                stdout=log,
                stderr=log,
                keep_stdout=False,
            )

    def _settings(self, target: RecoveryTarget, pause: bool) -> dict[str, str]:
        control = read_control(self.scope, self.tools, self.data)
        if control.state == "in production" and not (self.data / "backup_label").exists():
            # A copy of a running server: PostgreSQL would begin at its last checkpoint, which is too late.
            raise RestoreError(
                "backup_label is missing in the data directory: it says where recovery begins",
                op=_OP,
                hint="Restore the backup again.",
            )
        minimums = control.minimums
        floor = {"max_connections": 60, "max_worker_processes": 8, "max_wal_senders": 4}
        found = {
            **COMMON,
            **(DURABLE if self.durable else FAST),
            **{name: str(max(value, floor.get(name, value))) for name, value in minimums.items()},
            **settings_of(target, self.timeline),
            "restore_command": self.ahead.restore_command,
            "port": str(_PORT),
            "unix_socket_directories": str(self.home / "s"),
            "hba_file": str(self.home / "pg_hba.conf"),
            "ident_file": str(self.home / "pg_ident.conf"),
        }
        if target.kind != "latest":
            found["recovery_target_action"] = "pause" if pause else "promote"
        if not self._look_ahead:
            found["recovery_prefetch"] = "off"
        if self.tools.major >= 17:
            found["event_triggers"] = "off"  # else one ON login runs at our every connection
        return found

    def _write(self, path: Path, text: str) -> None:
        path.unlink(missing_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(text)
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

    # -- waiting ---------------------------------------------------------------------------------

    def _wait(self, target: RecoveryTarget, pause: bool) -> bool:
        """Until it is there. False: it must be started again, with higher settings."""
        moved, last = time.monotonic(), (-1, -1, -1)
        pace, idle = 0.02, 0
        while True:
            self.ahead.check()
            if self.scope.closed:
                raise PraError("the work was stopped", op=_OP)
            if self.process is None or not self.process.running():
                return self._explain(target)
            state, said = self._look(), self._said()
            if _TOO_LOW in said:
                return False
            now = (self.ahead.asked, state.lsn if state else -1, len(said))
            if state is not None:
                idle = idle + 1 if self.ahead.ended and now[1] == last[1] else 0
                if self._arrived(state, said, pause, idle):
                    return True
            if now != last:
                moved, last = time.monotonic(), now
            elif time.monotonic() - moved > STALL_SECONDS:
                raise RestoreError(
                    f"recovery has not moved for {STALL_SECONDS:.0f} s: {self.last_words()}", op=_OP
                )
            time.sleep(pace)
            pace = min(pace * 1.3, 0.2)

    def _arrived(self, state: _State, said: str, pause: bool, idle: int) -> bool:
        if not state.in_recovery:
            if pause:
                raise TargetPassed(
                    "the target was reached before the server could answer, so it did not pause there",
                    op=_OP,
                    hint="Choose a later target; a transaction with many subtransactions was running there.",
                )
            return True
        if not pause:
            return False
        if not self._standby:
            return state.paused and _AT_TARGET in said
        if not state.paused and idle >= 3:
            self._pause()
        return state.paused

    def _explain(self, target: RecoveryTarget) -> bool:
        """Why it ended. Returns only when another start can help."""
        self.stop()
        self.ahead.check()
        said = self._said()
        if _TOO_LOW in said:
            return False
        if _ENDED_BEFORE in said:
            raise TargetNotReached(
                f"the WAL ended before {target.text()}: {where_it_ended(said)}",
                op=_OP,
                hint="Recover to latest, or to a moment before that; see: pra windows",
            )
        if _INCONSISTENT in said:
            raise RestoreError(
                f"{target.text()} lies before the first consistent state of this data directory",
                op=_OP,
                hint="Choose a later target, or an earlier backup.",
            )
        raise RestoreError(f"the server did not recover: {self.last_words()}", op=_OP)

    def _look(self) -> _State | None:
        try:
            with self._connected() as connection:
                return self._ask(connection)
        except psycopg.OperationalError:
            return None  # not yet; whether it still runs, the caller looks

    def _connected(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            self.server.dsn,
            connect_timeout=5,
            autocommit=True,
            options=f"-c statement_timeout={QUESTION_SECONDS}s",
        )

    def _ask(self, connection: psycopg.Connection[tuple[object, ...]]) -> _State:
        row = connection.execute(
            "SELECT pg_is_in_recovery(), pg_is_in_recovery() AND pg_get_wal_replay_pause_state() = 'paused',"
            " pg_last_wal_replay_lsn()::text, pg_last_xact_replay_timestamp()"
        ).fetchone()
        assert row is not None
        lsn, commit = row[2], row[3]
        self._lsn = parse_lsn(lsn) if isinstance(lsn, str) else self._lsn
        if isinstance(commit, datetime):
            self._last_commit = commit.astimezone(UTC)
        return _State(bool(row[0]), bool(row[1]), self._lsn, self._last_commit)

    def _pause(self) -> None:
        with postgres_errors("pause recovery"), self._connected() as connection:
            connection.execute("SELECT pg_wal_replay_pause()")

    # -- where it is -----------------------------------------------------------------------------

    def paused_at(self) -> int | None:
        """The LSN behind the last record replayed, while paused; None otherwise."""
        state = self._look()
        return state.lsn if state is not None and state.paused else None

    def replayed_lsn(self) -> int:
        """The LSN behind the last record replayed, also once promoted; 0 before anything was seen."""
        self._look()
        return self._lsn

    def last_commit(self) -> datetime | None:
        """Commit (or abort) time of the last transaction replayed; None when there was none."""
        self._look()
        return self._at_stop or self._last_commit

    # -- ending ----------------------------------------------------------------------------------

    def promote(self) -> None:
        """End recovery: the server takes writes, on a new timeline.

        Raises:
            RestoreError: It did not get there; with its last words.
        """
        with postgres_errors("promote"), self.server.connect() as connection:
            if self._standby:
                connection.execute("SELECT pg_promote(false)")
            else:
                connection.execute("SELECT pg_wal_replay_resume()")
        deadline = time.monotonic() + STALL_SECONDS
        while time.monotonic() < deadline:
            self.ahead.check()
            if self.process is None or not self.process.running():
                break
            state = self._look()
            if state is not None and not state.in_recovery:
                return
            time.sleep(0.05)
        raise RestoreError(f"the server did not end its recovery: {self.last_words()}", op="promote")

    def stop(self, *, quick: bool = False) -> None:
        """Stop the server; the data directory stays.

        Args:
            quick: By immediate shutdown, behind a restartpoint so that the next start need not replay all
                again. A fast one lasts a second: paused, recovery looks only that often for a wish to end.
        """
        if self.process is not None:
            if quick:
                self._restartpoint()
            self.process.end(grace=STOP_SECONDS, first=signal.SIGQUIT if quick else signal.SIGINT)
            self.scope.forget(self.process)
            self.process = None

    def _restartpoint(self) -> None:
        """As far as a checkpoint has been replayed. Without it the next start replays more, nothing worse."""
        with contextlib.suppress(psycopg.Error), self._connected() as connection:
            connection.execute("CHECKPOINT")

    def last_words(self) -> str:
        """The last error in its log."""
        marks = ("FATAL:", "PANIC:", "ERROR:")
        lines = [
            line for line in self._said().splitlines() if any(m in line for m in marks) and _OURS not in line
        ]
        return lines[-1][:300] if lines else "its log names no error"

    def _said(self) -> str:
        """What this start has logged."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(self._since)
            return file.read().decode(errors="replace")


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

    Raises:
        SettingsError: The account cannot reach the data directory.
        RestoreError: PostgreSQL lacks libraries here.
    """
    sweep(root)
    if account is not None:
        tools = readable_by(tools, account)
        if not can_traverse(data, account):
            raise SettingsError(
                f"{account.name} cannot enter {data}",
                op=_OP,
                hint="PostgreSQL runs as that account: let it through every folder above, or choose another.",
            )
    if missing := missing_libraries(tools):
        raise RestoreError(f"postgres lacks libraries: {', '.join(missing)}", op=_OP)
    with ephemeral.ephemeral(root, PREFIX) as home:
        server = RecoveringServer(
            home=home,
            data=data,
            tools=tools,
            account=account,
            isolated=can_isolate(),
            role=role,
            durable=durable,
            ahead=ahead,
            scope=scope,
        )
        _prepare(server)
        try:
            yield server
        finally:
            server.stop()


def _prepare(server: RecoveringServer) -> None:
    home, data, account = server.home, server.data, server.account
    (home / "s").mkdir(mode=0o700)
    (home / "data").symlink_to(data)  # by which a sweep finds a server that outlived us
    if account is not None:
        for path in (home, home / "s"):
            os.chown(path, account.uid, account.gid)
    server._write(home / "pg_hba.conf", "local all all trust\n")
    server._write(home / "pg_ident.conf", "")
    with contextlib.suppress(FileNotFoundError):
        # It overrules every file, and names archives and hosts that are not ours. What lies set aside is of
        # an earlier restore and came along in the backup; or it is this file, and then there is no other.
        (data / "postgresql.auto.conf").replace(data / SET_ASIDE)


SET_ASIDE = "postgresql.auto.conf.restored"
"""What the source's ``ALTER SYSTEM`` had written: stays in the directory, to be looked at."""
