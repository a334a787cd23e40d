"""Evidence once more, many in an object: it spares requests, and vouches for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pra.errors import StorageError
from pra.keys import Signer
from pra.layout import bundle_key, evidence_key
from pra.proc import Scope
from pra.procedures.context import Context
from pra.storage.local import LocalStorage
from pra.watch import bundles
from pra.watch.bundles import Bundled, pack, publish_bundle, unpack
from pra.watch.metrics import reading_evidence
from pra.watch.metrics.reading import gather
from pra.watch.metrics.whole import TargetMetrics
from pra.watch.status.record import said
from tests.fix_metrics import Past, make_past
from tests.fix_store import FaultyStorage


@pytest.fixture
def past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Past:
    """25 verifications, in bundles of ten."""
    monkeypatch.setattr(bundles, "SIZE", 10)
    monkeypatch.setattr(reading_evidence, "_MANY", 3)
    past = make_past(tmp_path / "past")
    for number in range(25):
        verdict = "FAIL" if number == 4 else "PASS"
        body = {"verdict": verdict, "backup_id": f"b{number}", "repository": "near"}
        past.record("verification", past.now - timedelta(hours=25 - number), body)
    return past


def look(past: Past) -> None:
    """What a status pass reads first."""
    with Scope() as scope:
        said(Context(past.settings, past.settings.target(None), scope, past.clock), "near")


def near(past: Past) -> FaultyStorage:
    return FaultyStorage(LocalStorage("near", past.folder("near")))


def publish(past: Past) -> Iterator[str]:
    look(past)
    place = LocalStorage("near", past.folder("near"))
    for _pass in range(4):
        if key := publish_bundle(past.settings, place):
            yield key


def of(past: Past, place: FaultyStorage) -> tuple[TargetMetrics, int]:
    """The metrics of one who has never read anything, and how many records were read one by one."""
    far = FaultyStorage(LocalStorage("far", past.folder("far")))
    (found,) = gather(
        past.settings,
        [past.settings.target(None)],
        past.now - timedelta(days=30),
        clock=past.clock,
        storages={"near": place, "far": far},
    )
    reads = [key for method, key in [*place.calls, *far.calls] if method == "read"]
    return found, sum(key.startswith("db/evidence/") for key in reads)


def test_whole_bundles_are_published_once_and_read_instead_of_their_records(past: Past) -> None:
    without, reads = of(past, near(past))
    assert reads == 25
    (past.settings.state_dir / "metrics" / "db.near.json.zst").unlink()
    assert list(publish(past)) == [bundle_key("db", 1, 10), bundle_key("db", 11, 20)]
    assert list(publish(past)) == []
    found, reads = of(past, near(past))
    assert reads == 5, "those that are in none yet"
    assert found.chosen == without.chosen
    assert len(found.proofs) == 25


def test_another_host_s_bundle_is_left_as_it_is(past: Past) -> None:
    first = list(publish(past))
    (past.settings.state_dir / "status" / "bundles.json").unlink()
    before = {key: (past.folder("near") / key).stat().st_mtime_ns for key in first}
    assert list(publish(past)) == []
    assert {key: (past.folder("near") / key).stat().st_mtime_ns for key in first} == before


def test_a_record_that_cannot_be_believed_is_in_no_bundle(past: Past) -> None:
    path = past.folder("near") / evidence_key("db", 3)
    path.write_bytes(path.read_bytes().replace(b"PASS", b"FAIL"))
    assert list(publish(past)) == [bundle_key("db", 11, 20)]


@pytest.mark.parametrize("how", ["altered", "signed by a stranger", "exchanged", "junk"])
def test_a_bundle_that_lies_changes_nothing(past: Past, how: str) -> None:
    """A verification that failed is called a PASS in it, with as many bytes."""
    list(publish(past))
    path = past.folder("near") / bundle_key("db", 1, 10)
    records = unpack(path.read_bytes(), "db", 1)
    if how == "altered":
        records[4] = records[4].replace(b'"FAIL"', b'"PASS"')
    elif how == "signed by a stranger":
        body = {"verdict": "PASS", "backup_id": "b4", "repository": "near"}
        made = past.record("verification", past.now, body, signer=Signer("ed25519", bytes(32)))
        records[4] = made.read_bytes()
        for name in ("near", "far"):
            (past.folder(name) / evidence_key("db", 26)).unlink()
    elif how == "exchanged":
        records[4] = records[5]
    path.write_bytes(b"junk" if how == "junk" else pack("db", 1, records))
    found, _ = of(past, near(past))
    assert sorted(str(fact.verdict) for fact in found.proofs).count("FAIL") == 1
    assert found.problems == ()


def test_what_the_repository_does_not_list_does_not_count(past: Past) -> None:
    list(publish(past))
    for name in ("near", "far"):
        (past.folder(name) / evidence_key("db", 5)).unlink()
    found, _ = of(past, near(past))
    assert len(found.proofs) == 24


def test_another_target_s_bundle_is_refused(past: Past) -> None:
    with pytest.raises(StorageError, match="not this bundle of evidence"):
        unpack(pack("other", 1, [b"{}"]), "db", 1)
    place = near(past)
    place.inner.create(bundle_key("db", 1, 10), pack("other", 1, [b"{}"] * 10))
    assert Bundled(place, "db").get(1) is None
