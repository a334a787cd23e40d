"""One failure at every call of a storage: said aloud, nothing lost elsewhere, mended by the next run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pra.errors import PraError, StorageError
from pra.model import CheckResult, Verdict
from pra.procedures import restore, verify
from pra.procedures.backup import BackupReport
from pra.procedures.destination import Destination
from pra.procedures.judging import VerifyReport
from pra.procedures.session import choose
from pra.storage.base import Storage
from pra.storage.local import LocalStorage
from tests import fix_faults as after
from tests.fix_faults import Snapshot
from tests.fix_store import FaultyStorage
from tests.fix_world import World

FAULTS: dict[str, Callable[[], dict[str, Any]]] = {
    "transient": lambda: {"error": StorageError("injected fault", op="test", transient=True)},
    # A put fails with half of the object on its way, as after a kill.
    "permanent": lambda: {
        "error": StorageError("injected fault", op="test", transient=False),
        "half_way": True,
    },
    "from then on": lambda: {"error": StorageError("injected fault", op="test"), "persistent": True},
}
CASES = [
    pytest.param("near", "permanent", 4, id="near, permanent, every fourth call"),
    *(
        pytest.param(name, fault, 1, id=f"{name}, {fault}", marks=pytest.mark.all)
        for fault in ("permanent", "transient", "from then on")
        for name in ("near", "far")
    ),
]


def faulty(
    world: World, name: str, at: int, fault: dict[str, Any]
) -> tuple[FaultyStorage, dict[str, Storage]]:
    """The world's repositories, one of which fails at its nth call."""
    plain = {each: after.storage(world, each) for each in ("near", "far")}
    inner = plain[name]
    assert isinstance(inner, LocalStorage)
    broken = FaultyStorage(inner, fail_at=at, **fault)
    return broken, plain | {name: broken}


def the_call(broken: FaultyStorage, at: int) -> str:
    method, key = broken.calls[at - 1]
    return f"{method} {key}"


@pytest.mark.timeout(400)  # some fifty rounds
@pytest.mark.parametrize(("name", "fault", "stride"), CASES)
def test_a_backup_survives_a_failure_of_any_call(
    tiny: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, fault: str, stride: int
) -> None:
    """Each time from the same repositories, which hold one backup that is due to expire."""
    after.keep_one_hour(tiny)
    old = after.make_old_backup(tiny, days=40)
    begin = Snapshot(tiny, tmp_path)
    begin.save()
    for at in count(1, stride):
        begin.restore()
        caplog.clear()
        broken, repositories = faulty(tiny, name, at, FAULTS[fault]())
        try:
            report = tiny.backup(repositories=repositories)
        except PraError as error:
            raise AssertionError(f"the other repository could have had it: {the_call(broken, at)}") from error
        if len(broken.calls) < at:
            assert report.ok
            assert not complaints(report)
            assert at > 20
            return
        try:
            demand_loud(tiny, report, name, the_call(broken, at), caplog.messages)
            after.demand_whole(tiny)
            demand_convergence(tiny, report.backup_id, old)
        except BaseException as error:
            error.add_note(f"after a failure of {the_call(broken, at)}")
            raise


def complaints(report: BackupReport) -> list[str]:
    """Warnings about repositories."""
    return [text for text in report.warnings if text.startswith(("repository", "catch up", "expire"))]


def demand_loud(world: World, report: BackupReport, name: str, call: str, log: list[str]) -> None:
    other = {"near": "far", "far": "near"}[name]
    by_name = {result.name: result for result in report.repositories}
    assert by_name[other].ok
    assert report.backup_id in after.committed(world, other)
    if not by_name[name].ok:
        assert report.exit_code == 2
        assert "injected fault" in by_name[name].error
        assert report.backup_id not in after.committed(world, name) or "manifest" in call
        return
    assert report.exit_code == 0
    assert report.backup_id in after.committed(world, name)
    # What costs nothing is a line in the log: a lease that was not given back, a copy of evidence.
    assert any("injected fault" in line for line in [*complaints(report), *log])


def demand_convergence(world: World, first: str, old: str) -> None:
    again = world.backup()
    assert again.ok
    assert not complaints(again)
    same_hour = first[:11] == again.backup_id[:11]  # retention keeps one
    after.demand_whole(world)
    for name in ("near", "far"):
        assert after.committed(world, name) == {again.backup_id} | ({first} if same_hour else set())
        assert old not in after.committed(world, name)
    after.demand_clean_state(world)
    after.age(world, hours=48)
    after.collect_garbage(world)
    for name in ("near", "far"):
        after.demand_nothing_but_backups(world, name)


def test_a_repository_that_fails_altogether_costs_only_itself(tiny: World) -> None:
    broken, repositories = faulty(tiny, "near", 1, FAULTS["from then on"]())
    report = tiny.backup(repositories=repositories)
    assert (report.ok, report.exit_code) == (False, 2)
    assert [result.ok for result in report.repositories] == [False, True]
    assert broken.calls
    again = tiny.backup()
    assert again.caught_up == (report.backup_id,)
    assert (
        after.committed(tiny, "near") == after.committed(tiny, "far") == {report.backup_id, again.backup_id}
    )


def test_when_every_repository_fails_the_error_names_each(tiny: World) -> None:
    plain = {name: after.storage(tiny, name) for name in ("near", "far")}
    broken: dict[str, Storage] = {}
    for name, inner in plain.items():
        assert isinstance(inner, LocalStorage)
        fault = StorageError(f"{name} burned down", op="test", transient=False)
        broken[name] = FaultyStorage(inner, fail_at=2, error=fault, persistent=True)
    with pytest.raises(PraError) as caught:
        tiny.backup(repositories=broken)
    assert "near burned down" in caught.value.message
    assert "far burned down" in caught.value.message
    assert not caught.value.transient
    after.demand_clean_state(tiny)
    after.demand_quiet_server(tiny)
    assert tiny.backup().ok


class NoQuestions:
    """Asks nothing: the steps of a verification alone."""

    def names(self, database: object) -> tuple[str, ...]:
        return ()

    def required(self, database: object) -> tuple[str, ...]:
        return ()

    def ruled_out(self, database: object) -> tuple[CheckResult, ...]:
        return ()

    def run(self, name: str, database: object) -> tuple[CheckResult, ...]:
        raise AssertionError(name)


@pytest.mark.timeout(400)  # some fifty rounds
@pytest.mark.parametrize(
    ("fault", "stride"),
    [
        pytest.param("permanent", 4, id="every fourth call"),
        pytest.param("permanent", 1, id="every call", marks=pytest.mark.all),
        pytest.param("from then on", 1, id="every call from then on", marks=pytest.mark.all),
    ],
)
def test_no_failure_of_a_call_makes_a_proof_greener(
    tiny: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str, stride: int
) -> None:
    """Either the verdict stands, on record, with the trouble said; or it is FAIL; or there is none."""
    tiny.backup()
    begin = Snapshot(tiny, tmp_path)
    begin.save()
    silent: list[str] = []
    for at in count(1, stride):
        begin.restore()
        caplog.clear()
        broken, repositories = faulty(tiny, "far", at, FAULTS[fault]())
        try:
            report = prove(tiny, repositories)
        except StorageError as error:
            if "injected fault" not in error.message or recorded(tiny, Verdict.PASS):
                raise
            continue
        if len(broken.calls) < at:
            assert report.verdict is Verdict.PASS
            assert at > 10
            break
        assert recorded(tiny, report.verdict) == [report.evidence], the_call(broken, at)
        said = report.rpo_seconds is None or any("injected fault" in line for line in caplog.messages)
        if report.verdict is Verdict.PASS and not said:
            silent.append(the_call(broken, at))
    assert silent == []


def prove(world: World, repositories: dict[str, Storage]) -> VerifyReport:
    with world.context(repositories=repositories) as context:
        return verify.run(context, NoQuestions(), repository="far")


def recorded(world: World, verdict: Verdict) -> list[str]:
    """Evidence of verifications with this verdict."""
    with world.context() as context:
        return [r.key for r in context.evidence.records() if r.body.get("verdict") == verdict.value]


def test_a_proof_that_cannot_be_recorded_is_no_proof(tiny: World) -> None:
    tiny.backup()
    sealed: dict[str, Storage] = {}
    for name in ("near", "far"):
        inner = after.storage(tiny, name)
        assert isinstance(inner, LocalStorage)
        sealed[name] = NoEvidence(inner)
    with pytest.raises(StorageError, match="evidence is sealed"):
        prove(tiny, sealed)
    assert recorded(tiny, Verdict.PASS) == []


class NoEvidence(FaultyStorage):
    """Takes everything but evidence."""

    def create(self, key: str, data: bytes, *, retain_until: datetime | None = None) -> None:
        if "/evidence/" in key:
            raise StorageError("evidence is sealed", op="create")
        super().create(key, data, retain_until=retain_until)


class ReadOnly(FaultyStorage):
    """All that is left of a repository, mounted so that nothing makes it worse."""

    def _count(self, method: str, key: str) -> bool:
        if method in ("create", "put", "replace", "delete", "abort"):
            raise StorageError("read-only file system", op=method, transient=False)
        return super()._count(method, key)


def test_a_repository_that_can_only_be_read_is_enough_to_restore(
    tiny: World, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The database is there; that no evidence could be left is an error at the end."""
    tiny.backup()
    inner = after.storage(tiny, "far")
    assert isinstance(inner, LocalStorage)
    left: dict[str, Storage] = {"far": ReadOnly(inner)}
    with tiny.context(repositories=left) as context:
        choice = choose(context, "newest", "far")
        with pytest.raises(StorageError, match="read-only"):
            restore.run(context, NoQuestions(), choice, Destination.parse(tiny.cluster.dsn(database)))
    assert tiny.cluster.query(database, "SELECT a, b FROM t ORDER BY a") == [(1, "x"), (2, "y")]
    assert any("nothing keeps" in line for line in caplog.messages)
    with pytest.raises(StorageError, match="read-only"):
        prove(tiny, left)
