"""Restoring for real: into an empty database, into a new data directory."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from checks import Checks
from pra.errors import PraError, UsageError
from pra.model import Verdict
from pra.procedures import restore
from pra.procedures.destination import Destination
from pra.procedures.judging import VerifyReport
from pra.procedures.session import choose
from tests.fix_cluster import Cluster
from tests.fix_mutations import make_vault
from tests.fix_world import MakeWorld, World, complaints, failed


def restored(world: World, into: str, **changed: Any) -> tuple[VerifyReport, restore.Undertaking]:
    with world.context(**changed) as context:
        return restore.run(context, Checks(), choose(context, "newest", "near"), Destination.parse(into))


@pytest.fixture(scope="module")
def source(pg18: Cluster, world_maker: MakeWorld) -> World:
    """The database of everything, backed up."""
    return make_vault(pg18, world_maker).world


@pytest.fixture(scope="module")
def elsewhere(pg18: Cluster) -> Iterator[Cluster]:
    """Another server of the same build, with nothing in it."""
    server = Cluster(pg18.bindir)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def empty(elsewhere: Cluster) -> Iterator[str]:
    """An empty database on the other server, which has no role of ours yet."""
    name = elsewhere.createdb(template="template0")
    yield name
    elsewhere.dropdb(name)
    for role in ("mut_reader", "mut_owner"):
        elsewhere.execute("postgres", f"DROP ROLE IF EXISTS {role}")


# -- into a database -----------------------------------------------------------------------------------


def test_into_an_empty_database_it_is_restored_proven_and_recorded(
    source: World, elsewhere: Cluster, empty: str
) -> None:
    report, done = restored(source, elsewhere.dsn(empty))
    assert report.verdict is Verdict.PASS, complaints(report)
    assert {"mut_owner", "mut_reader"} <= set(done.roles_created)
    assert elsewhere.query(empty, "SELECT count(*), sum(due) FROM payments") == source.cluster.query(
        source.database, "SELECT count(*), sum(due) FROM payments"
    )
    with source.context() as context:
        last = context.evidence.head()
    assert last is not None
    assert (last.kind, last.body["verdict"]) == ("restore", "PASS")
    assert last.body["destination"].endswith(f"/{empty}")


def test_settings_of_the_database_travel_under_its_new_name(
    source: World, elsewhere: Cluster, empty: str
) -> None:
    restored(source, elsewhere.dsn(empty))
    assert elsewhere.query(empty, "SHOW work_mem") == [("5MB",)]
    roles = (
        "SELECT setconfig FROM pg_db_role_setting JOIN pg_roles r ON r.oid = setrole "
        "WHERE rolname = 'mut_reader'"
    )
    assert elsewhere.query(empty, roles) == [(["lock_timeout=9s"],)]


def test_a_role_that_exists_is_left_as_it_is(source: World, elsewhere: Cluster, empty: str) -> None:
    """It belongs to others on that server, too. That it differs is said."""
    elsewhere.execute("postgres", "CREATE ROLE mut_reader NOLOGIN CONNECTION LIMIT 9")
    report, done = restored(source, elsewhere.dsn(empty))
    assert "mut_owner" in done.roles_created
    assert "mut_reader" not in done.roles_created
    attributes = "SELECT rolcanlogin, rolconnlimit FROM pg_roles WHERE rolname = 'mut_reader'"
    assert elsewhere.query("postgres", attributes) == [(False, 9)]
    assert set(failed(report)) == {"globals"}
    assert "role mut_reader: login" in complaints(report)


@pytest.mark.parametrize(
    "content",
    ["CREATE TABLE t ()", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE SCHEMA s",
     "SELECT lo_create(0)", "CREATE TYPE colour AS ENUM ('red')", "CREATE PUBLICATION p"],
    ids=["table", "function", "schema", "large object", "type", "publication"],
)  # fmt: skip
def test_a_database_that_is_not_empty_is_refused(
    source: World, elsewhere: Cluster, empty: str, content: str
) -> None:
    elsewhere.execute(empty, content)
    with pytest.raises(UsageError, match="is not empty") as caught:
        restored(source, elsewhere.dsn(empty))
    assert caught.value.exit_code == 64
    assert elsewhere.query("postgres", "SELECT FROM pg_roles WHERE rolname = 'mut_owner'") == []


def test_an_extension_alone_does_not_make_a_database_full(
    source: World, elsewhere: Cluster, empty: str
) -> None:
    """Managed servers put some into every database."""
    elsewhere.execute(empty, "CREATE EXTENSION hstore")
    report, _ = restored(source, elsewhere.dsn(empty))
    assert report.verdict is Verdict.PASS, complaints(report)


def test_an_older_server_is_refused(source: World, pg15: Cluster) -> None:
    name = pg15.createdb(template="template0")
    try:
        with pytest.raises(UsageError, match="the destination is PostgreSQL 15, the backup is from 18"):
            restored(source, pg15.dsn(name))
    finally:
        pg15.dropdb(name)


def test_another_encoding_is_refused(source: World, elsewhere: Cluster) -> None:
    name = elsewhere.createdb(template="template0", options="ENCODING 'LATIN1' LOCALE 'C'")
    try:
        with pytest.raises(UsageError, match="encoding is LATIN1, the backup's is UTF8"):
            restored(source, elsewhere.dsn(name))
    finally:
        elsewhere.dropdb(name)


def test_a_newer_server_takes_the_backup_of_an_older_one(
    pg15: Cluster, elsewhere: Cluster, empty: str, make_world: MakeWorld
) -> None:
    """Every row is compared; what each major's catalogues spell otherwise is another question."""
    old = make_vault(pg15, make_world).world
    bindir = str(elsewhere.bindir)
    postgres = old.settings.postgres.model_copy(update={"bindir": bindir})
    settings = old.settings.model_copy(update={"postgres": postgres})
    report, _ = restored(old, elsewhere.dsn(empty), settings=settings)
    statuses = {check.name: check.status.value for check in report.checks}
    assert statuses["fingerprint"] == "passed", complaints(report)
    assert statuses["sequences"] == "passed"


def test_a_restore_that_breaks_off_says_that_the_database_is_incomplete(
    source: World, elsewhere: Cluster, empty: str
) -> None:
    elsewhere.execute("postgres", f"ALTER DATABASE {empty} SET default_transaction_read_only = on")
    with pytest.raises(PraError, match="read-only transaction") as caught:
        restored(source, elsewhere.dsn(empty))
    assert "is incomplete: drop and create it" in caught.value.hint


# -- into a data directory -----------------------------------------------------------------------------


def test_into_a_data_directory_that_its_owner_can_start(source: World, pg18: Cluster, place: Path) -> None:
    directory = place / "data"
    report, _ = restored(source, str(directory))
    assert report.verdict is Verdict.PASS, complaints(report)
    assert [p.name for p in place.iterdir()] == ["data"]
    owner = pg18.account or "root"
    assert directory.owner() == owner
    assert directory.stat().st_mode & 0o777 == 0o700
    socket = place / "s"
    socket.mkdir(mode=0o777)
    socket.chmod(0o777)
    options = f"-c unix_socket_directories={socket} -c listen_addresses= -c port=5432"
    try:
        started = pg18.run("pg_ctl", "-D", directory, "-w", "-o", options, "-l", socket / "log", "start",
                           as_account=True, timeout=60)  # fmt: skip
        assert "server started" in started.stdout
        answer = subprocess.run(
            [pg18.bindir / "psql", "-X", "-A", "-t", "-h", socket, "-p", "5432", "-U", "postgres",
             "-d", "mutable", "-c", "SHOW fsync", "-c", "SELECT count(*) FROM tenants"],
            env=pg18.environment, cwd="/tmp", capture_output=True, text=True, check=True, **pg18._identity(),
        )  # fmt: skip
        assert answer.stdout.split() == ["on", "2000"]
    finally:
        pg18.run("pg_ctl", "-D", directory, "-m", "fast", "stop", as_account=True, check=False)


def test_an_empty_folder_is_used_and_one_with_a_file_refused(source: World, place: Path) -> None:
    (place / "data").mkdir()
    assert restored(source, str(place / "data"))[0].verdict is Verdict.PASS
    with pytest.raises(UsageError, match="is not empty") as caught:
        restored(source, str(place / "data"))
    assert caught.value.exit_code == 64


def test_a_link_and_a_folder_in_a_missing_one_are_refused(source: World, place: Path) -> None:
    (place / "link").symlink_to(place / "nowhere")
    for name, says in (("link", "is not empty"), ("missing/data", "not a folder we can write to")):
        with pytest.raises(UsageError, match=says):
            restored(source, str(place / name))


def test_a_folder_that_its_owner_cannot_reach_is_refused(source: World, pg18: Cluster, place: Path) -> None:
    if pg18.account is None:
        pytest.skip("only root restores for another account")
    closed = place / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0o700)
    with pytest.raises(UsageError, match="cannot reach"):
        restored(source, str(closed / "inner" / "data"))
    assert list((closed / "inner").iterdir()) == []


def test_a_failing_restore_leaves_no_data_directory(
    source: World, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(this: restore.Undertaking) -> None:
        assert this.session.fetched is not None
        (this.session.fetched.dump / "toc.dat").write_bytes(b"PGDMP nonsense")
        load(this)

    load = restore.load
    monkeypatch.setattr(restore, "load", break_off)
    with pytest.raises(PraError):
        restored(source, str(place / "data"))
    assert list(place.iterdir()) == []


def test_what_a_killed_restore_left_is_removed_by_the_next(source: World, place: Path) -> None:
    stale = place / ".data.pra-partial-0abc1234"
    stale.mkdir()
    (stale / "owner.lock").touch()
    assert restored(source, str(place / "data"))[0].verdict is Verdict.PASS
    assert [p.name for p in place.iterdir()] == ["data"]


def test_a_finished_restore_is_kept_though_it_cannot_be_recorded(
    source: World, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> VerifyReport:
        raise PraError("the repository is out of reach", op="append evidence")

    monkeypatch.setattr(restore, "conclude", unreachable)
    with pytest.raises(PraError, match="out of reach"):
        restored(source, str(place / "data"))
    assert (place / "data" / "PG_VERSION").exists()


# -- beforehand ----------------------------------------------------------------------------------------


def test_the_plan_says_what_would_happen_and_touches_nothing(
    source: World, elsewhere: Cluster, empty: str, place: Path
) -> None:
    with source.context() as context:
        choice = choose(context, "newest", "far")
        database = restore.plan(context, choice, Destination.parse(elsewhere.dsn(empty)))
        directory = restore.plan(context, choice, Destination.parse(str(place / "data")))
    assert (database.repository, database.tables, database.rows) == ("far", 7, 2914)
    assert database.loses_seconds > 0
    assert any("empty database" in step for step in database.steps)
    assert any("data directory" in step for step in directory.steps)
    assert elsewhere.query(empty, "SELECT count(*) FROM pg_class WHERE oid >= 16384") == [(0,)]
    assert list(place.iterdir()) == []


def test_a_destination_without_a_server_is_said_before_anything_is_fetched(source: World) -> None:
    with pytest.raises(PraError) as caught:
        restored(source, "host=/nowhere dbname=x user=y")
    assert caught.value.op
