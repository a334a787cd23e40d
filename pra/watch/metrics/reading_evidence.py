"""Evidence as facts: side by side, newest first, and each record once in its life."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from pra.errors import IntegrityError, PraError, StorageError
from pra.evidence_record import read_record
from pra.keys import Keyring
from pra.layout import evidence_key, evidence_prefix, evidence_sequence
from pra.storage.base import ObjectStat, Storage
from pra.timing import from_iso, to_iso
from pra.watch.bundles import Bundled
from pra.watch.metrics.cache import Cache
from pra.watch.metrics.facts import Fact, fact_of

_LARGEST = 16 << 20
_CHUNK = 512
"""So many records are read at once before it is asked whether older ones are wanted at all."""
_MANY = 100
"""So many records that were never read are worth a look for bundles."""


@dataclass(frozen=True)
class Shelf:
    """A repository, and what is remembered of it."""

    storage: Storage
    cache: Cache


Copy = tuple[Shelf, ObjectStat]


def read_facts(
    shelves: Sequence[Shelf],
    target: str,
    keyring: Keyring,
    since: datetime,
    pool: Executor,
    problems: list[str],
    bundled: Bundled | None = None,
) -> tuple[Fact, ...]:
    """Everything that the believable records say, in order of time.

    A record counts when one repository holds a sound copy; a copy that is not is a problem all the same.

    Args:
        since: What lies further back is not read on.
        problems: Gets a line for each record, and each repository, that is of no use.
        bundled: Spares requests where many records were never read here.
    """
    copies = _copies(shelves, target, problems)
    if bundled is not None and _unread(copies) < _MANY:
        bundled = None
    numbers = sorted(copies, reverse=True)
    found: list[Fact] = []
    for begin in range(0, len(numbers), _CHUNK):
        chunk = numbers[begin : begin + _CHUNK]
        one = partial(_fact, shelves, copies=copies, target=target, keyring=keyring, bundled=bundled)
        facts: list[Fact] = []
        for fact, complaints in pool.map(one, chunk):
            problems += complaints
            if fact is not None:
                facts.append(fact)
        found += facts
        if facts and all(fact.at < since for fact in facts):
            break
    return tuple(sorted(found, key=lambda fact: (fact.at, fact.sequence)))


def _copies(shelves: Sequence[Shelf], target: str, problems: list[str]) -> dict[int, list[Copy]]:
    """The first repository's listing, and what only the others have: of a year, nine pages less each."""
    found: dict[int, list[Copy]] = {}
    for shelf in shelves:
        try:
            for stat in _listed(shelf.storage, target, found):
                number = evidence_sequence(stat.key)
                if number:
                    found.setdefault(number, []).append((shelf, stat))
        except StorageError as error:
            problems.append(f"{shelf.storage.name} was not reached: {error.message}")
    return found


def _listed(storage: Storage, target: str, known: Collection[int]) -> Iterator[ObjectStat]:
    """Everything, or only what comes behind numbers of which none is missing."""
    newest = max(known, default=0)
    if newest and len(known) == newest:
        return storage.list_after(evidence_prefix(target), evidence_key(target, newest))
    return storage.list(evidence_prefix(target))


def _unread(copies: Mapping[int, Sequence[Copy]]) -> int:
    return sum(all(shelf.cache.get(stat) is None for shelf, stat in each) for each in copies.values())


def _fact(
    shelves: Sequence[Shelf],
    sequence: int,
    *,
    copies: Mapping[int, Sequence[Copy]],
    target: str,
    keyring: Keyring,
    bundled: Bundled | None,
) -> tuple[Fact | None, list[str]]:
    """The first sound copy, and what was wrong with those before it."""
    complaints: list[str] = []
    once_more = None
    for shelf, stat in _in_turn(shelves, target, sequence, copies[sequence], complaints):
        known = shelf.cache.get(stat)
        if known is not None and (fact := _kept(known)) is not None:
            return fact, complaints
        if once_more is None and bundled is not None:
            once_more = bundled.get(sequence)
        try:
            fact = _believed(shelf, stat, target, sequence, keyring, once_more)
        except (IntegrityError, StorageError) as error:
            complaints.append(f"evidence {sequence} in {shelf.storage.name}: {error.message}")
        except (KeyError, TypeError, ValueError, AttributeError):
            name = shelf.storage.name
            complaints.append(f"evidence {sequence} in {name}: a measurement in it cannot be")
        else:
            shelf.cache.put(stat, _as_kept(fact))
            return fact, complaints
    return None, complaints


def _in_turn(
    shelves: Sequence[Shelf], target: str, sequence: int, listed: Sequence[Copy], complaints: list[str]
) -> Iterator[Copy]:
    """The copies that were listed; then, where those were of no use, those of the other repositories."""
    yield from listed
    seen = [shelf.storage.name for shelf, _ in listed]
    for shelf in shelves:
        if shelf.storage.name not in seen:
            try:
                stat = shelf.storage.stat(evidence_key(target, sequence))
            except StorageError as error:
                complaints.append(f"evidence {sequence} in {shelf.storage.name}: {error.message}")
                continue
            if stat is not None:
                yield shelf, stat


def _believed(
    shelf: Shelf, stat: ObjectStat, target: str, sequence: int, keyring: Keyring, once_more: bytes | None
) -> Fact:
    """From a bundle where that has a sound record of this size, otherwise from the repository."""
    read = partial(
        read_record, keyring=keyring, target=target, sequence=sequence, repository=shelf.storage.name
    )
    if once_more is not None and len(once_more) == stat.bytes:
        try:
            return fact_of(read(once_more))
        except PraError:
            pass  # whoever wrote that bundle vouches for nothing
    return fact_of(read(shelf.storage.read(stat.key, limit=_LARGEST)))


def _as_kept(fact: Fact) -> dict[str, Any]:
    """What differs from an empty fact: most records are expiries, of which only the moment is wanted."""
    whole = vars(fact) | {"at": to_iso(fact.at)}
    return {name: value for name, value in whole.items() if value not in (None, "", False)}


def remembered(cache: Cache, target: str) -> list[Fact]:
    """What was kept of this target's records, for a reader whose repositories do not answer."""
    prefix = evidence_prefix(target)
    found = (_kept(known) for key, (_, known) in cache.entries.items() if key.startswith(prefix))
    return [fact for fact in found if fact is not None]


def _kept(known: Any) -> Fact | None:
    try:
        return Fact(**{**known, "at": from_iso(known["at"])})
    except (KeyError, TypeError, ValueError, PraError):
        return None
