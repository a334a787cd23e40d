"""A throwaway, inert PostgreSQL server.

Restoring runs code: views, triggers and foreign tables can dial out, subscriptions and schedulers can
start. A sandbox therefore has no network (a namespace of its own where the kernel allows it), listens on
a unix socket inside its own 0700 folder only, archives nothing, replicates nothing, preloads nothing,
and runs as an account that cannot read keys when we are root. It is gone at the end, on failure, and,
if the machine died, at the next start (`sweep`).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psycopg

from pra import ephemeral
from pra.errors import RestoreError, SettingsError, ToolError
from pra.postgres.connect import Server
from pra.postgres.tools import Tools, missing_libraries, readable_by
from pra.proc import Account, Process, Scope, can_isolate

PREFIX = "sb-"
START_SECONDS = 120
STOP_SECONDS = 60
_SOCKET_LIMIT = 100  # sun_path holds 108 bytes on Linux, 104 elsewhere
_PORT = 5432  # names the socket file; nothing listens on TCP

# What keeps a sandbox from touching the world. Never overridden by a caller's settings.
INERT: Mapping[str, str] = {
    "listen_addresses": "",
    "archive_mode": "off",
    "archive_library": "",
    "primary_conninfo": "",
    "primary_slot_name": "",
    "max_logical_replication_workers": "0",
    "shared_preload_libraries": "",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "logging_collector": "off",
    "log_destination": "stderr",
    "allow_in_place_tablespaces": "on",
}
FAST: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "256MB",
    "max_parallel_maintenance_workers": "2",
}
DURABLE: Mapping[str, str] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "off",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
}


class Locale(Protocol):
    """What `initdb` must know of the source; `pra.manifest.ServerFacts` has it."""

    @property
    def encoding(self) -> str: ...
    @property
    def collate(self) -> str: ...
    @property
    def ctype(self) -> str: ...
    @property
    def bootstrap_role(self) -> str: ...
    @property
    def data_checksums(self) -> bool: ...


@dataclass
class Sandbox:
    """A running sandbox; see `open_sandbox`."""

    home: Path
    data: Path
    tools: Tools
    account: Account | None
    isolated: bool
    bootstrap_role: str
    settings: dict[str, str]
    scope: Scope = field(repr=False)
    process: Process | None = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    @property
    def server(self) -> Server:
        words = f"host={self.home / 's'} port={_PORT} user='{_escape(self.bootstrap_role)}' dbname=postgres"
        return Server(words)

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            RestoreError: It ended or did not answer in time; the message has its last words.
        """
        options = [f"{name}={value}" for name, value in {**self.settings, **INERT}.items()]
        if self.tools.major >= 17:
            options.append("event_triggers=off")  # else one ON login runs at our every connection
        options.append(f"unix_socket_directories={self.home / 's'}")
        options.append(f"hba_file={self.home / 'pg_hba.conf'}")
        argv = [self.tools.path("postgres"), "-D", str(self.data), "-p", str(_PORT)]
        for option in options:
            argv += ["-c", option]
        with self.log.open("ab") as log:
            self.process = self.scope.start(
                argv,
                op="start sandbox",
                env=self.tools.env(),
                cwd=self.home,
                account=self.account,
                isolated=self.isolated,
                stdout=log,
                stderr=log,
                keep_stdout=False,
            )
        self._wait(time.monotonic() + START_SECONDS)

    def _wait(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            if self.process is None or not self.process.running() or self.scope.closed:
                break
            with contextlib.suppress(psycopg.Error):
                psycopg.connect(self.server.dsn, connect_timeout=5).close()
                return
            time.sleep(0.05)
        raise RestoreError(f"the sandbox did not start: {self.last_words()}", op="start sandbox")

    def last_words(self) -> str:
        if not self.log.exists():
            return "it wrote no log"
        lines = [
            line
            for line in self.log.read_text(errors="replace").splitlines()[-60:]
            if any(mark in line for mark in ("FATAL:", "PANIC:", "ERROR:"))
        ]
        return lines[-1][:300] if lines else "its log names no error"

    def stop(self) -> None:
        """Stop the server, fast mode. A sandbox that does not stop is killed."""
        if self.process is not None:
            self.process.end(grace=STOP_SECONDS, first=signal.SIGINT)
            self.scope.forget(self.process)
            self.process = None

    def restart(self, settings: Mapping[str, str]) -> None:
        """Stop, change settings, start."""
        self.stop()
        self.settings |= settings
        self.start()


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def sandbox_account(name: str | None) -> Account | None:
    """The account for sandboxes: None unless we are root; then the named one, ``pra-sandbox`` or ``nobody``.

    Raises:
        SettingsError: The named account does not exist, or is root.
    """
    if os.geteuid() != 0:
        return None
    for candidate in [name] if name else ["pra-sandbox", "nobody"]:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(candidate)
            if entry.pw_uid != 0:
                return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise SettingsError(
        f"no unprivileged account {name or 'nobody'} for sandboxes",
        op="prepare sandbox",
        hint="PostgreSQL refuses to run as root: name an account under [sandbox] account in pra.toml.",
    )


def sandbox_root(configured: Path | None, state_dir: Path) -> Path:
    """The folder that holds sandboxes: short enough for a socket, and open to the unprivileged account."""
    if configured is not None:
        root = configured
    elif os.geteuid() == 0:
        root = Path("/var/tmp") / "pra-sandboxes"
    else:
        root = state_dir / "sandboxes"
        if len(str(root)) > _SOCKET_LIMIT - 40:
            root = Path(tempfile.gettempdir()) / f"pra-sandboxes-{os.getuid()}"
    if len(str(root)) > _SOCKET_LIMIT - 40:
        raise SettingsError(
            f"the sandbox folder's path is too long for a unix socket: {root}",
            op="prepare sandbox",
            hint="Set a shorter [sandbox] dir in pra.toml.",
        )
    root.mkdir(mode=0o711, parents=True, exist_ok=True)
    info = root.lstat()
    if root.is_symlink() or info.st_uid != os.geteuid() or info.st_mode & 0o022:
        raise SettingsError(
            f"{root} must be ours alone",
            op="prepare sandbox",
            hint="Remove it, or set [sandbox] dir in pra.toml.",
        )
    if os.geteuid() == 0:
        root.chmod(0o711)
    return root


@contextmanager
def open_sandbox(
    scope: Scope,
    tools: Tools,
    locale: Locale,
    *,
    root: Path,
    account: Account | None,
    durable: bool = False,
    data: Path | None = None,
) -> Iterator[Sandbox]:
    """A fresh, running server shaped like the source; removed on leaving, whatever happened.

    Args:
        durable: Settings of a server one keeps (fsync on), for honest timings and real restores.
        data: Where to put the data directory; when given, it outlives the sandbox.

    Raises:
        RestoreError: The cluster cannot be created or started here.
    """
    sweep(root)
    if account is not None:
        tools = readable_by(tools, account)
    if missing := missing_libraries(tools):
        raise RestoreError(f"postgres lacks libraries: {', '.join(missing)}", op="prepare sandbox")
    with ephemeral.ephemeral(root, PREFIX) as home:
        box = Sandbox(
            home=home,
            data=data or home / "data",
            tools=tools,
            account=account,
            isolated=can_isolate(),
            bootstrap_role=locale.bootstrap_role,
            settings=dict(DURABLE if durable else FAST),
            scope=scope,
        )
        (home / "s").mkdir(mode=0o700)
        (home / "pg_hba.conf").write_text("local all all trust\n")
        if account is not None:
            for path in (home, home / "s", home / "pg_hba.conf"):
                os.chown(path, account.uid, account.gid)
        _initdb(box, locale, durable=durable)
        try:
            box.start()
            yield box
        finally:
            box.stop()


def _initdb(box: Sandbox, locale: Locale, *, durable: bool) -> None:
    argv = [
        box.tools.path("initdb"),
        f"--pgdata={box.data}",
        f"--username={locale.bootstrap_role}",
        # For whoever starts this data directory later. The sandbox has a file of its own, which trusts
        # whoever can enter its folder.
        "--auth-local=peer",
        "--auth-host=scram-sha-256",
        f"--encoding={locale.encoding}",
        f"--lc-collate={locale.collate}",
        f"--lc-ctype={locale.ctype}",
        *(() if durable else ("--no-sync",)),
        *(("--data-checksums",) if locale.data_checksums or box.tools.major < 18 else ()),
    ]
    try:
        box.scope.run(
            argv,
            op="create sandbox",
            timeout=START_SECONDS,
            env=box.tools.env(),
            cwd=box.home,
            account=box.account,
            isolated=box.isolated,
        )
    except ToolError as error:
        raise RestoreError(
            error.message,
            op="create sandbox",
            hint="The source's locale must exist on this machine: compare with locale -a.",
        ) from None


def sweep(root: Path) -> list[Path]:
    """End and remove sandboxes whose owner is dead. Returns the folders removed."""
    return ephemeral.sweep(root, PREFIX, lambda home: _end_postmaster(home / "data"))


def _end_postmaster(data: Path) -> None:
    """Kill the server of this data directory, if it is one: a pid alone may have been reused."""
    try:
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
        cwd = Path(f"/proc/{pid}/cwd").resolve()
    except (OSError, ValueError, IndexError):
        return
    if cwd == data.resolve():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
