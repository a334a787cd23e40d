"""Setting up against a real server: a plain role made by the printed SQL, a conversation at a terminal."""

from __future__ import annotations

import os
import pty
import re
import secrets
import select
import shutil
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from deployments.cli.app import run
from tests.fix_cluster import Cluster
from tests.fix_operator import Ran
from tests.scratch import SCRATCH

ROLE, PASSWORD = "backup", 'p\'w \\ "odd"'

APPLICATION = (
    "CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, phone text)",
    "CREATE TABLE contracts (id bigint PRIMARY KEY, user_id bigint NOT NULL REFERENCES users, status text, "
    "rent numeric, charges numeric, starts_on date, ends_on date)",
    "INSERT INTO users SELECT n, 'u' || n || '@example.com', NULLIF(n % 3, 0) FROM generate_series(1, 300) n",
    "INSERT INTO contracts SELECT n, 1 + n % 300, CASE n % 2 WHEN 0 THEN 'active' ELSE 'ended' END, 400 + n, "
    "n % 50, date '2026-01-01' + n, CASE n % 2 WHEN 1 THEN date '2026-01-01' + n + 365 END "
    "FROM generate_series(1, 900) n",
)
"""Users and contracts; what holds there by accident or on purpose is what a proposal may find."""


def make_application(server: Cluster, name: str) -> str:
    server.createdb(name)
    server.execute(name, *APPLICATION)
    return name


def dsn_of(server: Cluster, database: str, role: str = ROLE) -> str:
    """Over TCP, where a password is asked for; without it."""
    return make_conninfo(host="127.0.0.1", port=server.port, user=role, dbname=database)


def make_role(server: Cluster, database: str, printed: str) -> None:
    """Run what ``pra init --sql`` prints, as it is, with psql as a superuser."""
    file = server.directory / "role.sql"
    file.write_text(printed)
    done = subprocess.run(
        [server.bindir / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", server.dsn(database), "-f", file],
        env=server.environment, input=f"{PASSWORD}\n{PASSWORD}\n", capture_output=True, text=True, timeout=60,
        start_new_session=True,  # without a terminal, \password reads here
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@dataclass
class Here:
    """The command line in this process and an operator's directory: for what needs no process of its own."""

    home: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __post_init__(self) -> None:
        self.monkeypatch.chdir(self.home)
        for name in [name for name in os.environ if name.startswith(("PRA_", "PREFECT_", "PG", "LC_"))]:
            self.monkeypatch.delenv(name)
        self.set(PRA_STATE_DIR=str(self.home / "state"), LANG="en_US.UTF-8")

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)

    def pra(self, *arguments: str, code: int = 0) -> Ran:
        """Run to the end and demand this exit code."""
        self.capsys.readouterr()
        found = run(list(arguments))
        written = self.capsys.readouterr()
        assert found == code, f"pra {' '.join(arguments)} ended with {found}:\n{written.out}\n{written.err}"
        return Ran(found, written.out, written.err)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """On the disk of the tests' servers: that a repository is there, too, is a finding."""
    folder = SCRATCH / f"pra-h-{os.getpid()}-{secrets.token_hex(3)}"
    folder.mkdir(mode=0o755)
    yield Here(folder, monkeypatch, capsys)
    monkeypatch.undo()  # it is the working directory
    shutil.rmtree(folder)


# -- a conversation ------------------------------------------------------------------------------

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Terminal:
    """A program on a terminal of its own. ``screen``: everything it has shown, without colours."""

    process: subprocess.Popen[bytes]
    fd: int
    raw: str = ""
    read: int = field(default=0, repr=False)

    @property
    def screen(self) -> str:
        return _ESCAPES.sub("", self.raw).replace("\r", "")

    def expect(self, text: str, *, seconds: float = 60) -> str:
        """Wait until this is shown, behind what was waited for before. Returns what stands between."""
        deadline = time.monotonic() + seconds
        while text not in self.screen[self.read :]:
            assert time.monotonic() < deadline, f"{text!r} was not shown:\n{self.screen}"
            if not self._more():
                raise AssertionError(f"it ended without showing {text!r}:\n{self.screen}")
        found = self.screen.index(text, self.read)
        between = self.screen[self.read : found]
        self.read = found + len(text)
        return between

    def answer(self, question: str, text: str) -> str:
        """Wait for a question, then type a line. Returns what was shown before it."""
        before = self.expect(question)
        os.write(self.fd, text.encode() + b"\n")
        return before

    def secret(self, question: str, text: str) -> str:
        """The same for what is not shown: once the terminal has stopped showing, or it would be lost."""
        before = self.expect(question)
        deadline = time.monotonic() + 20
        while termios.tcgetattr(self.fd)[3] & termios.ECHO:
            assert time.monotonic() < deadline, f"it would show what is typed:\n{self.screen}"
            time.sleep(0.02)
        os.write(self.fd, text.encode() + b"\n")
        return before

    def press(self, key: bytes) -> None:
        os.write(self.fd, key)

    def end(self, seconds: float = 100) -> int:
        """Read to the end. Returns the exit code."""
        deadline = time.monotonic() + seconds
        while self._more():
            assert time.monotonic() < deadline, f"it does not end:\n{self.screen}"
        return self.process.wait(10)

    def _more(self) -> bool:
        if not select.select([self.fd], [], [], 0.5)[0]:
            return self.process.poll() is None
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # on Linux, the end of the other side
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)


@contextmanager
def at_a_terminal(home: Path, *arguments: str, language: str = "en_US.UTF-8") -> Iterator[Terminal]:
    """Run ``pra`` as a person does: on a terminal that controls it, wide enough to read."""
    master, slave = pty.openpty()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PRA_", "PREFECT_", "PG", "LC_"))}
    environment = clean | {
        "PRA_STATE_DIR": str(home / "state"), "LANG": language, "LC_ALL": language,
        "COLUMNS": "120", "LINES": "50", "TERM": "xterm",
    }  # fmt: skip
    program = Path(sys.executable).parent / "pra"
    process = subprocess.Popen(
        [program, *arguments], cwd=home, env=environment, stdin=slave, stdout=slave, stderr=slave,
        preexec_fn=lambda: os.login_tty(slave),
    )  # fmt: skip
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait(10)
        os.close(master)
