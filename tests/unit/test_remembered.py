"""What a status pass remembers of manifests and evidence: it saves reading, and makes nothing green."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pra.catalog import Catalog
from pra.errors import IntegrityError, StorageError
from pra.keys import Signer
from pra.layout import evidence_key, manifest_key
from pra.manifest import Manifest
from pra.proc import Scope
from pra.procedures.context import Context
from pra.storage.base import ObjectStat, Storage
from pra.storage.local import LocalStorage
from pra.watch.status import known, record
from pra.watch.status.aim import Aim
from pra.watch.status.asking import Source
from pra.watch.status.finding import Level
from pra.watch.status.known import Known, known_backups
from pra.watch.status.record import Record, head_here, said
from pra.watch.status.repository import scrubbed
from tests.fix_metrics import Past, make_past
from tests.fix_store import FaultyStorage

HOUR = timedelta(hours=1)
BACKUPS = 5


class Desk:
    """One repository with some backups and records, looked at again and again with a memory and a clock."""

    def __init__(self, past: Past, scope: Scope) -> None:
        self.past, self.scope, self.now = past, scope, past.now
        self.storage = FaultyStorage(LocalStorage("near", past.folder("near")))
        self.ids = [past.backup("near", past.now - HOUR * n) for n in reversed(range(1, BACKUPS + 1))]

    def context(self) -> Context:
        settings = self.past.settings
        context = Context(settings, settings.target(None), self.scope, lambda: self.now)
        context.repositories = {"near": self.storage}
        return context

    def look(self) -> tuple[list[Known], int]:
        """What is known, and how many objects were read for it."""
        self.storage.calls.clear()
        known, _ = known_backups(self.context(), "near")
        return known, self.reads()

    def said(self) -> tuple[list[str], int]:
        """Kinds and verdicts, newest first, and how many objects were read for it."""
        self.storage.calls.clear()
        found = said(self.context(), "near")
        return [f"{each.kind} {each.verdict}".strip() for each in found], self.reads()

    def reads(self) -> int:
        return sum(method == "read" for method, _ in self.storage.calls)

    def path(self, key: str) -> Path:
        return self.past.folder("near") / key

    def verification(self, verdict: str) -> None:
        body = {"verdict": verdict, "backup_id": self.ids[-1], "repository": "near"}
        self.past.record("verification", self.now, body)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Scope() as scope:
        yield Desk(make_past(tmp_path / "past"), scope)


# -- manifests -----------------------------------------------------------------------------------


def test_only_the_newest_manifest_is_read_again(desk: Desk) -> None:
    first, reads = desk.look()
    assert reads == BACKUPS
    again, reads = desk.look()
    assert reads == 1
    assert again == first
    assert [each.backup_id for each in again] == sorted(desk.ids, reverse=True)
    desk.ids.append(desk.past.backup("near", desk.now))
    _, reads = desk.look()
    assert reads == 1, "the new one, which is the newest now"


def test_a_manifest_that_is_gone_does_not_count(desk: Desk) -> None:
    desk.look()
    desk.path(manifest_key("db", desk.ids[1])).unlink()
    seen, _ = desk.look()
    assert [each.backup_id for each in seen] == [i for i in reversed(desk.ids) if i != desk.ids[1]]


@pytest.mark.parametrize("how", ["in place", "by another file"])
@pytest.mark.parametrize("place", [0, -1], ids=["oldest", "newest"])
def test_a_manifest_that_was_written_again_is_read_again(desk: Desk, how: str, place: int) -> None:
    """As many bytes, and the time set back: nothing in the listing differs but the tag."""
    desk.look()
    path = desk.path(manifest_key("db", desk.ids[place]))
    before, data = path.stat(), path.read_bytes()
    target = path if how == "in place" else path.with_name("other")
    target.write_bytes(data.replace(b'"bytes":4,', b'"bytes":5,'))
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    target.replace(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    seen, _ = desk.look()
    wrong = [each for each in seen if each.error is not None]
    assert [each.backup_id for each in wrong] == [desk.ids[place]]
    assert isinstance(wrong[0].error, IntegrityError)


def test_every_manifest_is_read_again_within_a_day_and_not_all_at_once(desk: Desk) -> None:
    desk.look()
    reads = []
    for _ in range(24):
        desk.now += HOUR
        reads.append(desk.look()[1])
    assert reads[:11] == [1] * 11, "the newest alone, for half a day"
    assert sum(reads) >= 24 + BACKUPS - 1
    assert max(reads) < BACKUPS
    desk.now -= 48 * HOUR
    assert desk.look()[1] == BACKUPS, "of a clock that ran ahead nothing is believed"


def test_many_manifests_are_read_on_where_it_was_given_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass that its limit ends leaves to the next what it has read."""
    monkeypatch.setattr(known, "_CHUNK", 2)
    load, loaded = Catalog.load, []

    def given_up(catalog: Catalog, backup_id: str) -> Manifest:
        loaded.append(backup_id)
        if len(loaded) > 2:
            raise KeyboardInterrupt
        return load(catalog, backup_id)

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "load", given_up)
        with pytest.raises(KeyboardInterrupt):
            desk.look()
    found, reads = desk.look()
    assert [each.backup_id for each in found] == sorted(desk.ids, reverse=True)
    assert reads == BACKUPS - 2 + 1, "two were remembered, and the newest is read each time"


def test_other_trusted_keys_forget_everything(desk: Desk) -> None:
    desk.look()
    settings = desk.past.settings
    stranger = Signer("ed25519", bytes(32)).trusted.text()
    signing = settings.signing.model_copy(update={"trusted": [stranger]})
    desk.past.settings = settings.model_copy(update={"signing": signing})
    assert desk.look()[1] == BACKUPS


def test_a_newest_manifest_that_cannot_be_read_is_its_repository_s_trouble(desk: Desk) -> None:
    desk.look()
    desk.storage.fail_at = 2  # the first call lists
    with pytest.raises(StorageError, match="injected fault"):
        desk.look()
    desk.storage.fail_at = 0
    assert [each.error for each in desk.look()[0]] == [None] * BACKUPS


# -- evidence ------------------------------------------------------------------------------------


def test_only_new_records_are_read_and_the_end_of_the_listing_is_enough(desk: Desk) -> None:
    desk.verification("PASS")
    desk.past.record("expiry", desk.now, {"removed": []})
    assert desk.said() == (["verification PASS"], 2)
    assert desk.said() == (["verification PASS"], 0)
    desk.verification("FAIL")
    assert desk.said() == (["verification FAIL", "verification PASS"], 1)
    assert head_here(desk.past.settings.state_dir, "db", "near") == (3, desk.past.head)


def test_a_long_chain_is_read_on_where_it_was_left(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is said before it was read to its end: the latest verdict may be anywhere."""
    monkeypatch.setattr(record, "_CHUNK", 4)
    for number in range(10):
        desk.verification("FAIL" if number == 0 else "PASS")
    desk.storage.fail_at, desk.storage.persistent = 6, True  # one listing and four records
    with pytest.raises(StorageError, match="injected fault"):
        desk.said()
    desk.storage.fail_at = 0
    said_now, reads = desk.said()
    assert said_now == ["verification PASS"] * 9 + ["verification FAIL"]
    assert reads == 6, "four were remembered"


def test_a_record_that_cannot_be_read_is_unknown_until_it_can(desk: Desk) -> None:
    desk.verification("PASS")
    assert desk.said()[0] == ["verification PASS"]
    desk.verification("FAIL")
    desk.storage.fail_at = 2
    with pytest.raises(StorageError, match="injected fault"):
        desk.said()
    with pytest.raises(StorageError, match="injected fault"):
        desk.said()
    desk.storage.fail_at = 0
    assert desk.said()[0] == ["verification FAIL", "verification PASS"]


def test_a_record_that_comes_late_is_noticed(desk: Desk) -> None:
    """A repository that missed one gets it with a later one; the number between was not there at first."""
    desk.verification("PASS")
    desk.verification("FAIL")
    desk.verification("PASS")
    second, third = (desk.path(evidence_key("db", number)) for number in (2, 3))
    for path in (second, third):
        path.rename(path.with_suffix(".away"))
    assert desk.said()[0] == ["verification PASS"]
    third.with_suffix(".away").rename(third)
    assert desk.said()[0] == ["verification PASS"] * 2
    second.with_suffix(".away").rename(second)
    assert desk.said()[0] == ["verification PASS", "verification FAIL", "verification PASS"]


def test_what_is_gone_does_not_count_any_more_after_a_day(desk: Desk) -> None:
    desk.verification("PASS")
    desk.said()
    desk.path(evidence_key("db", 1)).unlink()
    desk.now += 25 * HOUR
    assert desk.said()[0] == []


def test_a_repository_that_was_set_back_is_read_anew(desk: Desk) -> None:
    """Other records have the old numbers: what was remembered of those would hide the failure."""
    desk.verification("PASS")
    desk.verification("PASS")
    desk.verification("PASS")
    assert desk.said()[0] == ["verification PASS"] * 3
    for number in (2, 3):
        desk.path(evidence_key("db", number)).unlink()
    desk.past.written = 1
    desk.verification("FAIL")
    assert desk.said()[0] == ["verification FAIL", "verification PASS"]
    desk.past.written = 1
    desk.verification("PASS")
    desk.verification("FAIL")
    desk.past.record("expiry", desk.now, {"removed": []})
    assert desk.said()[0] == ["verification FAIL", "verification PASS", "verification PASS"]
    desk.path(evidence_key("db", 4)).unlink()
    desk.past.written = 3
    desk.verification("FAIL")
    assert desk.said()[0][:2] == ["verification FAIL", "verification FAIL"], "the newest was replaced"


def test_the_newest_record_of_an_emptied_repository_does_not_count(desk: Desk) -> None:
    desk.verification("PASS")
    assert desk.said()[0] == ["verification PASS"]
    desk.path(evidence_key("db", 1)).unlink()
    assert desk.said()[0] == []
    desk.past.written = 0
    desk.verification("FAIL")
    assert desk.said()[0] == ["verification FAIL"]


def test_a_record_that_was_written_again_is_read_again_within_a_day(desk: Desk) -> None:
    """As many bytes, and the time set back; and one that was damaged counts once it is whole again."""
    for verdict in ("PASS", "FAIL", "PASS", "PASS"):
        desk.verification(verdict)
    forged, damaged = (desk.path(evidence_key("db", number)) for number in (1, 2))
    before, sound = forged.stat(), damaged.read_bytes()
    damaged.write_bytes(b"x" * len(sound))
    assert desk.said() == (["verification PASS"] * 3, 4)
    forged.write_bytes(b"x" * before.st_size)
    os.utime(forged, ns=(before.st_atime_ns, before.st_mtime_ns))
    damaged.write_bytes(sound)
    desk.now += 25 * HOUR
    assert desk.said() == (["verification PASS", "verification PASS", "verification FAIL"], 2)
    desk.now += 25 * HOUR
    assert desk.said() == (["verification PASS", "verification PASS", "verification FAIL"], 0)


def test_two_targets_never_share_a_memory(desk: Desk) -> None:
    """Names have hyphens in them: ``db`` in ``x-near`` and ``db-x`` in ``near``, both under one URL."""
    desk.verification("PASS")
    settings = desk.past.settings
    target = settings.targets["db"]
    for name, repository in (("db", "x-near"), ("db-x", "near")):
        other = target.model_copy(update={"name": name, "repositories": [repository]})
        places: dict[str, Storage] = {repository: desk.storage}
        context = Context(settings, other, desk.scope, lambda: desk.now, repositories=places)
        assert len(said(context, repository)) == (name == "db")
    assert head_here(settings.state_dir, "db-x", "near") == (0, "")


def test_a_number_far_ahead_is_no_row_of_missing_ones(desk: Desk) -> None:
    """Somebody may have put it there; so many numbers would fill the memory."""
    desk.verification("PASS")
    desk.said()
    desk.path(evidence_key("db", 9_999_999_999)).write_bytes(b"x")
    assert desk.said()[0] == ["verification PASS"]


class Slow(FaultyStorage):
    """Lists after so many seconds."""

    seconds = 0.0

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        time.sleep(self.seconds)
        return super().list(prefix)


@pytest.mark.parametrize(
    ("seconds", "level"), [(0.2, Level.CRITICAL), (4.0, Level.OK)], ids=["slow", "hanging"]
)
def test_damage_that_one_repository_does_not_know_of_is_said(
    desk: Desk, seconds: float, level: Level
) -> None:
    """It was away when the scrub was recorded, and answers first; one that hangs is not waited for."""
    for verdict in ("PASS", "FAIL"):
        desk.past.record("scrub", desk.now, {"verdict": verdict})
    desk.path(evidence_key("db", 2)).unlink()
    settings = desk.past.settings
    status = settings.status.model_copy(update={"limit": timedelta(seconds=3)})
    desk.past.settings = settings.model_copy(update={"status": status})
    far = Slow(LocalStorage("far", desk.past.folder("far")))
    far.seconds = seconds
    context = desk.context()
    context.repositories = {"near": desk.storage, "far": far}
    sources = {name: Source(name, tries=3) for name in context.repositories}
    sources["near"].heard(answer=True)
    aim = Aim(context, desk.now, Record(context), sources=sources)
    begin = time.monotonic()
    assert [each.level for each in scrubbed(aim)] == [level]
    assert time.monotonic() - begin < 2


def test_what_nobody_trusts_is_not_said(desk: Desk) -> None:
    desk.verification("PASS")
    body = {"verdict": "PASS", "backup_id": desk.ids[0], "repository": "near"}
    desk.past.record("verification", desk.now, body, signer=Signer("ed25519", bytes(32)))
    assert desk.said()[0] == ["verification PASS"]


def test_a_memory_that_is_damaged_is_made_anew(desk: Desk) -> None:
    desk.verification("PASS")
    desk.said()
    desk.look()
    status = desk.past.settings.state_dir / "status"
    for path in status.iterdir():
        path.write_bytes(b"\0half")
    assert desk.said() == (["verification PASS"], 1)
    assert desk.look()[1] == BACKUPS
