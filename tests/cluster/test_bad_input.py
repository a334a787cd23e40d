"""Bad input: a clear error with what to do, the right exit code, and nothing lost."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pra import keys
from pra.engines.pack import Packer
from pra.errors import PraError
from pra.model import Verdict
from pra.procedures import backup as procedure
from pra.procedures import expiry
from pra.procedures.backup import BackupReport
from pra.storage.base import Storage
from pra.storage.local import LocalStorage
from pra.storage.s3 import S3Storage
from tests import fix_faults as after
from tests.fix_cluster import DEBIAN_15, Cluster, free_port
from tests.fix_pgbouncer import pooler
from tests.fix_store import LIMITS, Server
from tests.fix_world import MakeWorld, World, complaints, later


@pytest.fixture
def held(tiny: World) -> Iterator[World]:
    """A world that holds a backup, which is whole afterwards; and the next backup succeeds."""
    first = tiny.backup().backup_id
    settings = tiny.settings
    yield tiny
    tiny.settings = settings
    after.demand_whole(tiny)
    for name in ("near", "far"):
        assert first in after.committed(tiny, name)
    after.demand_quiet_server(tiny)
    assert tiny.backup().ok
    after.demand_clean_state(tiny)


def change(world: World, **parts: Any) -> None:
    """Other settings: ``target=…``, ``postgres=…`` and so on, each a dict of fields."""
    settings = world.settings
    if "target" in parts:
        target = settings.target(None).model_copy(update=parts.pop("target"))
        settings = settings.model_copy(update={"targets": {target.name: target}})
    updates = {name: getattr(settings, name).model_copy(update=fields) for name, fields in parts.items()}
    world.settings = settings.model_copy(update=updates)


def dsn(world: World, **words: Any) -> dict[str, Any]:
    return {"target": {"dsn": " ".join(f"{key}={value}" for key, value in words.items())}}


def unreachable(world: World) -> None:
    change(world, **dsn(world, host="127.0.0.1", port=free_port(), user="postgres", dbname=world.database))


def wrong_password(world: World) -> None:
    port = world.cluster.port
    change(
        world,
        **dsn(world, host="127.0.0.1", port=port, user="postgres", dbname=world.database, password="hunter2"),
    )


def no_such_database(world: World) -> None:
    words = {"host": world.cluster.directory, "port": world.cluster.port, "user": "postgres"}
    change(world, **dsn(world, **words, dbname="no_such_database"))


def tools_of_another_major(world: World) -> None:
    change(world, postgres={"bindir": str(DEBIAN_15)})


def no_keys(world: World) -> None:
    change(world, signing={"key_file": world.home / "nowhere.key"})


def not_encrypted_unsaid(world: World) -> None:
    change(world, encryption={"recipients": None})


def not_a_recipient(world: World) -> None:
    change(world, encryption={"recipients": ["age1notarecipient"]})


BACKUP: dict[str, tuple[Callable[[World], None], int, str, str]] = {
    "unreachable server": (unreachable, 1, "connection", "Check that the server runs"),
    "wrong password": (wrong_password, 1, "the server refused the password", "PGPASSFILE"),
    "no such database": (no_such_database, 1, "does not exist", "Correct the database's name"),
    "tools of another major": (tools_of_another_major, 1, "no PostgreSQL 18", "postgres.bindir"),
    "no signing key": (no_keys, 64, "key", "pra key make"),
    "encryption never said": (not_encrypted_unsaid, 64, "no encryption is configured", "pra key make"),
    "not a recipient": (not_a_recipient, 64, "not an age recipient", "pra key make"),
}


@pytest.mark.parametrize(("spoil", "code", "fact", "hint"), BACKUP.values(), ids=BACKUP)
def test_a_backup_that_cannot_be_taken_says_why(
    held: World, spoil: Callable[[World], None], code: int, fact: str, hint: str
) -> None:
    spoil(held)
    with pytest.raises(PraError) as caught:
        held.backup()
    assert caught.value.exit_code == code
    assert fact in caught.value.message
    assert hint in caught.value.hint
    assert "hunter2" not in f"{caught.value!r} {caught.value}"


def test_no_such_backup_exits_64(held: World) -> None:
    with pytest.raises(PraError, match="holds no backup '20200101T000000Z-full-beef'") as caught:
        held.verify("near", "20200101T000000Z-full-beef")
    assert caught.value.exit_code == 64
    assert "pra backups" in caught.value.hint


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_pooler_is_refused_unless_it_keeps_sessions(held: World, mode: str) -> None:
    with pooler(held.cluster, mode) as words:
        change(held, target={"dsn": f"{words} user=postgres dbname={held.database}"})
        if mode == "session":
            assert held.backup().ok
            return
        with pytest.raises(PraError, match="pooler in transaction mode") as caught:
            held.backup()
        assert "DSN of PostgreSQL itself" in caught.value.hint
        change(held, target={"dsn": held.cluster.dsn(held.database)})
        # The pooler still holds its sessions: no lock of ours may have stayed in one.
        assert held.backup().ok


Usage = namedtuple("Usage", "total used free")


def test_a_disk_too_small_is_said_before_anything_is_read(
    held: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 30, 1 << 30, 1 << 20))
        with pytest.raises(PraError, match="1 MiB free where") as caught:
            held.backup()
        assert "PRA_STATE_DIR" in caught.value.hint
        with pytest.raises(PraError, match="1 MiB free where"):
            held.verify()


# -- repositories ----------------------------------------------------------------------------------


def failed_far(report: BackupReport) -> tuple[str, str]:
    """What the report says of ``far``, after making sure that ``near`` has everything."""
    assert report.exit_code == 2
    near, far = report.repositories
    assert (near.name, near.ok, far.name, far.ok) == ("near", True, "far", False)
    return far.error, far.hint


def with_far(world: World, far: Storage) -> dict[str, Storage]:
    return {"near": after.storage(world, "near"), "far": far}


def test_a_repository_that_is_not_a_directory(held: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    far = LocalStorage("far", tmp_path / "file")
    error, hint = failed_far(held.backup(repositories=with_far(held, far)))
    assert "is not a directory" in error
    assert "Mount its disk" in hint


def test_a_repository_that_is_full_is_not_left_full(held: World, small_disk: Path) -> None:
    far = LocalStorage("far", small_disk / "far")
    far.initialise()
    assert held.backup(repositories=with_far(held, far)).ok
    free = shutil.disk_usage(small_disk).free
    noise = "decode(md5(g::text) || md5((-g)::text), 'hex')"
    held.execute(f"CREATE TABLE large AS SELECT {noise} FROM generate_series(1, 100000) g")
    error, hint = failed_far(held.backup(repositories=with_far(held, far)))
    assert "no space left on device" in error
    assert "Free space" in hint
    assert shutil.disk_usage(small_disk).free >= free - 20_000
    held.execute("DROP TABLE large")
    assert held.backup(repositories=with_far(held, far)).ok


def test_a_bucket_that_is_not_there(held: World, moto_server: Server) -> None:
    far = S3Storage("far", "s3://no-such-bucket/pra", moto_server.account(), limits=LIMITS)
    error, hint = failed_far(held.backup(repositories=with_far(held, far)))
    assert "no-such-bucket" in error
    assert hint


def test_a_wrong_s3_key(held: World, rclone_server: Server) -> None:
    store = rclone_server.store()
    account = rclone_server.account(secret="not-the-secret")
    far = S3Storage("far", store.url, account, limits=LIMITS)
    error, hint = failed_far(held.backup(repositories=with_far(held, far)))
    assert "not-the-secret" not in error + hint
    assert hint


# -- keys ------------------------------------------------------------------------------------------


def test_a_missing_identity_is_no_verdict(held: World) -> None:
    change(held, encryption={"identity_file": held.home / "nowhere.txt"})
    with pytest.raises(PraError, match="no age identity") as caught:
        held.verify()
    assert caught.value.exit_code == 1
    assert "recovery sheet" in caught.value.hint


def test_a_wrong_identity_fails_and_says_so(held: World, tmp_path: Path) -> None:
    keys.make_keys(tmp_path / "other")
    change(held, encryption={"identity_file": tmp_path / "other" / "identity.txt"})
    report = held.verify()
    assert report.verdict is Verdict.FAIL
    assert "identity" in complaints(report)


def test_a_signature_of_nobody_we_trust(held: World, tmp_path: Path) -> None:
    keys.make_keys(tmp_path / "other")
    change(held, signing={"key_file": tmp_path / "other" / "signing.key"})
    report = held.verify()
    assert report.verdict is Verdict.FAIL
    assert "manifest" in complaints(report)


# -- the sandbox -----------------------------------------------------------------------------------


@contextmanager
def build_without(server: Cluster, extension: str) -> Iterator[Path]:
    """The same programs, of links, without one extension; yields their bindir."""
    root = Path(tempfile.mkdtemp(prefix="pra-build-", dir=server.bindir.parents[1]))
    try:
        root.chmod(0o755)
        home = root / server.bindir.parent.name
        shutil.copytree(server.bindir.parent, home, symlinks=True, copy_function=os.link)
        (control,) = home.rglob(f"{extension}.control")
        control.unlink()
        yield home / "bin"
    finally:
        shutil.rmtree(root)


def test_an_extension_missing_here_is_no_verdict(held: World, tmp_path: Path) -> None:
    held.execute("CREATE EXTENSION pg_trgm")
    held.backup()
    with build_without(held.cluster, "pg_trgm") as bindir:
        change(held, postgres={"bindir": str(bindir)})
        with pytest.raises(PraError, match="lacks extensions: pg_trgm") as caught:
            held.verify()
    assert caught.value.exit_code == 64
    assert "Install their packages" in caught.value.hint


# -- a server that is busy, or goes away -------------------------------------------------------------


def test_a_lock_that_cannot_be_had_ends_within_its_limit(
    held: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(procedure, "RETRY_SECONDS", 0.05)
    with held.cluster.connect(held.database, autocommit=False) as other:
        other.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        with pytest.raises(PraError) as caught:
            held.backup()
        # lock_wait is 2 s, and three are tried.
        assert time.monotonic() - started < 3 * (2 + 3)
        assert caught.value.transient
        assert "lock" in caught.value.message
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        assert held.cluster.query("postgres", waiting) == [(0,)]
        other.rollback()


@pytest.fixture
def own_server(pg18: Cluster) -> Iterator[Cluster]:
    """A server that the test may restart."""
    server = Cluster(pg18.bindir)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def test_a_server_restarted_amid_the_dump_is_read_again_under_a_new_id(
    own_server: Cluster, make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = own_server.createdb()
    world = make_world(own_server, name)
    rows = "SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 500000) g"
    world.execute("CREATE TABLE small (a int)", f"CREATE TABLE large AS {rows}")
    # A volume a file, so that the small table is published while the large one is still read.
    assert Packer.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(Packer.__init__.__kwdefaults__, "volume_bytes", 1)
    reports: list[BackupReport] = []
    thread = threading.Thread(target=lambda: reports.append(world.backup()))
    thread.start()
    first = published_id(world)
    own_server.restart()
    thread.join(60)
    (report,) = reports
    assert report.ok
    assert report.backup_id != first
    for repository in ("near", "far"):
        assert after.committed(world, repository) == {report.backup_id}
        after.demand_nothing_but_backups(world, repository)
    after.demand_whole(world)
    after.demand_clean_state(world)


def published_id(world: World) -> str:
    """The id of a backup whose first object has just arrived."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for path in world.folder("near").glob("backups/*/objects/dump-*"):
            if not path.name.startswith("."):
                return path.parents[1].name
        time.sleep(0.002)
    raise AssertionError("nothing was published")


# -- clocks ------------------------------------------------------------------------------------------


def test_a_clock_a_year_ahead_is_said_and_removes_nothing(held: World) -> None:
    after.keep_one_hour(held)
    year = 365 * 24
    before = after.committed(held, "near")
    report = held.backup(clock=later(year))
    assert report.ok
    assert any("clock" in warning and "apart" in warning for warning in report.warnings)
    assert report.expired == ()
    for name in ("near", "far"):
        assert before | {report.backup_id} == after.committed(held, name)
    with held.context(clock=later(year)) as context:
        assert expiry.gc(context, "near").removed == ()
    newest = held.backup().backup_id
    assert held.verify("near").backup_id == newest, "the id from the future stayed the newest"
