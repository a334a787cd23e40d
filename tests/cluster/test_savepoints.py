"""A transaction with more subtransactions than PostgreSQL lists: no standby answers while it may run on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from checks import Checks
from pra.engines.cut import Cut
from pra.errors import RestoreError
from pra.model import CheckResult, Status, Verdict
from pra.procedures import locate, physical_restore, recovering
from pra.procedures.destination import Destination
from pra.procedures.judging import VerifyReport
from pra.procedures.locating import Request
from pra.procedures.physical_plan import Wishes
from pra.procedures.recovering import Recovery, plan_recovery
from tests.fix_archive import archive_wal, commit
from tests.fix_physical import MakePhysical, world_of
from tests.fix_world import MakeWorld, World, complaints


@contextmanager
def many_savepoints(world: World) -> Iterator[psycopg.Connection[Any]]:
    """An open transaction with 80 subtransactions that wrote."""
    with world.cluster.connect("app", autocommit=False) as connection:
        for number in range(80):
            connection.execute("SAVEPOINT s")
            connection.execute("INSERT INTO numbered (id) VALUES (%s)", (10_000 + number,))
        yield connection


@pytest.mark.parametrize(
    "major", [18, pytest.param(17, marks=pytest.mark.all), pytest.param(15, marks=pytest.mark.all)]
)
def test_a_backup_under_many_savepoints_is_not_at_fault(
    make_physical: MakePhysical, make_world: MakeWorld, major: int
) -> None:
    """Until they have ended no standby can be asked at its cut; then, there is one."""
    world = world_of(make_physical(major, settings="wal_keep_size = 200MB\n"), make_world)
    with many_savepoints(world) as connection:
        world.backup()
        report = world.verify()
        assert report.verdict is Verdict.PARTIAL, complaints(report)
        assert status(report, "fingerprint").status is Status.SKIPPED
        assert "more than 64 subtransactions" in status(report, "fingerprint").reason
        connection.rollback()
    world.cluster.execute("postgres", "CHECKPOINT")
    commit(world, "INSERT INTO numbered (id) VALUES (2001)")
    archive_wal(world)
    report = world.verify()
    assert report.verdict is Verdict.PASS, complaints(report)


def test_a_commit_before_many_savepoints_are_known_to_have_ended_leaves_no_cut(
    physical_world: World,
) -> None:
    world = physical_world
    with many_savepoints(world) as connection:
        world.backup()
        commit(world, "INSERT INTO numbered (id) VALUES (2001)")
        connection.commit()
    world.cluster.execute("postgres", "CHECKPOINT")
    archive_wal(world)
    report = world.verify()
    assert report.verdict is Verdict.PARTIAL, complaints(report)
    assert "more than 64 subtransactions" in status(report, "fingerprint").reason


def status(report: VerifyReport, name: str) -> CheckResult:
    return next(check for check in report.checks if check.name == name)


def restored(world: World, place: Path) -> VerifyReport:
    with world.context() as context:
        planned = plan_recovery(context, "near")
        into = Destination.parse(str(place / "restored"))
        return physical_restore.run(context, Checks(), planned, into, Wishes()).report


def test_a_restore_goes_on_without_its_proof(
    physical_world: World, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = physical_world
    with many_savepoints(world):
        world.backup()

    def guess(this: Recovery) -> None:
        this.cut = Cut(None)

    with monkeypatch.context() as patch:
        patch.setattr(recovering, "find_cut", guess)
        with pytest.raises(RestoreError, match="before the server could answer") as caught:
            restored(world, place)
    assert "--no-proof" in caught.value.hint
    assert list(place.iterdir()) == []
    report = restored(world, place)
    assert report.verdict is Verdict.PARTIAL, complaints(report)
    assert (place / "restored" / "PG_VERSION").exists()


def test_a_state_that_nobody_can_ask_is_no_answer(physical_world: World) -> None:
    world = physical_world
    with many_savepoints(world):
        world.backup()
        commit(world, "INSERT INTO numbered (id) VALUES (2001)")
        archive_wal(world)
    with world.context() as context, pytest.raises(RestoreError, match="many subtransactions") as caught:
        locate.run(context, Request("select count(*) > 900 from numbered", steps=2))
    assert "--from" in caught.value.hint
