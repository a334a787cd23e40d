"""A source whose rows say where recovery stopped: one transaction a row, each with its time, id and position.

Independent of how base backups are taken: the data directory comes from plain ``pg_basebackup``, the WAL from
``archive_command``, shipped into a repository by `pra.wal.shipping`.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pra.postgres.recovering_server import RecoveringServer, open_recovery
from pra.postgres.sandbox import sandbox_account, sandbox_root
from pra.postgres.tools import Tools
from pra.postgres.wal import HISTORY, SEGMENT, SEGMENT_BYTES
from pra.proc import Scope
from pra.storage.local import LocalStorage
from pra.wal.ahead import LIMIT_BYTES, WalAhead
from pra.wal.archive import Archive, read_archive
from pra.wal.shipping import seal_segment, ship, ship_history
from tests.fix_cluster import Cluster, free_port
from tests.fix_physical import SETTINGS, SUMMARIES, bindir_of
from tests.fix_record import make_storage
from tests.scratch import SANDBOXES, SCRATCH

TARGET = "db"
ROWS = 10
_COMMIT = re.compile(r"tx:\s+(\d+), lsn: ([0-9A-F]+/[0-9A-F]+), .*desc: COMMIT ([-0-9]+ [:0-9.]+) UTC")


@dataclass(frozen=True)
class Row:
    """A committed row: by which transaction; when, and where its commit record begins, as the WAL says."""

    number: int
    xid: int
    at: datetime = datetime.min
    lsn: str = ""


@dataclass
class Source:
    """The server, its archive folder, a base backup and the rows committed after it."""

    cluster: Cluster
    home: Path
    base: Path
    rows: list[Row] = field(default_factory=list)

    @property
    def archived(self) -> Path:
        return self.cluster.directory / "archive"

    @property
    def tools(self) -> Tools:
        return Tools(self.cluster.bindir, self.cluster.major, str(self.cluster.major))

    def system_id(self) -> str:
        return str(self.cluster.query("postgres", "SELECT system_identifier FROM pg_control_system()")[0][0])

    def commit(self, number: int) -> None:
        with self.cluster.connect("app", autocommit=False) as connection:
            connection.execute("INSERT INTO numbered VALUES (%s)", (number,))
            xid = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
            connection.commit()
        assert xid is not None
        self.rows.append(Row(number, int(xid[0])))

    def base_backup(self, folder: Path) -> None:
        """Plain ``pg_basebackup``: the data directory as it is, with no WAL of its own."""
        self.cluster.run("pg_basebackup", "-D", folder, "-Xnone", "-cfast", "--no-sync", "--no-manifest")

    def switch(self) -> str:
        """Finish the segment; its name, once it is archived."""
        name = str(self.cluster.query("app", "SELECT pg_walfile_name(pg_switch_wal())")[0][0])
        deadline = time.monotonic() + 20
        while not (self.archived / name).exists():
            assert time.monotonic() < deadline, f"{name} was not archived"
            time.sleep(0.05)
        return name

    def find_positions(self) -> None:
        """Where each row's commit record begins, as ``pg_waldump`` says."""
        found = {}
        for segment in sorted(p for p in self.archived.iterdir() if SEGMENT.fullmatch(p.name)):
            said = self.cluster.run("pg_waldump", "--rmgr=Transaction", segment, check=False).stdout
            for xid, lsn, at in _COMMIT.findall(said):
                moment = datetime.strptime(at, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
                found[int(xid)] = (moment, lsn)
        self.rows = [Row(row.number, row.xid, *found[row.xid]) for row in self.rows]

    def ship(self, storage: LocalStorage) -> Archive:
        """Put everything archived into a repository, and list it."""
        spool = self.home / "spool"
        spool.mkdir(exist_ok=True)
        for path in sorted(self.archived.iterdir()):
            if SEGMENT.fullmatch(path.name):
                sealed = seal_segment(path, path.name, spool, system_id=self.system_id(), recipients=())
                ship(storage, TARGET, sealed, retain_until=None)
                sealed.path.unlink()
            elif match := HISTORY.fullmatch(path.name):
                data = path.read_bytes()
                ship_history(storage, TARGET, self.system_id(), int(match[1], 16), data, retain_until=None)
        return read_archive(storage, TARGET, self.system_id())


@dataclass
class Recoverable:
    """A source, what a repository holds of it, and copies of its base backup to recover in."""

    source: Source
    storage: LocalStorage
    archive: Archive
    names: tuple[str, ...]
    place: Path

    @contextmanager
    def server(
        self,
        *,
        names: Sequence[str] | None = None,
        data: Path | None = None,
        archive: Archive | None = None,
        limit_bytes: int = LIMIT_BYTES,
        durable: bool = False,
    ) -> Iterator[RecoveringServer]:
        account = sandbox_account(None)
        folder = data or self.copy()
        with Scope() as scope:
            ahead = WalAhead(
                self.storage, TARGET, archive or self.archive, self.names if names is None else names,
                folder.with_suffix(".wal"), scope=scope, identities=(), segment_bytes=SEGMENT_BYTES,
                account=account, limit_bytes=limit_bytes,
            )  # fmt: skip
            root = sandbox_root(SANDBOXES, Path("/tmp"))
            opened = open_recovery(
                scope, self.source.tools, folder, root=root, account=account, role="postgres", ahead=ahead,
                durable=durable,
            )  # fmt: skip
            with ahead, opened as server:
                yield server

    def copy(self) -> Path:
        """The base backup, owned by the account that sandboxes run as."""
        number = len(list(self.place.glob("data*")))
        folder = self.place / f"data{number}"
        shutil.copytree(self.source.base, folder, symlinks=True)
        folder.chmod(0o700)
        if account := sandbox_account(None):
            for path in (folder, *folder.rglob("*")):
                shutil.chown(path, account.uid, account.gid)
        return folder


@dataclass
class Standing:
    """A data directory that is started as anybody would: by ``pg_ctl``, with its own configuration."""

    source: Cluster
    data: Path

    @contextmanager
    def started(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        port = free_port()
        log = self.data.with_suffix(".log")
        words = ("-D", self.data, "-l", log, "-w", "-o", f"-p {port} -k {self.source.directory}")
        log.touch()
        if self.source.account:
            shutil.chown(log, self.source.account)
            for path in (self.data, *self.data.rglob("*")):
                shutil.chown(path, self.source.account)
        self.source.run("pg_ctl", *words, "start", as_account=True)
        try:
            dsn = make_conninfo(host=str(self.source.directory), port=port, dbname="app", user="postgres")
            with psycopg.connect(dsn, autocommit=True) as connection:
                yield connection
        finally:
            self.source.run("pg_ctl", "-D", self.data, "-w", "-m", "fast", "stop", as_account=True)


def count(server: RecoveringServer) -> int:
    """How many rows came back; and that they are the first ones, without a hole."""
    with server.server.with_database("app").connect() as connection:
        row = connection.execute("SELECT count(*), coalesce(max(id), 0) FROM numbered").fetchone()
    assert row is not None
    assert row[0] == row[1]
    return int(row[0])


@contextmanager
def a_place() -> Iterator[Path]:
    """A folder whose owner may run a server; below one that everybody may enter."""
    folder = SCRATCH / f"pra-t-{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def a_source(place: Path, major: int = 18, settings: str = "") -> Iterator[Source]:
    """A server that archives, database ``app`` with an empty table ``numbered``, and a base backup of it."""
    with a_cluster(major, settings) as cluster:
        archive = cluster.directory / "archive"
        archive.mkdir()
        if cluster.account:
            shutil.chown(archive, cluster.account)
        cluster.configure(f"archive_mode = on\narchive_command = 'cp %p {archive}/%f'\n")
        cluster.restart()
        cluster.createdb("app")
        cluster.execute("app", "CREATE TABLE numbered (id int PRIMARY KEY)")
        source = Source(cluster, place, place / "base")
        source.base_backup(source.base)
        yield source


@contextmanager
def a_cluster(major: int = 18, settings: str = "") -> Iterator[Cluster]:
    """A running server fit for base backups; as the fixture ``make_physical``, for longer lives."""
    summaries = SUMMARIES if major >= 17 else ""
    cluster = Cluster(bindir_of(major), settings=SETTINGS + summaries + settings)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


def ten_rows(source: Source) -> Recoverable:
    """Ten rows, each a transaction; the restore point ``half`` behind the fifth; all of it archived."""
    for number in range(1, ROWS + 1):
        source.commit(number)
        if number == ROWS // 2:
            source.cluster.execute("app", "SELECT pg_create_restore_point('half')")
            source.switch()
    source.switch()
    source.find_positions()
    return shipped(source)


def shipped(source: Source) -> Recoverable:
    """What was archived, in a repository."""
    storage = make_storage(source.home / "near", "near")
    archive = source.ship(storage)
    return Recoverable(source, storage, archive, tuple(sorted(archive.segments)), source.home)


@pytest.fixture(scope="session")
def ten() -> Iterator[Recoverable]:
    """Ten numbered rows on PostgreSQL 18; see `ten_rows`. Tests recover copies of it."""
    with a_place() as place, a_source(place) as source:
        yield ten_rows(source)
