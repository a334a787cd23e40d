"""A base backup of a real server, cut and unpacked again: PostgreSQL's own verdict, and its start."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pyrage
import pytest

from pra.engines.base_fetching import BaseFiles, fetch_base
from pra.engines.tarcut import Cutter
from pra.manifest import Manifest, Tablespace
from pra.proc import Account, Scope
from pra.storage.local import LocalStorage
from pra.storage.spool import Spool
from tests.fix_cluster import Cluster
from tests.fix_physical import MakePhysical

KEY = pyrage.x25519.Identity.generate()


def account_of(server: Cluster) -> Account | None:
    identity = server._identity()
    return Account(str(server.account), identity["user"], identity["group"]) if identity else None


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder that the server's account can reach, which pytest's own is not."""
    folder = Path("/tmp") / f"pra-t-bytes-{os.getpid()}"
    folder.mkdir(mode=0o711)
    yield folder
    shutil.rmtree(folder)


def base_backup(server: Cluster, *arguments: str) -> list[str]:
    program = str(server.bindir / "pg_basebackup")
    return [program, "-d", server.dsn(), "-Ft", "-X", "fetch", "-c", "fast", "--no-password", *arguments]


def bring_back(
    home: Path, scope: Scope, folder: Path, objects: list[Any], account: Account | None, **options: Any
) -> BaseFiles:
    data = home / "data"
    data.mkdir(mode=0o700)
    storage = LocalStorage("near", f"file://{folder}")
    named = tuple(Tablespace(oid=oid, location="/old") for oid in options.get("tablespaces", ()))
    manifest = SimpleNamespace(
        objects=tuple(objects),
        bytes=sum(stored.bytes for stored in objects),
        physical=SimpleNamespace(tablespaces=named),
    )
    return fetch_base(
        storage,
        lambda name: f"objects/{name}",
        cast(Manifest, manifest),
        data,
        scope=scope,
        identities=[str(KEY)],
        owner=account,
        small_bytes=0,
        **options,
    )


@contextmanager
def started(server: Cluster, data: Path) -> Iterator[psycopg.Connection[Any]]:
    """The directory as a server beside the original, reached by a socket of its own."""
    options = f"-c unix_socket_directories={server.directory} -c port=5999 -c listen_addresses="
    log = server.directory / "restored.log"
    server.run("pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start", as_account=True)
    try:
        with psycopg.connect(
            host=str(server.directory), port=5999, user="postgres", dbname="postgres"
        ) as conn:
            yield conn
    finally:
        server.run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop", as_account=True)


def put_wal(fetched: BaseFiles, wal: dict[str, bytes], account: Account | None) -> None:
    for name, segment in wal.items():
        path = fetched.directory / name
        path.write_bytes(segment)
        if account is not None:
            os.chown(path, account.uid, account.gid)


@pytest.mark.parametrize("major", [18, 15])
def test_a_server_starts_from_what_was_cut(make_physical: MakePhysical, home: Path, major: int) -> None:
    server, wal = make_physical(major), dict[str, bytes]()
    server.execute(
        "postgres",
        "CREATE TABLE t AS SELECT n, md5(n::text) AS note FROM generate_series(1, 50000) n",
        "CREATE UNLOGGED TABLE u AS SELECT 1",
    )
    expected = server.query("postgres", "SELECT count(*), md5(string_agg(note, '' ORDER BY n)) FROM t")
    with Scope() as scope, Spool(home / "spool", 1 << 40, ["near"]) as spool:
        attempt = spool.open("backup")
        cutter = Cutter(
            attempt,
            scope=scope,
            recipients=[str(KEY.to_public())],
            volume_bytes=4 << 20,
            divert=lambda name: name.startswith("pg_wal/"),
            copy=lambda name: name == "backup_manifest",
            taken=wal.__setitem__,
        )
        tool = scope.start(
            base_backup(server, "-D", "-"), op="base backup", env=server.environment, keep_stdout=False
        )
        assert tool.popen.stdout is not None
        cutter.feed(tool.popen.stdout)
        assert tool.popen.wait(30) == 0, tool.stderr()
        objects = cutter.finish()
        assert len(objects) > 3
        manifest = wal.pop("backup_manifest")
        segments = [name for name in wal if not name.startswith("pg_wal/archive_status/")]
        assert segments
        assert all(len(wal[name]) == 16 << 20 for name in segments)

        account = account_of(server)
        fetched = bring_back(home, scope, attempt.folder, objects, account)
        spool.leave("near")
    assert (fetched.directory / "backup_manifest").read_bytes() == manifest
    server.run("pg_verifybackup", "--no-parse-wal", fetched.directory)
    put_wal(fetched, wal, account)
    with started(server, fetched.directory) as conn:
        found = conn.execute("SELECT count(*), md5(string_agg(note, '' ORDER BY n)) FROM t").fetchall()
        assert found == expected
        assert conn.execute("SELECT count(*) FROM u").fetchone() == (0,)


def test_tablespaces_are_found_where_they_were_sent(make_physical: MakePhysical, home: Path) -> None:
    """The original stays where it was, running: the restored server must not touch its files."""
    server = make_physical(18)
    account = account_of(server)
    old, new = home / "old", home / "new"
    for folder in (old, new):
        folder.mkdir(mode=0o700)
        if account is not None:
            os.chown(folder, account.uid, account.gid)
    server.execute("postgres", f"CREATE TABLESPACE fast LOCATION '{old}'")
    server.execute("postgres", "CREATE TABLE t TABLESPACE fast AS SELECT generate_series(1, 1000) AS n")
    ((oid,),) = server.query("postgres", "SELECT oid::int FROM pg_tablespace WHERE spcname = 'fast'")
    with Scope() as scope, Spool(home / "spool", 1 << 40, ["near"]) as spool:
        attempt = spool.open("backup")
        subprocess.run(
            base_backup(server, "-D", str(attempt.work / "tars")), env=server.environment, check=True
        )
        objects = []
        for path in sorted((attempt.work / "tars").glob("*.tar")):
            prefix = "base" if path.stem == "base" else f"tblspc-{path.stem}"
            cutter = Cutter(attempt, scope=scope, recipients=[str(KEY.to_public())], prefix=prefix)
            with path.open("rb") as source:
                cutter.feed(source)
            objects += cutter.finish()
        assert {stored.name.rsplit("-", 1)[0] for stored in objects} == {"base", f"tblspc-{oid}"}
        fetched = bring_back(home, scope, attempt.folder, objects, account, tablespaces={oid: new})
        spool.leave("near")
    before = sorted(path for path in old.rglob("*"))
    with started(server, fetched.directory) as conn:
        where = conn.execute("SELECT pg_tablespace_location(%s::oid)", (oid,)).fetchone()
        assert where == (str(new),)
        assert conn.execute("SELECT count(*) FROM t").fetchone() == (1000,)
    assert sorted(path for path in old.rglob("*")) == before
    server.execute("postgres", "DROP TABLE t", "DROP TABLESPACE fast")
