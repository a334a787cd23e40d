"""A chain of evidence is walked offline; whatever was done to it is found, and named as what it is."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pra.document import sign_document
from pra.errors import UsageError
from pra.evidence import EvidenceLog
from pra.evidence_chain import Chain, Copies, Head, Problem, walk
from pra.evidence_copies import from_folder, from_storage, heads_of
from pra.evidence_record import parse_head
from pra.keys import Keyring, Signer
from pra.layout import evidence_key
from pra.manifest import EvidenceHead
from pra.signing import TrustedKey
from pra.storage.local import LocalStorage
from tests.fix_record import BACKUP_ID, TAKEN, make_manifest, make_storage

LAST = 6
STRANGER = Signer("ed25519", b"\x07" * 32)


@dataclass
class Record:
    """A chain of six records in two repositories, and what somebody does to the files of ``near``."""

    near: LocalStorage
    far: LocalStorage
    signer: Signer
    heads: list[Head] = field(default_factory=list)

    def path(self, sequence: int, storage: LocalStorage | None = None) -> Path:
        return (storage or self.near).root / evidence_key("akig", sequence)

    def append(self, *, target: str = "akig", storages: Sequence[LocalStorage] = (), **body: Any) -> str:
        log = EvidenceLog(
            storages or [self.near, self.far], target, self.signer, Keyring([]), clock=lambda: TAKEN
        )
        return log.append("verification", {"backup_id": BACKUP_ID, "verdict": "PASS", **body}).sha256

    def sign_anew(self, sequence: int, signer: Signer | None = None, **changed: Any) -> bytes:
        document = {**json.loads(self.path(sequence).read_bytes()), **changed}
        return sign_document(document, signer or self.signer, floats=True)

    def know(self, sequence: int = LAST, source: str = "the recovery sheet") -> None:
        """Remember the head as it is now, from outside of the chain."""
        digest = hashlib.sha256(self.path(sequence).read_bytes()).hexdigest()
        self.heads.append(Head(sequence, digest, source))

    def walk(self, *, both: bool = False, **options: Any) -> Chain:
        copies = [from_storage(each, "akig") for each in ([self.near, self.far] if both else [self.near])]
        return walk(copies, Keyring([self.signer.trusted]), heads=self.heads, **options)


@pytest.fixture
def record(tmp_path: Path, signer: Signer) -> Record:
    made = Record(make_storage(tmp_path / "near", "near"), make_storage(tmp_path / "far", "far"), signer)
    for number in range(1, LAST + 1):
        made.append(run=number)
    return made


def test_an_intact_chain_passes(record: Record) -> None:
    record.know()
    found = record.walk(both=True)
    assert (found.problems, found.target, found.records) == ((), "akig", LAST)
    assert found.sound
    assert found.head == Head(LAST, hashlib.sha256(record.path(LAST).read_bytes()).hexdigest())


# -- what is done to it ----------------------------------------------------------------------------


def edit_a_field(record: Record) -> None:
    data = record.path(3).read_bytes()
    record.path(3).write_bytes(data.replace(b'"PASS"', b'"FAIL"'))


def drop_the_middle(record: Record) -> None:
    record.path(3).unlink()


def drop_two_of_the_middle(record: Record) -> None:
    for number in (3, 4):
        record.path(number).unlink()


def drop_the_middle_and_renumber(record: Record) -> None:
    for number in range(3, LAST):
        shutil.copy(record.path(number + 1), record.path(number))
    record.path(LAST).unlink()


def drop_the_tail(record: Record) -> None:
    record.know()
    for number in (5, 6):
        record.path(number).unlink()


def drop_the_tail_that_a_manifest_knows(record: Record) -> None:
    digest = hashlib.sha256(record.path(LAST).read_bytes()).hexdigest()
    manifest = make_manifest(evidence_head=EvidenceHead(sequence=LAST, sha256=digest))
    record.heads += heads_of([make_manifest(), manifest], "far")
    record.path(LAST).unlink()


def swap_two(record: Record) -> None:
    one, other = record.path(3).read_bytes(), record.path(4).read_bytes()
    record.path(3).write_bytes(other), record.path(4).write_bytes(one)


def insert_one(record: Record) -> None:
    for number in range(LAST, 2, -1):
        shutil.copy(record.path(number), record.path(number + 1))
    shutil.copy(record.path(2), record.path(3))


def insert_one_of_a_strangers(record: Record) -> None:
    forged = record.sign_anew(3, STRANGER, body={"verdict": "PASS"})
    insert_one(record)
    record.path(3).write_bytes(forged)


def put_another_records_copy_in_its_place(record: Record) -> None:
    shutil.copy(record.path(1), record.path(4))


def write_a_second_chain(record: Record) -> None:
    record.know()
    for path in record.near.root.rglob("*.json"):
        path.unlink()
    for number in range(1, LAST + 1):
        record.append(run=number, storages=[record.near], rewritten=True)


def sign_again_with_another_key(record: Record) -> None:
    record.path(3).write_bytes(record.sign_anew(3, STRANGER, kind="restore"))


def sign_the_head_again_with_another_key(record: Record) -> None:
    record.path(LAST).write_bytes(record.sign_anew(LAST, STRANGER, kind="restore"))


def sign_again_with_the_key(record: Record) -> None:
    record.path(3).write_bytes(record.sign_anew(3, kind="restore"))


def sign_the_head_again_with_the_key(record: Record) -> None:
    record.know()
    record.path(LAST).write_bytes(record.sign_anew(LAST, kind="restore"))


def put_something_before_the_first(record: Record) -> None:
    record.path(1).write_bytes(record.sign_anew(1, previous_sha256="a" * 64))


def move_another_targets_here(record: Record) -> None:
    for number in range(1, 4):
        record.append(run=number, target="other", storages=[record.near])
    shutil.copy(record.near.root / evidence_key("other", 3), record.path(3))


def cut_a_file_in_half(record: Record) -> None:
    data = record.path(3).read_bytes()
    record.path(3).write_bytes(data[: len(data) // 2])


def empty_a_file(record: Record) -> None:
    record.path(LAST).write_bytes(b"")


def write_one_with_whitespace(record: Record) -> None:
    record.path(3).write_bytes(json.dumps(json.loads(record.path(3).read_bytes())).encode())


def write_a_later_schema(record: Record) -> None:
    record.path(3).write_bytes(record.sign_anew(3, schema="pra/evidence/9"))


def put_a_file_beside(record: Record) -> None:
    shutil.copy(record.path(3), record.path(3).with_name("0000000003-copy.json"))


def put_a_number_zero(record: Record) -> None:
    shutil.copy(record.path(1), record.path(0))


Damage = Callable[[Record], None]
FORGED = f"signed by an unknown key, '{STRANGER.key_id}'"
CHANGED = "the signature by key .{16} does not match the content"
TAMPERED: list[tuple[Damage, list[tuple[int | None, str]], int]] = [
    # what is done; the complaints, each with its number; the last record that can still be relied on
    (edit_a_field, [(3, CHANGED)], 2),
    (drop_the_middle, [(3, "removed from the middle: the record is missing")], 2),
    (drop_two_of_the_middle, [(3, "removed from the middle: records 3 to 4 are missing")], 2),
    (drop_the_middle_and_renumber, [(3, "removed, and the records after it renumbered to hide the gap")], 2),
    (
        drop_the_tail,
        [(5, "the tail was cut off: records 5 to 6 are missing, known from the recovery sheet")],
        4,
    ),
    (
        drop_the_tail_that_a_manifest_knows,
        [(6, f"the tail was cut off: the record is missing, known from the manifest {BACKUP_ID} in far")],
        5,
    ),
    (swap_two, [(3, "swapped with record 4")], 2),
    (insert_one, [(3, "renumbered, since one was inserted as number 3")], 2),
    (
        insert_one_of_a_strangers,
        [(3, FORGED), (4, "renumbered, since one was inserted as number 3")],
        2,
    ),
    (put_another_records_copy_in_its_place, [(4, "holds the record that was signed as number 1")], 3),
    (write_a_second_chain, [(6, "a second chain: its hash is .{16}, and the recovery sheet knows .{16}")], 5),
    (sign_again_with_another_key, [(3, FORGED)], 2),
    (sign_the_head_again_with_another_key, [(6, FORGED)], 5),
    (
        sign_again_with_the_key,
        [(4, "follows another record 3 than is there: it names .{16}, and there is .{16}")],
        3,
    ),
    (sign_the_head_again_with_the_key, [(6, "a second chain: its hash is .{16}, and the recovery .*")], 5),
    (
        put_something_before_the_first,
        [
            (1, "names a record before it, although it is the first"),
            (2, "follows another record 1 than is there: .*"),
        ],
        0,
    ),
    (move_another_targets_here, [(3, "belongs to the target other, and was moved here")], 2),
    (cut_a_file_in_half, [(3, "is not readable JSON")], 2),
    (empty_a_file, [(6, "is not readable JSON")], 5),
    (write_one_with_whitespace, [(3, "is not stored in canonical form")], 2),
    (write_a_later_schema, [(3, "has another schema")], 2),
    (put_a_file_beside, [(None, "0000000003-copy.json lies among the records and is none")], LAST),
    (put_a_number_zero, [(None, "0000000000.json lies among the records and is none")], LAST),
]


@pytest.mark.parametrize(
    ("tamper", "complaints", "relied_on"), TAMPERED, ids=[row[0].__name__ for row in TAMPERED]
)
def test_what_was_done_to_it_is_found_and_named(
    record: Record, tamper: Damage, complaints: list[tuple[int | None, str]], relied_on: int
) -> None:
    assert record.walk().sound
    tamper(record)
    found = record.walk()
    demand(found.problems, complaints)
    assert not found.sound
    assert (found.head.sequence if found.head else 0) == relied_on


def demand(problems: Sequence[Problem], complaints: Sequence[tuple[int | None, str]]) -> None:
    """These complaints, and no other."""
    assert [problem.sequence for problem in problems] == [number for number, _ in complaints]
    for problem, (_, sentence) in zip(problems, complaints, strict=True):
        assert re.fullmatch(sentence, problem.sentence), problem.sentence


# -- several copies --------------------------------------------------------------------------------


def test_a_fork_is_one_complaint_and_names_both_sides(record: Record) -> None:
    for number in range(2):
        record.append(side="near", run=number, storages=[record.near])
        record.append(side="far", run=number, storages=[record.far])
    record.append(run=9)
    found = record.walk(both=True)
    demand(found.problems, [(7, "a fork: different signed records under this number, up to number 8")])
    assert found.problems[0].where == "far and near"
    assert found.head is not None
    assert found.head.sequence == LAST


def test_a_second_chain_in_another_repository_is_a_fork_from_the_first(
    record: Record, tmp_path: Path
) -> None:
    other = make_storage(tmp_path / "other", "other")
    for number in range(1, 4):
        record.append(run=number, storages=[other], another="chain")
    copies = [from_storage(record.near, "akig"), from_storage(other, "akig")]
    found = walk(copies, Keyring([record.signer.trusted]))
    demand(
        found.problems,
        [
            (1, "a fork: different signed records under this number, up to number 3"),
            (4, "records 4 to 6 are missing at the end: cut off, or not copied yet; held by near"),
        ],
    )
    assert found.head is None


def test_what_one_copy_lacks_the_other_vouches_for(record: Record) -> None:
    record.path(2).unlink()
    record.path(4).write_bytes(b"{}")
    record.path(6, record.far).unlink()
    found = record.walk(both=True)
    demand(
        found.problems,
        [
            (2, "the record is missing in the middle; held by far"),
            (4, "has another schema"),
            (6, "the record is missing at the end: cut off, or not copied yet; held by near"),
        ],
    )
    assert [problem.where for problem in found.problems] == ["near", "near", "far"]
    assert found.head is not None
    assert found.head.sequence == LAST


def test_a_sound_stranger_in_the_place_of_what_is_missing_elsewhere_is_found(record: Record) -> None:
    for number in (2, 3, 4, 5, 6):
        record.path(number, record.far).unlink()
    record.path(2, record.far).write_bytes(record.sign_anew(2, kind="restore"))
    record.path(2).unlink()
    complaints = [
        (p.sequence, p.where, p.sentence.partition(":")[0]) for p in record.walk(both=True).problems
    ]
    assert (3, "near", "follows another record 2 than is there") in complaints


def test_a_record_that_cannot_be_read_is_no_tampering(record: Record) -> None:
    whole = from_storage(record.near, "akig")
    without = {number: data for number, data in whole.records.items() if number != 3}
    found = walk([Copies("near", without, {3: "timed out"})], Keyring([record.signer.trusted]))
    demand(found.problems, [(3, "could not be read: timed out")])
    assert [problem.unread for problem in found.problems] == [True]


# -- offline ---------------------------------------------------------------------------------------


def test_a_folder_of_copies_is_enough(record: Record) -> None:
    folder = record.path(1).parent
    found = walk([from_folder(folder)], Keyring([record.signer.trusted]))
    assert (found.problems, found.target) == ((), "akig")
    assert found.head is not None
    assert walk([from_folder(folder)], Keyring([STRANGER.trusted])).head is None
    demand(
        walk([from_folder(folder)], Keyring([record.signer.trusted]), target="other").problems,
        [(number, "belongs to the target akig, and was moved here") for number in range(1, LAST + 1)],
    )


def test_a_folder_without_records_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    for folder, complaint in ((tmp_path, "no record of evidence"), (tmp_path / "none", "cannot read")):
        with pytest.raises(UsageError, match=complaint):
            from_folder(folder)


def test_a_head_is_read_back_as_it_was_shown() -> None:
    head = Head(12, "0123456789abcdef" * 4)
    assert head.short == "12:0123456789abcdef"
    assert parse_head(head.short) == Head(12, "0123456789abcdef")
    assert parse_head(f" 12:{head.sha256.upper()} ") == head


@pytest.mark.parametrize(
    "text", ["", "12", "12:", "12:0123", "0:0123456789abcdef", "x:0123456789abcdef", "-1:ff"]
)
def test_a_head_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not an evidence head"):
        parse_head(text)


def test_a_retired_key_vouches_for_what_came_before(record: Record, signer: Signer) -> None:
    retired = [Keyring([k]) for k in (_retired(signer, hours=1), _retired(signer, hours=0))]
    copies = [from_storage(record.near, "akig")]
    assert walk(copies, retired[0]).sound
    assert not walk(copies, retired[1]).sound


def _retired(signer: Signer, *, hours: int) -> TrustedKey:
    return replace(signer.trusted, retired_at=TAKEN + timedelta(hours=hours))
