"""Back up, restore, compare exactly: the middle of it all."""

from __future__ import annotations

import pytest

from pra.errors import BusyError, RightsError, UsageError
from pra.model import Status, Verdict
from pra.procedures.context import exclusive
from tests.fix_cluster import Cluster
from tests.fix_world import MakeWorld, World, complaints, later


def test_chinook_is_backed_up_restored_and_proven_from_every_repository(world: World) -> None:
    done = world.backup()
    assert done.ok
    assert [result.name for result in done.repositories] == ["near", "far"]
    for repository in ("near", "far"):
        report = world.verify(repository)
        assert report.verdict is Verdict.PASS, complaints(report)
        assert report.backup_id == done.backup_id
        by_name = {check.name: check for check in report.checks}
        assert by_name["fingerprint"].observed == "11 tables, 15,607 rows"
        assert by_name["fingerprint"].status is Status.PASSED
        assert report.rto_seconds is not None
        assert report.proof_seconds is not None
        assert 0 < report.rto_seconds <= report.proof_seconds


def test_the_newest_is_proven_from_the_repository_least_recently_proven(world: World) -> None:
    world.backup()
    seen = []
    for _ in range(3):
        with world.context() as context:
            from checks import Checks
            from pra.procedures import verify

            seen.append(verify.run(context, Checks()).repository)
    assert seen == ["near", "far", "near"]


def test_two_backups_of_one_target_at_once_are_refused(world: World) -> None:
    with world.context() as first, exclusive(first), pytest.raises(BusyError) as caught:
        world.backup()
    assert caught.value.exit_code == 75


def test_a_rebuilt_server_under_the_old_name_is_refused(
    world: World, pg15: Cluster, make_world: MakeWorld
) -> None:
    world.backup()
    name = pg15.createdb()
    try:
        other = world.settings.target(None).model_copy(update={"dsn": pg15.dsn(name)})
        moved = world.settings.model_copy(
            update={
                "targets": {"db": other},
                "postgres": world.settings.postgres.model_copy(update={"bindir": str(pg15.bindir)}),
            }
        )
        world.settings = moved
        with pytest.raises(UsageError, match="not the one that earlier backups came from"):
            world.backup()
        assert world.backup(accept_new_server=True).ok
    finally:
        pg15.dropdb(name)


def test_a_clock_set_back_is_refused(world: World) -> None:
    world.backup(clock=later(0))
    with pytest.raises(UsageError, match="lies in the future"):
        world.backup(clock=later(-24))


def test_a_table_the_role_may_not_read_is_named_with_its_grant(
    pg18: Cluster, chinook: str, make_world: MakeWorld
) -> None:
    pg18.execute("postgres", "DROP ROLE IF EXISTS weak_reader", "CREATE ROLE weak_reader LOGIN")
    weak = make_world(pg18, chinook, user="weak_reader")
    with pytest.raises(RightsError) as caught:
        weak.backup()
    assert "GRANT" in caught.value.hint
    assert not list(weak.folder("near").glob("backups/*/*"))


def test_nothing_is_left_in_the_state_directory(world: World) -> None:
    world.backup()
    world.verify()
    state = world.home / "state"
    kept = {state / "keys", state / "logs"}
    assert [p for p in state.rglob("*") if p.is_file() and not kept & set(p.parents)] == []
