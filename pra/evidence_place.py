"""Each record of a set of copies beside the place it was signed for: its number and its target."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pra.document import parse
from pra.errors import IntegrityError
from pra.evidence_record import read_record
from pra.keys import Keyring
from pra.model import NAME


@dataclass(frozen=True)
class PlacedRecord:
    """A record as found under a number.

    Attributes:
        inner: The number it was signed as; 0 when it cannot be believed.
        target: Whose chain it was signed for; empty when it cannot be believed.
        previous: The digest of the record it follows.
        problem: Why it cannot be believed, or does not belong into this chain; empty otherwise.
    """

    sequence: int
    sha256: str
    inner: int = 0
    target: str = ""
    previous: str = ""
    problem: str = ""

    @property
    def sound(self) -> bool:
        """Believable, and where it belongs."""
        return not self.problem and self.inner == self.sequence


def read_all(records: Mapping[int, bytes], keyring: Keyring) -> dict[int, PlacedRecord]:
    """Read every record on its own terms: is it what was signed, and by whom, wherever it lies."""
    return {sequence: _read(sequence, records[sequence], keyring) for sequence in sorted(records)}


def whose_chain(records: Iterable[PlacedRecord]) -> str:
    """The target that most of the believable records name; empty where none is believable."""
    said = Counter(found.target for found in records if not found.problem)
    return said.most_common(1)[0][0] if said else ""


def settle(read: Mapping[int, PlacedRecord], target: str) -> dict[int, PlacedRecord]:
    """Hold every record against the chain it lies in."""
    return {sequence: _of_target(found, target) for sequence, found in read.items()}


def _read(sequence: int, data: bytes, keyring: Keyring) -> PlacedRecord:
    sha256 = hashlib.sha256(data).hexdigest()
    number, target = sequence, "unknown"
    try:
        document = parse(data, what="the record")
        number, target = _stated(document, sequence)
        record = read_record(data, keyring, target=target, sequence=number, repository="")
    except IntegrityError as error:
        said = error.message
        for subject in (f"evidence {number} of {target} ", f"evidence {number}: ", f"evidence {number} "):
            said = said.removeprefix(subject)
        return PlacedRecord(sequence, sha256, problem=said.removeprefix("the record "))
    return PlacedRecord(sequence, sha256, number, target, record.previous_sha256)


def _stated(document: Mapping[str, Any], sequence: int) -> tuple[int, str]:
    """Number and target as the record gives them, where they are of a form that any record has."""
    number, target = document.get("sequence"), document.get("target")
    if type(number) is not int or not 0 < number < 10**10:
        number = sequence
    return number, target if isinstance(target, str) and NAME.fullmatch(target) else "unknown"


def _of_target(found: PlacedRecord, target: str) -> PlacedRecord:
    if found.problem or found.target == target:
        return found
    return replace(found, problem=f"belongs to the target {found.target}, and was moved here")


def shifted(placed: Mapping[int, PlacedRecord]) -> Iterator[tuple[tuple[int, ...], str]]:
    """Numbers whose records lie elsewhere in a way that one act explains, and that act.

    Two that stand in each other's place were swapped. A run that ends at the newest number and is off by one
    was renumbered to hide that a record was taken out, or put in, before it.
    """
    off = {
        number: found.inner - number
        for number, found in placed.items()
        if not found.problem and found.inner != number
    }
    explained: set[int] = set()
    for number, by in off.items():
        if by > 0 and off.get(number + by) == -by:
            explained |= {number, number + by}
            yield (number, number + by), f"swapped with record {number + by}"
    for first, final in runs(number for number in off if number not in explained):
        span = range(first, final + 1)
        steps = {off[number] for number in span}
        if final != max(placed) or len(steps) != 1:
            continue
        if steps == {1}:
            yield tuple(span), "removed, and the records after it renumbered to hide the gap"
        elif steps == {-1}:
            yield tuple(span), f"renumbered, since one was inserted as number {_inserted(placed, first)}"


def _inserted(placed: Mapping[int, PlacedRecord], first: int) -> int:
    """Where the stranger is: before the first that is off, or, as a copy of its predecessor, that one."""
    before = placed.get(first - 1)
    return first if before is not None and before.sha256 == placed[first].sha256 else first - 1


def runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Unbroken runs of ascending numbers, each as its first and its last."""
    run: tuple[int, int] | None = None
    for number in numbers:
        if run is not None and number == run[1] + 1:
            run = (run[0], number)
            continue
        if run is not None:
            yield run
        run = (number, number)
    if run is not None:
        yield run
