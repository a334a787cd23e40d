"""Walk a chain of evidence offline, with public keys, copies of the records, and a head known from elsewhere.

Each record is held against its signature, its place, the record before it, the other copies, and what
manifests and verdicts remember. A mistake is named once, where it lies: a record that follows an altered
one is not blamed for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from pra.evidence_place import PlacedRecord, read_all, runs, settle, shifted, whose_chain
from pra.evidence_record import GENESIS, SHOWN, Head
from pra.keys import Keyring

__all__ = ["Chain", "Copies", "Head", "Problem", "walk"]

Placed = Mapping[str, Mapping[int, PlacedRecord]]
"""By the name of the copies, then by number."""


@dataclass(frozen=True)
class Copies:
    """One set of copies: a repository's, or a folder's.

    Attributes:
        records: The stored bytes by the number in the file's name.
        unread: Numbers whose file is there and could not be read, with the reason.
        strange: Names that no record has.
    """

    name: str
    records: Mapping[int, bytes] = field(repr=False)
    unread: Mapping[int, str] = field(default_factory=dict)
    strange: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """Something that no untouched chain has.

    Attributes:
        sequence: Of the first record concerned; None where it is about none in particular.
        where: The copies it was found in; several names are joined by `` and ``.
        sentence: One lowercase fact about that record.
        unread: A copy could not be read: nothing is known about it, good or bad.
    """

    sequence: int | None
    where: str
    sentence: str
    unread: bool = False


@dataclass(frozen=True)
class Chain:
    """What a walk found.

    Attributes:
        target: Whose chain it is; empty when no record could say.
        records: How many numbers there are records for.
        head: The last record up to which everything holds; None where already the first does not.
    """

    target: str
    records: int
    problems: tuple[Problem, ...]
    head: Head | None

    @property
    def sound(self) -> bool:
        return not self.problems


def walk(
    copies: Sequence[Copies], keyring: Keyring, *, target: str | None = None, heads: Sequence[Head] = ()
) -> Chain:
    """Hold every record against everything that vouches for it.

    Args:
        target: Whose chain it must be; None: whose most of the records say it is.
        heads: What is known from elsewhere. Where it names a later record than there is, the tail was cut.
    """
    read = {each.name: read_all(each.records, keyring) for each in copies}
    whose = target or whose_chain(found for each in read.values() for found in each.values())
    placed = {name: settle(found, whose) for name, found in read.items()}
    numbers = {number for each in copies for number in (*each.records, *each.unread)}
    last = max([0, *numbers, *(head.sequence for head in heads)])
    problems: list[Problem] = []
    for each in copies:
        problems += _unusable(each)
        problems += _misplaced(each.name, placed[each.name])
        problems += _missing(each, copies, heads, last)
    problems += [*_forks(placed), *_breaks(placed), *_unlike_the_heads(placed, heads)]
    problems.sort(key=lambda p: (p.sequence is not None, p.sequence or 0))
    return Chain(whose, len(numbers), tuple(problems), _verified(placed, heads, last))


def _unusable(copies: Copies) -> Iterator[Problem]:
    for name in copies.strange:
        yield Problem(None, copies.name, f"{name[:80]} lies among the records and is none")
    for sequence, reason in copies.unread.items():
        yield Problem(sequence, copies.name, f"could not be read: {reason}", unread=True)


def _misplaced(name: str, placed: Mapping[int, PlacedRecord]) -> Iterator[Problem]:
    """Records that are not what was signed, and those that were signed for another place."""
    explained: set[int] = set()
    for sequences, sentence in shifted(placed):
        explained |= set(sequences)
        yield Problem(min(sequences), name, sentence)
    for sequence, found in placed.items():
        if found.problem:
            yield Problem(sequence, name, found.problem)
        elif found.inner != sequence and sequence not in explained:
            yield Problem(sequence, name, f"holds the record that was signed as number {found.inner}")


def _missing(here: Copies, copies: Sequence[Copies], heads: Sequence[Head], last: int) -> Iterator[Problem]:
    """Gaps and cut tails, one problem for a run of numbers; says who knows of what is missing."""
    present = here.records.keys() | here.unread.keys()
    newest = max(present, default=0)
    for first, final in runs(n for n in range(1, last + 1) if n not in present):
        what = f"records {first} to {final} are missing" if final > first else "the record is missing"
        gone = set(range(first, final + 1))
        holders = [c.name for c in copies if (c.records.keys() | c.unread.keys()) & gone]
        if holders:
            place = "at the end: cut off, or not copied yet" if first > newest else "in the middle"
            yield Problem(first, here.name, f"{what} {place}; held by {' and '.join(holders)}")
        elif first > newest:
            latest = max(heads, key=lambda head: head.sequence)
            yield Problem(first, here.name, f"the tail was cut off: {what}, known from {latest.source}")
        else:
            yield Problem(first, here.name, f"removed from the middle: {what}")


def _forks(placed: Placed) -> Iterator[Problem]:
    """Sound, different records under one number: one problem for each run of such numbers."""
    differing: dict[int, str] = {}
    for sequence in sorted({number for found in placed.values() for number in found}):
        holders = {name: f[sequence].sha256 for name, f in placed.items() if _is_sound(f, sequence)}
        if len(set(holders.values())) > 1:
            differing[sequence] = " and ".join(sorted(holders))
    for where, grouped in groupby(differing, key=lambda number: differing[number]):
        for first, final in runs(grouped):
            span = f", up to number {final}" if final > first else ""
            yield Problem(first, where, f"a fork: different signed records under this number{span}")


def _breaks(placed: Placed) -> Iterator[Problem]:
    """Records that follow another one than is there. Where there is none to follow, that was said already."""
    for name, found in placed.items():
        for sequence, record in found.items():
            if not record.sound:
                continue
            if sequence == 1:
                if record.previous != GENESIS:
                    yield Problem(1, name, "names a record before it, although it is the first")
                continue
            everywhere = [each[sequence - 1] for each in placed.values() if _is_sound(each, sequence - 1)]
            # What follows the other side of a fork is told as that.
            if any(before.sha256 == record.previous for before in everywhere):
                continue
            here = found.get(sequence - 1)
            before = here if here is not None else next(iter(everywhere), None)
            if before is not None and before.sound:
                yield Problem(sequence, name, _follows_another(record, before))


def _follows_another(record: PlacedRecord, before: PlacedRecord) -> str:
    return (
        f"follows another record {before.sequence} than is there: "
        f"it names {record.previous[:SHOWN]}, and there is {before.sha256[:SHOWN]}"
    )


def _unlike_the_heads(placed: Placed, heads: Sequence[Head]) -> Iterator[Problem]:
    for name, found in placed.items():
        told: set[int] = set()
        for head in heads:
            sequence = head.sequence
            if sequence in told or not _is_sound(found, sequence) or _is_head(found[sequence], head):
                continue
            told.add(sequence)
            digits = found[sequence].sha256[:SHOWN]
            said = f"a second chain: its hash is {digits}, and {head.source} knows {head.sha256[:SHOWN]}"
            yield Problem(sequence, name, said)


def _verified(placed: Placed, heads: Sequence[Head], last: int) -> Head | None:
    """The newest record that an unbroken chain leads to.

    What one of several copies lacks, or holds altered, is its own problem: the chain goes on in the others.
    """
    previous, verified = GENESIS, None
    for sequence in range(1, last + 1):
        here = {f[sequence].sha256: f[sequence] for f in placed.values() if _is_sound(f, sequence)}
        record = next(iter(here.values()), None)
        if len(here) != 1 or record is None or record.previous != previous:
            break
        if any(head.sequence == sequence and not _is_head(record, head) for head in heads):
            break
        previous = record.sha256
        verified = Head(sequence, previous)
    return verified


def _is_sound(found: Mapping[int, PlacedRecord], sequence: int) -> bool:
    return sequence in found and found[sequence].sound


def _is_head(record: PlacedRecord, head: Head) -> bool:
    return record.sha256.startswith(head.sha256)
