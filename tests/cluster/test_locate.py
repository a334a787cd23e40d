"""Finding the transaction after which a condition no longer held."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

import pytest

from deployments.cli.moments import read_moment
from pra.errors import IntegrityError, NotFoundError, PostgresError, UsageError
from pra.postgres.condition import Answer, as_query, ask
from pra.postgres.connect import Server
from pra.procedures import locate
from pra.procedures.locating import Located, Request
from tests.fix_archive import archive_wal, commit, tablespace_folder
from tests.fix_cluster import Cluster
from tests.fix_physical import SETTINGS, bindir_of, world_of
from tests.fix_stream import pra, promote, small_server
from tests.fix_world import MakeWorld, World

STILL_THERE = "select count(*) > 900 from numbered"


@dataclass
class Past:
    """A world with a history: 5,000 transactions, and which of them ended or began what."""

    world: World
    deleted: list[int] = field(default_factory=list)
    dropped: int = 0

    @cached_property
    def whole(self) -> Located:
        """The search over everything, in steps fine enough to notice every flip."""
        return self.find(STILL_THERE, steps=24)

    def find(self, condition: str, **changed: object) -> Located:
        with self.world.context() as context:
            return locate.run(context, Request(condition, **{"steps": 12, **changed}))  # type: ignore[arg-type]


def many(world: World, first: int, count: int) -> None:
    """So many transactions, each of one row."""
    world.execute(
        "DO $do$ BEGIN FOR n IN "
        f"{first} .. {first + count - 1} LOOP INSERT INTO other VALUES (n); COMMIT; END LOOP; END $do$"
    )


@pytest.fixture(scope="module")
def past(world_maker: MakeWorld) -> Iterator[Past]:
    """1,000 rows; deleted and brought back twice, then deleted for good, among 5,000 transactions."""
    server = Cluster(bindir_of(18), settings=SETTINGS)
    try:
        server.start()
        world = world_of(server, world_maker)
        world.execute("CREATE TABLE other (n int)", "CREATE TABLE doomed (n int)")
        world.backup()
        found = Past(world)
        again = "INSERT INTO numbered (id) SELECT generate_series(1, 500) ON CONFLICT DO NOTHING"
        for start in (1, 1500, 3000):
            many(world, start, 1300)
            xid, _ = commit(world, "DELETE FROM numbered WHERE id <= 500")
            found.deleted.append(xid)
            if start < 3000:
                many(world, 10_000 + start, 200)
                commit(world, again)
        many(world, 20_000, 300)
        found.dropped, _ = commit(world, "DROP TABLE doomed")
        many(world, 30_000, 400)
        archive_wal(world)
        yield found
    finally:
        server.remove()


@pytest.fixture
def small(make_world: MakeWorld) -> Iterator[World]:
    """A server with segments of 1 MiB, all of which it keeps."""
    server = small_server(settings="wal_keep_size = 400MB\n")
    try:
        server.start()
        world = world_of(server, make_world)
        world.execute("CREATE TABLE other (n int)")
        yield world
    finally:
        server.remove()


def test_the_last_of_several_deletes_is_found_among_5000_transactions(past: Past) -> None:
    found = past.whole
    assert found.ended_by is not None
    assert found.ended_by.xid == past.deleted[-1]
    assert [flip.ends for flip in found.flips] == [True, False, True, False, True]
    assert found.held is not None
    assert found.held.lsn <= found.ended_by.lsn
    assert found.held.holds


@pytest.mark.all
def test_until_looks_no_further(past: Past) -> None:
    """Up to a moment between the second delete and its repair, the second is the last."""
    whole = past.whole
    second = whole.flips[2].after
    assert second.at is not None
    found = past.find(STILL_THERE, until=second.at, steps=6)
    assert found.ended_by is not None
    assert found.ended_by.xid == past.deleted[1]
    # And from there on it does not hold before it is repaired.
    later = past.find(STILL_THERE, since=second.at, steps=4)
    assert not later.samples[0].holds
    assert later.ended_by is not None
    assert later.ended_by.xid == past.deleted[2]


@pytest.mark.all
def test_what_the_condition_is_about_may_have_been_dropped(past: Past) -> None:
    found = past.find("select count(*) = 0 from doomed")
    assert found.ended_by is not None
    assert found.ended_by.xid == past.dropped
    assert found.flips[-1].after.problem == 'relation "doomed" does not exist'


def test_what_still_holds_or_never_did_has_no_end(past: Past) -> None:
    holds = past.find("select count(*) > 0 from numbered", steps=3)
    assert (holds.ended_by, holds.flips) == (None, ())
    assert holds.held == holds.samples[-1]
    never = past.find("exists (select from numbered where id < 0)", steps=3)
    assert (never.ended_by, never.held, never.flips) == (None, None, ())


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("select count(*) from numbered", "one boolean"),
        ("select true, true", "one boolean"),
        ("select true from numbered limit 2", "several rows"),
        ("select true where false", "no row"),
        ("selec true", "syntax error"),
        ("select true; drop table numbered", "cannot insert multiple commands"),
        (
            "with gone as (delete from numbered returning 1) select count(*) > 0 from gone",
            "read-only|recovery",
        ),
        ("select no_such_column > 1 from numbered", "could be asked nowhere"),
        ("select 1 / (id - 1) > 0 from numbered where id = 1", "DivisionByZero"),
        ("", "empty"),
    ],
)
def test_what_is_no_condition_is_refused(past: Past, condition: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        past.find(condition, steps=2)
    assert caught.value.exit_code == 64


def test_a_condition_that_takes_too_long_says_so(past: Past) -> None:
    with pytest.raises(PostgresError, match="took longer than 1 s"):
        past.find("select count(*) > 0 from numbered, pg_sleep(30)", steps=2, seconds=1)


def test_a_span_that_is_none_is_refused(past: Past) -> None:
    with past.world.context() as context:
        now = context.clock()
    with pytest.raises(UsageError, match="ends before it begins"):
        past.find(STILL_THERE, since=now, until=now)


@pytest.mark.all
@pytest.mark.timeout(60)
def test_one_transaction_that_fills_many_segments_is_found(small: World) -> None:
    """Its interval is too long to be listed, and holds nothing to ask at but itself."""
    small.execute("CREATE TABLE bulk (note text)", "INSERT INTO bulk VALUES ('first')")
    small.backup()
    many(small, 1, 20)
    xid, _ = commit(
        small,
        "WITH gone AS (DELETE FROM numbered) "
        "INSERT INTO bulk SELECT repeat('x', 1000) FROM generate_series(1, 25000)",
    )
    many(small, 100, 20)
    archive_wal(small)
    with small.context() as context:
        found = locate.run(context, Request(STILL_THERE, steps=12))
    assert found.ended_by is not None
    assert (found.ended_by.xid, found.transactions) == (xid, 1)


def test_a_delete_behind_a_promotion_is_found(physical_world: World) -> None:
    """From a backup of the first timeline; the second one's first segment begins with bytes of the first."""
    world = physical_world
    world.execute("CREATE TABLE other (n int)")
    world.backup()
    many(world, 1, 50)
    promote(world.cluster)
    many(world, 100, 50)
    xid, _ = commit(world, "DELETE FROM numbered")
    many(world, 200, 50)
    archive_wal(world)
    with world.context() as context:
        found = locate.run(context, Request(STILL_THERE, steps=5))
    assert found.ended_by is not None
    assert found.ended_by.xid == xid
    assert found.held is not None
    assert found.held.lsn <= found.ended_by.lsn


@pytest.mark.all
def test_a_truncate_in_a_tablespace_is_found(physical_world: World) -> None:
    """Its file is gone once it was replayed: every look needs tablespaces of its own, the first one too."""
    world = physical_world
    folder = tablespace_folder(world, "aside")
    world.cluster.execute("postgres", f"CREATE TABLESPACE aside LOCATION '{folder}'")
    world.execute("CREATE TABLE other (n int)")
    world.execute("CREATE TABLE apart TABLESPACE aside AS SELECT generate_series(1, 3000) AS n")
    world.backup()
    many(world, 1, 100)
    xid, _ = commit(world, "TRUNCATE apart")
    many(world, 200, 100)
    archive_wal(world)
    with world.context() as context:
        found = locate.run(context, Request("select count(*) = 3000 from apart", steps=4))
    assert found.ended_by is not None
    assert found.ended_by.xid == xid


def remove_segment(world: World, name: str, *repositories: str) -> None:
    for repository in repositories:
        for path in (world.folder(repository) / "wal").rglob(f"{name}-*"):
            path.unlink()


@pytest.mark.all
def test_a_hole_in_the_wal_is_no_end_of_the_span(physical_world: World) -> None:
    """It is refused with the moment up to which one can look; another repository or a later backup helps."""
    world = physical_world
    world.execute("CREATE TABLE other (n int)")
    world.backup()
    many(world, 1, 20)
    archive_wal(world)
    [(lost,)] = world.cluster.query("app", "SELECT pg_walfile_name(pg_current_wal_lsn())")
    many(world, 100, 20)
    archive_wal(world)
    many(world, 200, 20)
    archive_wal(world)
    remove_segment(world, lost, "near")
    with world.context() as context:
        assert locate.run(context, Request(STILL_THERE, steps=4)).repository == "far"
        with pytest.raises(IntegrityError, match=f"{lost} is missing in near, before the end") as caught:
            locate.run(context, Request(STILL_THERE, steps=4), repository="near")
        said = re.search('--until "(.*)"', caught.value.hint)
        assert said is not None
        until = read_moment(said[1], "--until")
        found = locate.run(context, Request(STILL_THERE, until=until, steps=4), repository="near")
        assert (found.held, found.skipped) == (found.ends[1], "")
        assert found.ends[1].at == until
        # A moment later there may be more, in what is missing.
        assert until is not None
        later = Request(STILL_THERE, until=until + timedelta(microseconds=1), steps=4)
        with pytest.raises(IntegrityError, match=f"{lost} is missing in near, before the end"):
            locate.run(context, later, repository="near")
    backup_id = world.backup().backup_id
    xid, _ = commit(world, "DELETE FROM numbered")
    archive_wal(world)
    remove_segment(world, lost, "near", "far")
    with world.context() as context:
        found = locate.run(context, Request(STILL_THERE, steps=4))
    assert found.ended_by is not None
    assert (found.ended_by.xid, found.backup_id, found.skipped) == (xid, backup_id, lost)
    said_in_words = pra(world, "locate", "--while", STILL_THERE, code=0).stdout
    assert f"WAL segment {lost} is missing in near: nothing before was looked at." in said_in_words


def test_without_a_streamer_what_lies_between_backups_is_not_answered_for(physical_world: World) -> None:
    world = physical_world
    world.execute("CREATE TABLE other (n int)")
    world.backup()
    many(world, 1, 20)
    commit(world, "DELETE FROM numbered")
    backup_id = world.backup().backup_id
    with (
        world.context() as context,
        pytest.raises(NotFoundError, match=r"WAL segment 0.* is missing") as caught,
    ):
        locate.run(context, Request(STILL_THERE, steps=4))
    assert f"no transaction is archived behind {backup_id}" in caught.value.message
    assert "--until" in caught.value.hint


# -- asking ---------------------------------------------------------------------------------------------


def test_an_expression_is_a_condition_too(pg18: Cluster) -> None:
    server = Server.parse(pg18.dsn())
    assert ask(server, "exists (select from pg_class) -- yes", seconds=5) == Answer(True)
    assert ask(server, "SELECT NULL::boolean;", seconds=5) == Answer(False)
    assert ask(server.with_database("no_such_one"), "true", seconds=5).problem.endswith("does not exist")
    assert as_query(" TABLE t; ") == "TABLE t"


def test_no_value_of_a_row_is_in_the_error(pg18: Cluster) -> None:
    with pytest.raises(UsageError) as caught:
        ask(Server.parse(pg18.dsn()), "select ('sec' || 'ret')::int > 1", seconds=5)
    assert "secret" not in str(caught.value)
