"""Evidence: the signed, numbered, hash-chained record of what was done and proven.

Each record is one object, created conditionally under the next number, and holds the SHA-256 of the record
before it. The first repository that can write conditionally decides who gets a number; the others get copies,
at once or with the next record. When it is down, another decides. Should two repositories then hold different
records under one number, neither is overwritten: the fork is reported, and written into the next record.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pra.errors import BusyError, IntegrityError, ObjectExists, StorageError, UsageError
from pra.evidence_record import (
    GENESIS,
    VERIFICATION,
    EvidenceRecord,
    Proof,
    compose,
    read_record,
    unbelievable,
)
from pra.keys import Keyring, Signer
from pra.layout import evidence_key, evidence_prefix, evidence_sequence
from pra.model import Verdict
from pra.side_by_side import side_by_side
from pra.storage.base import Storage
from pra.timing import Clock, utc_now

__all__ = ["GENESIS", "VERIFICATION", "EvidenceLog", "EvidenceRecord", "Proof"]
_ATTEMPTS = 50
_LARGEST = 16 << 20
_AHEAD = 32
"""So many records at most are read before it is asked whether they are wanted."""
_log = logging.getLogger(__name__)


@dataclass
class _Shelf:
    """The evidence one repository holds, as listed a moment ago."""

    storage: Storage
    numbers: set[int]


class EvidenceLog:
    """The record of one target over all its repositories.

    Args:
        storages: In the order of the settings; at least one.
        signer: Needed to append; None for a log that is only read.
        keyring: Whose signatures count. Our own always does.
        keep: How long a record is locked where the repository has object lock.
    """

    def __init__(
        self,
        storages: Sequence[Storage],
        target: str,
        signer: Signer | None,
        keyring: Keyring,
        clock: Clock = utc_now,
        *,
        keep: timedelta | None = None,
    ) -> None:
        if not storages:
            raise UsageError("evidence needs a repository", op="open evidence")
        self._storages = tuple(storages)
        self._target = target
        self._signer = signer
        self._keyring = Keyring([*keyring, signer.trusted]) if signer else keyring
        self._clock = clock
        self._keep = keep

    # -- writing -----------------------------------------------------------------------------------

    def append(self, kind: str, body: Mapping[str, Any]) -> EvidenceRecord:
        """Write one record: names, counts and times only, never a row's value.

        Works as long as one repository does; what the others missed is in ``warnings`` and is copied by
        the next append.

        Args:
            kind: ``verification``, ``restore``, ``expiry``, ``key-change`` … A verification names
                ``backup_id``, ``verdict`` and ``repository`` in its body.

        Raises:
            UsageError: No word for a kind, or a log opened without a signer.
            StorageError: No repository could be written.
            BusyError: Others kept taking the next number.
        """
        if self._signer is None:
            raise UsageError("no signing key", op="append evidence", hint="Make keys with: pra key make")
        at = self._clock()
        until = at + self._keep if self._keep else None
        for _ in range(_ATTEMPTS):
            shelves, warnings = self._shelves()
            shelves.sort(key=lambda shelf: not _is_conditional(shelf.storage, warnings))
            warnings += self._catch_up(shelves, until)
            forks = self._forks(shelves, warnings)
            head = max(max(shelf.numbers, default=0) for shelf in shelves)
            data = compose(
                self._signer,
                target=self._target,
                sequence=head + 1,
                previous_sha256=self._digest(shelves, head),
                at=at,
                kind=kind,
                body=body,
                forks=forks,
            )
            arbiter = self._create(data, head + 1, shelves, warnings, until)
            if arbiter is None:
                continue  # the number was taken meanwhile
            for shelf in shelves:
                if shelf is not arbiter:
                    warnings += self._copy(shelf, head + 1, data, until)
            name = arbiter.storage.name
            record = read_record(data, self._keyring, target=self._target, sequence=head + 1, repository=name)
            return replace(record, warnings=_said([*warnings, *forks]))
        raise BusyError("others kept taking the next evidence number", op="append evidence", transient=True)

    def _shelves(self) -> tuple[list[_Shelf], list[str]]:
        """Who answers, in the order of the settings; and who does not."""
        shelves, warnings, failure = [], [], None
        for storage in self._storages:
            try:
                listed = [evidence_sequence(stat.key) for stat in storage.list(evidence_prefix(self._target))]
                numbers = {number for number in listed if number}
                shelves.append(_Shelf(storage, numbers))
            except StorageError as error:
                failure = error
                warnings.append(f"{storage.name} was not reached: {error.message}")
        if not shelves and failure is not None:
            raise failure
        return shelves, warnings

    def _digest(self, shelves: Sequence[_Shelf], sequence: int) -> str:
        """SHA-256 of a record in the first repository that holds it: its chain is the one that goes on."""
        failure: StorageError | None = None
        for shelf in shelves:
            if sequence in shelf.numbers:
                try:
                    return hashlib.sha256(self._stored(shelf, sequence)).hexdigest()
                except StorageError as error:
                    failure = error
                    _said([f"evidence {sequence} of {shelf.storage.name}: {error.message}"])
        if failure is not None:
            raise failure
        return GENESIS

    def _create(
        self,
        data: bytes,
        sequence: int,
        shelves: Sequence[_Shelf],
        warnings: list[str],
        until: datetime | None,
    ) -> _Shelf | None:
        """The repository that gave the number; None when it was taken by somebody else."""
        failure: StorageError | None = None
        for shelf in shelves:
            try:
                shelf.storage.create(evidence_key(self._target, sequence), data, retain_until=until)
            except ObjectExists:
                # Our own write, if only its answer was lost.
                return shelf if self._stored(shelf, sequence) == data else None
            except StorageError as error:
                failure = error
                warnings.append(f"{shelf.storage.name} did not take evidence {sequence}: {error.message}")
            else:
                return shelf
        raise failure or StorageError("no repository", op="append evidence")

    def _catch_up(self, shelves: Sequence[_Shelf], until: datetime | None) -> list[str]:
        """Give every repository the records it missed, so that each holds the whole chain."""
        warnings: list[str] = []
        every = {number for shelf in shelves for number in shelf.numbers}
        for shelf in shelves:
            for sequence in sorted(every - shelf.numbers):
                holder = next(other for other in shelves if sequence in other.numbers)
                try:
                    data = self._stored(holder, sequence)
                except StorageError as error:
                    warnings.append(f"evidence {sequence} of {holder.storage.name}: {error.message}")
                else:
                    warnings += self._copy(shelf, sequence, data, until)
        return warnings

    def _copy(self, shelf: _Shelf, sequence: int, data: bytes, until: datetime | None) -> list[str]:
        """Put one copy; says what went wrong instead of raising, since the record itself is written."""
        where = f"evidence {sequence} in {shelf.storage.name}"
        try:
            shelf.storage.create(evidence_key(self._target, sequence), data, retain_until=until)
        except ObjectExists:
            try:
                same = self._stored(shelf, sequence) == data
            except StorageError as error:
                return [f"{where}: {error.message}"]
            if not same:
                return [f"{where} is another record"]
        except StorageError as error:
            return [f"{where} was not copied: {error.message}"]
        shelf.numbers.add(sequence)
        return []

    def _forks(self, shelves: Sequence[_Shelf], warnings: list[str]) -> list[str]:
        """Whether the newest number that all hold is the same record everywhere.

        One comparison suffices: a fork is the newest common number when it is first seen, and is then
        written down for good. The whole chain is compared offline.
        """
        common = set.intersection(*(shelf.numbers for shelf in shelves))
        if len(shelves) < 2 or not common:
            return []
        newest = max(common)
        digests: dict[str, str] = {}
        for shelf in shelves:
            try:
                digests[shelf.storage.name] = hashlib.sha256(self._stored(shelf, newest)).hexdigest()
            except StorageError as error:
                warnings.append(f"evidence {newest} of {shelf.storage.name}: {error.message}")
        if len(set(digests.values())) < 2:
            return []
        return [f"evidence {newest} differs between {' and '.join(sorted(digests))}"]

    # -- reading -----------------------------------------------------------------------------------

    def head(self) -> EvidenceRecord | None:
        """The newest record; None in a target without any. Raises StorageError if no repository answers."""
        return next(self.records(), None)

    def records(self) -> Iterator[EvidenceRecord]:
        """All records, newest first, read as they are asked for; the further back, the more at once.

        A record that cannot be believed is there too, with its ``problem``, unless another repository
        holds a sound copy.

        Raises:
            StorageError: No repository answers.
        """
        shelves, warnings = self._shelves()
        _said(warnings)
        every = {number for shelf in shelves for number in shelf.numbers}
        numbers = sorted(every, reverse=True)
        done, ahead = 0, 1
        while done < len(numbers):
            chunk = numbers[done : done + ahead]
            yield from side_by_side(lambda sequence: self._record(shelves, sequence), chunk)
            done, ahead = done + len(chunk), min(2 * ahead, _AHEAD)

    def _record(self, shelves: Sequence[_Shelf], sequence: int) -> EvidenceRecord:
        """The first sound copy; where there is none, the first."""
        holders = [shelf for shelf in shelves if sequence in shelf.numbers]
        first = found = self._read(holders[0], sequence)
        for shelf in holders[1:]:
            if not found.problem:
                break
            found = self._read(shelf, sequence)
        if first.problem and not found.problem:
            _said([f"evidence {sequence} of {first.repository}: {first.problem}"])
        return first if found.problem else found

    def proofs(self, repository: str | None = None, *, strict: bool = False) -> dict[str, Proof]:
        """The latest verification of each backup, by backup id; believable records only.

        Args:
            repository: Only verifications of the copy in this repository.
            strict: For whoever deletes what was never proven: not knowing is not the same as not proven.

        Raises:
            StorageError: No repository answers; with ``strict``, also when a record could not be read.
        """
        found: dict[str, Proof] = {}
        for record in self.records():
            if strict and record.unread:
                raise StorageError(record.problem, op="read evidence", hint="Try again once it answers.")
            if record.problem or record.kind != VERIFICATION:
                continue
            backup_id, where = record.body.get("backup_id"), str(record.body.get("repository", ""))
            if not isinstance(backup_id, str) or (repository is not None and where != repository):
                continue
            try:
                verdict = Verdict(str(record.body.get("verdict")))
            except ValueError:
                continue  # a verification that ended without a verdict proves nothing either way
            found.setdefault(backup_id, Proof(record.at, verdict, where, record.sequence))
        return found

    def _read(self, shelf: _Shelf, sequence: int) -> EvidenceRecord:
        name, digest = shelf.storage.name, ""
        try:
            data = self._stored(shelf, sequence)
            digest = hashlib.sha256(data).hexdigest()
            return read_record(data, self._keyring, target=self._target, sequence=sequence, repository=name)
        except (IntegrityError, StorageError) as error:
            return unbelievable(sequence, target=self._target, repository=name, error=error, sha256=digest)

    def _stored(self, shelf: _Shelf, sequence: int) -> bytes:
        return shelf.storage.read(evidence_key(self._target, sequence), limit=_LARGEST)


def _said(warnings: Sequence[str]) -> tuple[str, ...]:
    """Each once, and in the log: the record is safe, yet not everywhere where it should be."""
    once = tuple(dict.fromkeys(warnings))
    for warning in once:
        _log.warning("evidence: %s", warning)
    return once


def _is_conditional(storage: Storage, warnings: list[str]) -> bool:
    """Finding out writes a probe, which an account that may only read has no right to."""
    try:
        return storage.capabilities().conditional_write
    except StorageError as error:
        warnings.append(f"{storage.name} could not be probed: {error.message}")
        return False
