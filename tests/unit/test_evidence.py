"""Evidence: numbered without gaps, chained, signed, and written as long as one repository answers."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pra.document import sign_document
from pra.errors import ObjectExists, StorageError, UsageError
from pra.evidence import GENESIS, EvidenceLog, EvidenceRecord
from pra.keys import Keyring, Signer
from pra.layout import evidence_key
from pra.model import Verdict
from pra.storage.base import Capabilities
from pra.storage.local import LocalStorage
from tests.fix_record import BACKUP_ID, TAKEN, make_storage, snapshot_of

HOUR = timedelta(hours=1)
BODY = {"backup_id": BACKUP_ID, "verdict": "PASS", "repository": "local", "rto_seconds": 12.345}


class Ticking:
    """A clock that moves by a second each time it is read."""

    def __init__(self) -> None:
        self.now = TAKEN

    def __call__(self) -> Any:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def log(local: LocalStorage, offsite: LocalStorage, signer: Signer, keyring: Keyring) -> EvidenceLog:
    return EvidenceLog([local, offsite], "akig", signer, keyring, Ticking())


def down(storage: LocalStorage) -> Path:
    """Unmount a repository; returns where it went."""
    away = storage.root.with_name(f"{storage.root.name}-unmounted")
    storage.root.rename(away)
    return away


def up(storage: LocalStorage) -> None:
    storage.root.with_name(f"{storage.root.name}-unmounted").rename(storage.root)


def sequences(records: Iterator[EvidenceRecord]) -> list[int]:
    return [record.sequence for record in records]


def raw(storage: LocalStorage, sequence: int) -> bytes:
    return storage.read(evidence_key("akig", sequence))


def rewrite(storage: LocalStorage, sequence: int, data: bytes) -> None:
    (storage.root / evidence_key("akig", sequence)).write_bytes(data)


# -- writing -------------------------------------------------------------------------------------


def test_records_are_numbered_chained_and_copied(
    log: EvidenceLog, local: LocalStorage, offsite: LocalStorage
) -> None:
    first, second = log.append("verification", BODY), log.append("expiry", {"backups": 3})
    assert (first.sequence, first.previous_sha256, first.key) == (1, GENESIS, "akig/evidence/0000000001.json")
    assert second.previous_sha256 == first.sha256 == hashlib.sha256(raw(local, 1)).hexdigest()
    assert first.warnings == second.warnings == ()
    assert snapshot_of(local) == snapshot_of(offsite)
    assert log.head() == second
    assert list(log.records()) == [second, first]
    assert first.body == BODY


def test_stored_record_is_canonical_and_names_its_key(
    log: EvidenceLog, local: LocalStorage, signer: Signer
) -> None:
    log.append("key-change", {"note": "é"})
    document = json.loads(raw(local, 1))
    assert list(document) == [
        "alg", "at", "body", "key_id", "kind", "previous_sha256", "schema", "sequence", "signature", "target",
    ]  # fmt: skip
    assert (document["schema"], document["key_id"]) == ("pra/evidence/1", signer.key_id)


def test_empty_log(log: EvidenceLog) -> None:
    assert log.head() is None
    assert list(log.records()) == []
    assert log.proofs() == {}


def test_racing_writers_get_one_number_each(
    local: LocalStorage, offsite: LocalStorage, signer: Signer, keyring: Keyring
) -> None:
    def write(number: int) -> None:
        EvidenceLog([local, offsite], "akig", signer, keyring).append("restore", {"writer": number})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = list(EvidenceLog([local, offsite], "akig", None, keyring).records())
    assert [r.sequence for r in records] == [6, 5, 4, 3, 2, 1]
    assert {r.body["writer"] for r in records} == set(range(6))
    for newer, older in pairwise(records):
        assert newer.previous_sha256 == older.sha256


def test_one_repository_down_is_no_obstacle_and_it_catches_up(
    log: EvidenceLog, local: LocalStorage, offsite: LocalStorage
) -> None:
    for absent in (offsite, local):
        log.append("verification", BODY)
        down(absent)
        record = log.append("restore", {"without": absent.name})
        assert any(f"{absent.name} was not reached" in warning for warning in record.warnings)
        assert record.repository != absent.name
        up(absent)
    last = log.append("verification", BODY)
    assert last.warnings == ()
    assert snapshot_of(local) == snapshot_of(offsite)
    records = list(log.records())
    assert [r.sequence for r in records] == [5, 4, 3, 2, 1]
    assert all(newer.previous_sha256 == older.sha256 for newer, older in pairwise(records))


def test_no_repository_at_all_is_an_error(
    log: EvidenceLog, local: LocalStorage, offsite: LocalStorage
) -> None:
    down(local), down(offsite)
    with pytest.raises(StorageError):
        log.append("verification", BODY)
    with pytest.raises(StorageError):
        log.head()


def test_repository_that_takes_no_writes_is_reported_and_passed_over(
    local: LocalStorage, offsite: LocalStorage, signer: Signer, keyring: Keyring
) -> None:
    class ReadOnly(LocalStorage):
        def create(self, key: str, data: bytes, **options: object) -> None:
            raise StorageError("read-only file system", op="create", transient=False)

    log = EvidenceLog([ReadOnly("local", local.root), offsite], "akig", signer, keyring)
    record = log.append("verification", BODY)
    assert record.repository == "offsite"
    assert any("local did not take evidence 1: read-only" in warning for warning in record.warnings)
    assert log.append("verification", BODY).sequence == 2
    refusing = EvidenceLog([ReadOnly("local", local.root)], "akig", signer, keyring)
    with pytest.raises(StorageError, match="read-only"):
        refusing.append("verification", BODY)


def test_conditional_repository_arbitrates_though_listed_second(
    local: LocalStorage, offsite: LocalStorage, signer: Signer, keyring: Keyring
) -> None:
    class Plain(LocalStorage):
        def capabilities(self) -> Capabilities:
            return Capabilities(conditional_write=False, object_lock=False)

    log = EvidenceLog([Plain("local", local.root), offsite], "akig", signer, keyring)
    assert log.append("verification", BODY).repository == "offsite"


def test_account_that_may_only_read_still_reads(
    local: LocalStorage, offsite: LocalStorage, signer: Signer, keyring: Keyring
) -> None:
    class Unprobed(LocalStorage):
        """Capabilities are found out by writing, and this account may not."""

        def capabilities(self) -> Capabilities:
            raise StorageError("access denied", op="probe", transient=False)

    storage = Unprobed("local", local.root)
    log = EvidenceLog([storage, offsite], "akig", signer, keyring)
    record = log.append("verification", BODY)
    assert (record.repository, record.warnings) == ("offsite", ("local could not be probed: access denied",))
    assert sequences(EvidenceLog([storage], "akig", None, keyring).records()) == [1]


def test_write_whose_answer_was_lost_keeps_its_number(
    local: LocalStorage, offsite: LocalStorage, signer: Signer, keyring: Keyring
) -> None:
    class Forgetful(LocalStorage):
        """Writes, then says that the key is taken: a retried request whose first answer was lost."""

        def create(self, key: str, data: bytes, **options: object) -> None:
            super().create(key, data)
            raise ObjectExists("taken", op="create")

    log = EvidenceLog([Forgetful("local", local.root), offsite], "akig", signer, keyring)
    assert [log.append("restore", {}).sequence for _ in range(3)] == [1, 2, 3]
    assert snapshot_of(local) == snapshot_of(offsite)


def test_fork_is_reported_written_down_and_never_overwritten(
    log: EvidenceLog, local: LocalStorage, offsite: LocalStorage
) -> None:
    log.append("verification", BODY)
    for absent, name in ((offsite, "a"), (local, "b")):
        down(absent)
        log.append("restore", {"side": name})
        up(absent)
    sides = raw(local, 2), raw(offsite, 2)
    assert sides[0] != sides[1]
    record = log.append("verification", BODY)
    assert record.warnings == ("evidence 2 differs between local and offsite",)
    assert json.loads(raw(offsite, 3))["forks"] == ["evidence 2 differs between local and offsite"]
    assert (raw(local, 2), raw(offsite, 2)) == sides
    assert log.append("verification", BODY).warnings == ()


def test_lock_lasts_as_long_as_asked(local: LocalStorage, signer: Signer, keyring: Keyring) -> None:
    class Locking(LocalStorage):
        until: object = None

        def create(self, key: str, data: bytes, *, retain_until: object = None) -> None:
            self.until = retain_until
            super().create(key, data)

    storage = Locking("local", local.root)
    EvidenceLog([storage], "akig", signer, keyring, lambda: TAKEN, keep=HOUR).append("restore", {})
    assert storage.until == TAKEN + HOUR


@pytest.mark.parametrize("kind", ["", "Verification", "a b", "x" * 60])
def test_kind_is_a_word(log: EvidenceLog, kind: str) -> None:
    with pytest.raises(UsageError, match="not a kind of evidence"):
        log.append(kind, {})


def test_log_without_signer_only_reads(log: EvidenceLog, local: LocalStorage, keyring: Keyring) -> None:
    log.append("verification", BODY)
    reader = EvidenceLog([local], "akig", None, keyring)
    assert sequences(reader.records()) == [1]
    with pytest.raises(UsageError, match="no signing key"):
        reader.append("verification", BODY)


# -- reading -------------------------------------------------------------------------------------


def test_records_are_read_as_they_are_asked_for(
    local: LocalStorage, signer: Signer, keyring: Keyring
) -> None:
    class Counting(LocalStorage):
        reads = 0

        def read(self, key: str, *, limit: int = 64 << 20) -> bytes:
            self.reads += 1
            return super().read(key, limit=limit)

    storage = Counting("local", local.root)
    log = EvidenceLog([storage], "akig", signer, keyring)
    for _ in range(4):
        log.append("restore", {})
    storage.reads = 0
    assert log.head() is not None
    assert storage.reads == 1


def resigned(data: bytes, **changed: Any) -> bytes:
    return sign_document({**json.loads(data), **changed}, Signer("ed25519", bytes(range(32))), floats=True)


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a verdict changed": (lambda d: d.replace(b"FAIL", b"PASS"), "does not match the content"),
    "unsigned": (lambda d: json.dumps({**json.loads(d), "signature": ""}).encode(), "not signed"),
    "truncated": (lambda d: d[:-9], "not readable JSON"),
    "empty": (lambda d: b"", "not readable JSON"),
    "whitespace": (lambda d: d + b"\n", "canonical form"),
    "newer schema": (lambda d: resigned(d, schema="pra/evidence/2"), "another schema"),
    "another number's": (lambda d: resigned(d, sequence=7), "was moved here"),
    "another target's": (lambda d: resigned(d, target="other"), "was moved here"),
    "a manifest in its place": (lambda d: resigned(d, schema="pra/manifest/1"), "another schema"),
    "no body": (lambda d: resigned(d, body=[]), "field missing or wrong"),
    "an unknown key": (
        lambda d: d.replace(json.loads(d)["key_id"].encode(), b"0123456789abcdef"),
        "unknown key",
    ),
}


@pytest.mark.parametrize(("damage", "complaint"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_record_proves_nothing(
    local: LocalStorage, signer: Signer, keyring: Keyring, damage: Callable[[bytes], bytes], complaint: str
) -> None:
    log = EvidenceLog([local], "akig", signer, keyring, lambda: TAKEN)
    log.append("verification", {**BODY, "verdict": "FAIL"})
    assert log.proofs()[BACKUP_ID].verdict is Verdict.FAIL
    intact = raw(local, 1)
    damaged = damage(intact)
    assert damaged != intact
    rewrite(local, 1, damaged)
    [record] = log.records()
    assert complaint in record.problem
    assert log.proofs() == {}


def test_sound_copy_elsewhere_stands_in_for_a_damaged_one(log: EvidenceLog, local: LocalStorage) -> None:
    written = log.append("verification", BODY)
    rewrite(local, 1, b"{}")
    assert list(log.records()) == [replace(written, repository="offsite")]


def test_evidence_signed_by_a_key_after_its_retirement_is_not_believed(
    local: LocalStorage, signer: Signer
) -> None:
    for retired_at, believed in ((TAKEN + HOUR, True), (TAKEN, False)):
        keyring = Keyring([replace(signer.trusted, retired_at=retired_at)])
        if local.stat(evidence_key("akig", 1)) is None:
            EvidenceLog([local], "akig", signer, keyring, lambda: TAKEN).append("verification", BODY)
        assert bool(EvidenceLog([local], "akig", None, keyring).proofs()) is believed


def test_latest_verification_of_a_backup_counts(log: EvidenceLog) -> None:
    other = "20261122T080000Z-full-0001"
    log.append("verification", {**BODY, "verdict": "PASS"})
    log.append("verification", {**BODY, "verdict": "FAIL", "repository": "offsite"})
    log.append("verification", {**BODY, "backup_id": other})
    log.append("restore", {**BODY, "verdict": "PASS"})
    log.append("verification", {**BODY, "verdict": "maybe"})
    log.append("verification", {"verdict": "PASS"})
    proofs = log.proofs()
    assert {k: (p.verdict, p.repository, p.sequence) for k, p in proofs.items()} == {
        BACKUP_ID: (Verdict.FAIL, "offsite", 2),
        other: (Verdict.PASS, "local", 3),
    }
    assert log.proofs("local")[BACKUP_ID].verdict is Verdict.PASS
    assert proofs[BACKUP_ID].at == TAKEN + timedelta(seconds=2)


def test_strange_files_among_the_evidence_are_left_alone(log: EvidenceLog, local: LocalStorage) -> None:
    local.create("akig/evidence/notes.txt", b"hello")
    local.create("akig/evidence/0000000000.json", b"{}")
    assert log.append("restore", {}).sequence == 1
    assert sequences(log.records()) == [1]


def test_targets_are_kept_apart(tmp_path: Path, signer: Signer, keyring: Keyring) -> None:
    storage = make_storage(tmp_path / "shared")
    for target in ("a", "b"):
        assert EvidenceLog([storage], target, signer, keyring).append("restore", {}).sequence == 1
