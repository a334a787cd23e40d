"""The one subprocess runner.

A `Scope` owns every process started in it. Leaving the scope, for whatever reason, ends every process
group before any thread is joined: a tool blocked on a lock must not keep the caller alive. Processes
also ask the kernel to be killed when this process dies (Linux), and a `DeadMan` kills their children,
so that a SIGKILL leaves no dump holding locks on production.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pra.deadman import DeadMan
from pra.errors import ToolError, ToolTimeout
from pra.redact import redact

Progress = Callable[[], int]
"""Any number that changes while work moves on, for example bytes in a directory."""

_ERROR_LINE = re.compile(r"\b(?:error|fatal|panic):", re.IGNORECASE)
_TAIL_LINES = 200
_GRACE_SECONDS = 10.0
_ENV_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "HOME", "TMPDIR", "SSL_CERT_FILE", "PGPASSFILE", "PGSSLROOTCERT")


@dataclass(frozen=True)
class Completed:
    """A tool that exited with 0. ``stdout`` is whole; ``stderr`` is its redacted tail."""

    stdout: str
    stderr: str
    seconds: float


@dataclass(frozen=True)
class Account:
    """The unprivileged system account that a process runs as. Only root can change to it."""

    name: str
    uid: int
    gid: int


@cache
def _setpriv() -> str | None:
    return shutil.which("setpriv")


def make_argv(
    argv: Sequence[str], *, account: Account | None = None, isolated: bool = False
) -> tuple[str, ...]:
    """Wrap a command so that it drops privileges, loses the network, and dies with its parent.

    ``isolated`` needs ``unshare``; see `can_isolate`. Where ``setpriv`` is missing (not Linux), the
    account is changed by the caller through ``Popen(user=…)``.
    """
    wrapped: list[str] = []
    if isolated:
        wrapped += ["unshare", "--net"]
        if os.geteuid() != 0:
            wrapped += ["--user", "--map-current-user"]
        wrapped.append("--")
    if setpriv := _setpriv():
        wrapped += [setpriv, "--pdeathsig", "KILL"]
        if account is not None and os.geteuid() == 0:
            wrapped += [f"--reuid={account.uid}", f"--regid={account.gid}"]
            wrapped += ["--clear-groups", "--no-new-privs"]
        wrapped.append("--")
    return (*wrapped, *argv)


@cache
def can_isolate() -> bool:
    """Whether a process can be started here without any network, found by trying it."""
    if shutil.which("unshare") is None:
        return False
    with Scope() as scope:
        try:
            scope.run(["true"], op="try isolation", timeout=10, isolated=True)
        except ToolError:
            return False
    return True


class Process:
    """A started tool whose stderr (and stdout, unless taken) is drained by a thread, tail kept."""

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        op: str,
        secrets: Sequence[str],
        *,
        keep_stdout: bool,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self.popen = popen
        self.op = op
        self._secrets = secrets
        self._on_line = on_line
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._stdout: list[bytes] = []
        self.seen = 0
        self._threads: list[threading.Thread] = []
        if popen.stderr is not None:
            self._drain(popen.stderr, self._take_error)
        if keep_stdout and popen.stdout is not None:
            self._drain(popen.stdout, self._stdout.append)

    def _take_error(self, data: bytes) -> None:
        line = data.decode(errors="replace").rstrip("\n")
        self._tail.append(line)
        if self._on_line is not None:
            self._on_line(line)

    def _drain(self, stream: IO[bytes], take: Callable[[bytes], None]) -> None:
        def loop() -> None:
            with contextlib.suppress(OSError, ValueError):  # closed under us when the group is ended
                for line in stream:
                    self.seen += len(line)
                    take(line)

        thread = threading.Thread(target=loop, name=f"drain {self.op}", daemon=True)
        thread.start()
        self._threads.append(thread)

    @property
    def pid(self) -> int:
        return self.popen.pid

    def running(self) -> bool:
        return self.popen.poll() is None

    def stderr(self) -> str:
        return redact("\n".join(self._tail), self._secrets)

    def stdout(self) -> str:
        self._join()
        return b"".join(self._stdout).decode(errors="replace")

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(timeout=5)

    def send(self, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signum)

    def end(self, grace: float = _GRACE_SECONDS, first: int = signal.SIGTERM) -> None:
        """End the whole group: ``first``, then SIGKILL after ``grace`` seconds."""
        if self.running():
            self.send(first)
            try:
                self.popen.wait(grace)
            except subprocess.TimeoutExpired:
                self.send(signal.SIGKILL)
                self.popen.wait(30)
        self.send(signal.SIGKILL)  # grandchildren that outlived their leader
        self._join()

    def check(self) -> None:
        """Raise ToolError if it has exited badly."""
        code = self.popen.poll()
        if code is None or code == 0:
            return
        self._join()
        tail = self.stderr()
        how = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
        message = f"{_tool_name(self.popen)} {how}: {_telling_line(tail)[:400]}"
        raise ToolError(message, stderr=tail, returncode=code, op=self.op)


def _telling_line(tail: str) -> str:
    """The last line that names an error, else the last that says anything."""
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR_LINE.search(line)]
    return (errors or lines or ["it wrote no message"])[-1]


def _tool_name(popen: subprocess.Popen[bytes]) -> str:
    argv = popen.args if isinstance(popen.args, list | tuple) else [popen.args]
    words = [str(word) for word in argv]
    while "--" in words[:12]:
        words = words[words.index("--") + 1 :]
    return Path(words[0]).name


class Scope:
    """Owns processes: a context manager that ends every group it started when it is left."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: list[Process] = []
        self._closed = threading.Event()
        # The kernel's parent-death signal is bound to the *thread* that forked: one that lives as
        # long as the scope must do it, not a worker thread that ends after its task.
        self._spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawn")
        self._deadman = DeadMan()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        """End everything, newest first. Safe to call twice and from a signal handler's thread."""
        self._closed.set()
        with self._lock:
            processes, self._processes = self._processes[::-1], []
        for process in processes:
            process.send(signal.SIGTERM)
        for process in processes:
            process.end()
        self._deadman.close()
        self._spawner.shutdown(wait=False)

    def start(
        self,
        argv: Sequence[str],
        *,
        op: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
        isolated: bool = False,
        secrets: Sequence[str] = (),
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        stdout: IO[bytes] | int = subprocess.PIPE,
        stderr: IO[bytes] | int = subprocess.PIPE,
        keep_stdout: bool = True,
        on_line: Callable[[str], None] | None = None,
    ) -> Process:
        """Start a tool in a process group of its own, with a minimal environment plus ``env``.

        Raises:
            ToolError: The program is missing or cannot be executed, or the scope is closed.
        """
        if self.closed:
            raise ToolError("the work was stopped", op=op)
        wrapped = make_argv(argv, account=account, isolated=isolated)
        user = account.uid if account and _setpriv() is None and os.geteuid() == 0 else None
        group = account.gid if account and user is not None else None
        environment = {name: os.environ[name] for name in _ENV_KEPT if name in os.environ}
        environment |= {"LC_MESSAGES": "C", **(env or {})}

        def spawn() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                wrapped,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=environment,
                cwd=cwd,
                start_new_session=True,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
            )

        if shutil.which(argv[0]) is None:
            raise ToolError(
                f"cannot start {argv[0]}: it is not there or not executable",
                op=op,
                hint="Install the tool, or correct the path in pra.toml.",
            )
        try:
            self._deadman.ready()
            popen = self._spawner.submit(spawn).result()
        except (OSError, RuntimeError) as error:
            raise ToolError(f"cannot start {argv[0]}: {error}", op=op) from None
        process = Process(popen, op, secrets, keep_stdout=keep_stdout, on_line=on_line)
        with self._lock:
            if not self.closed:
                self._processes.append(process)
                self._deadman.watch(process.pid)
                return process
        process.end()
        raise ToolError("the work was stopped", op=op)

    def forget(self, process: Process) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._processes.remove(process)
        self._deadman.forget(process.pid)

    def run(
        self,
        argv: Sequence[str],
        *,
        op: str,
        timeout: float,
        idle_timeout: float | None = None,
        progress: Progress | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
        isolated: bool = False,
        secrets: Sequence[str] = (),
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        """Run a tool to its end.

        Args:
            on_line: Called with every line of stderr, unredacted, on another thread. It must not raise.
            timeout: Seconds it may take in all.
            idle_timeout: Seconds it may take without ``progress`` changing (default: bytes it wrote).

        Raises:
            ToolTimeout: A limit was reached; the group has been ended.
            ToolError: It exited with anything but 0, or the scope was closed under it.
        """
        start = time.monotonic()
        process = self.start(
            argv,
            op=op,
            env=env,
            cwd=cwd,
            account=account,
            isolated=isolated,
            secrets=secrets,
            stdin=stdin,
            on_line=on_line,
        )
        try:
            self._wait(process, start, timeout, idle_timeout, progress or (lambda: process.seen))
            if self.closed:
                raise ToolError("the work was stopped", op=op)
            process.check()
        finally:
            process.end()
            self.forget(process)
        return Completed(process.stdout(), process.stderr(), time.monotonic() - start)

    def _wait(
        self, process: Process, start: float, timeout: float, idle_timeout: float | None, progress: Progress
    ) -> None:
        last, moved = progress(), start
        pause = 0.005
        while process.running():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.popen.wait(pause)
            pause = min(pause * 2, 0.1)
            now = time.monotonic()
            if now - start > timeout:
                raise self._timeout(process, f"took longer than {timeout:g} s")
            if idle_timeout is None:
                continue
            if (seen := progress()) != last:
                last, moved = seen, now
            elif now - moved > idle_timeout:
                raise self._timeout(process, f"made no progress for {idle_timeout:g} s")

    def _timeout(self, process: Process, what: str) -> ToolTimeout:
        process.end(grace=3)
        return ToolTimeout(
            f"{_tool_name(process.popen)} {what}",
            stderr=process.stderr(),
            op=process.op,
            hint="Look at the server's activity and locks (pg_stat_activity, pg_locks), then run it again.",
        )


def run(
    argv: Sequence[str],
    *,
    op: str,
    timeout: float,
    idle_timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
) -> Completed:
    """Run one tool in a scope of its own; see `Scope.run`."""
    with Scope() as scope:
        return scope.run(argv, op=op, timeout=timeout, idle_timeout=idle_timeout, env=env, secrets=secrets)
