"""What the evidence says about proofs and drills, without reading the whole chain every five minutes.

Records never change, so that what one said is kept in the state directory and only new ones are read: of a
year of them the end of the listing, and nothing else. The newest record is listed in every pass: should it be
gone or another one, the repository was set back, and all is read anew. Once a day the whole listing is
read: what is gone from it does not count any more, and what was written again is read again. Whoever
restores, expires or audits reads the chain itself. Another set of trusted keys forgets everything. A record
that could not be read is tried again with each pass.

Nothing is said before all that is wanted was read: half a chain knows no latest verdict. What was read by
then is kept, so that a long chain in a slow repository is through after some passes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pra.errors import IntegrityError, ObjectMissing, PraError, StorageError
from pra.evidence_record import EvidenceRecord, read_record
from pra.keys import Keyring
from pra.layout import evidence_key, evidence_prefix, evidence_sequence
from pra.procedures.context import Context
from pra.side_by_side import AT_ONCE, side_by_side
from pra.storage.base import Storage
from pra.watch.status.record_kept import Kept, Said, load, write_whole

__all__ = ["Record", "Said", "head_here", "said", "write_whole"]

_KEPT = timedelta(days=800)
_WHOLE_EVERY = timedelta(days=1)
_LARGEST = 16 << 20
_CHUNK = 128
"""So many records are read before it is kept what they say, and asked whether older ones are wanted."""
_FEW = 4
_MOST_HOLES = 200
_log = logging.getLogger(__name__)
_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def said(context: Context, repository: str) -> list[Said]:
    """Verifications, drills, failovers and scrubs as this repository has them, newest first.

    Each repository holds every record, or gets it with the next: one that hangs hides nothing of the others.

    Raises:
        StorageError: It does not answer, or a record that is there cannot be read.
    """
    context.folder("status")
    path = _path(context.state_dir, context.target.name, repository)
    chain = _Chain(context.storage(repository), context.target.name, context.keyring, at_once(context))
    with _locks[str(path)]:
        kept = load(path, chain.about)
        _Reading(kept, chain, path).read_on(context.clock())
    return [each for _, each in sorted(kept.items.items(), reverse=True)]


def at_once(context: Context) -> int:
    """So many objects of one repository are read side by side."""
    # Where there are many targets, they are what is read side by side: an S3 client has sixteen connections.
    return AT_ONCE if len(context.settings.targets) <= _FEW else 1


class Record:
    """What a target's evidence says, asked of each repository once a pass."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._locks = {name: threading.Lock() for name in context.repositories}
        self._found: dict[str, list[Said] | PraError] = {}

    def said(self, repository: str) -> list[Said]:
        """As `said`."""
        with self._locks[repository]:
            if repository not in self._found:
                try:
                    self._found[repository] = said(self._context, repository)
                except PraError as error:
                    self._found[repository] = error
            found = self._found[repository]
        if isinstance(found, PraError):
            raise found
        return found

    def together(self, repositories: Sequence[str], patience: float) -> list[Said]:
        """What those of these say that answer, newest first. All are asked at once: one that was away for a
        while lacks what was recorded then, until the next record.

        Args:
            patience: Seconds that the others have once one has answered.

        Raises:
            PraError: None of them does.
        """
        answers: queue.SimpleQueue[list[Said] | Exception] = queue.SimpleQueue()

        def ask(name: str) -> None:
            try:
                answers.put(self.said(name))
            except Exception as error:
                answers.put(error)  # raised below, where nobody else answers

        for name in repositories:
            threading.Thread(target=ask, args=(name,), name=f"evidence {name}", daemon=True).start()
        found: dict[int, Said] = {}
        failures: list[Exception] = []
        until: float | None = None
        for _ in repositories:
            try:
                answer = answers.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if isinstance(answer, Exception):
                failures.append(answer)
                continue
            until = until or time.monotonic() + patience
            found = {each.sequence: each for each in answer} | found
        if until is None:
            raise failures[0]
        return [each for _, each in sorted(found.items(), reverse=True)]


def head_here(state_dir: Path, target: str, repository: str) -> tuple[int, str]:
    """Number and SHA-256 of the newest record that this host has read there; ``(0, "")``: it never did."""
    try:
        document = json.loads(_path(state_dir, target, repository).read_text())
        return int(document["head"]), str(document["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, ""


def _path(state_dir: Path, target: str, repository: str) -> Path:
    return state_dir / "status" / f"evidence-{target}.{repository}.json"


# -- reading -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Chain:
    storage: Storage
    target: str
    keyring: Keyring
    at_once: int

    @property
    def about(self) -> str:
        """Changes with the target, the place, and with whose signatures count."""
        trusted = sorted(f"{key.key_id} {key.retired_at}" for key in self.keyring)
        return hashlib.sha256(json.dumps([self.target, self.storage.url, trusted]).encode()).hexdigest()

    def listed(self, after: int = 0) -> dict[int, str]:
        """By number, what changes when a record is written again."""
        prefix = evidence_prefix(self.target)
        if after:
            stats = self.storage.list_after(prefix, evidence_key(self.target, after))
        else:
            stats = self.storage.list(prefix)
        return {number: stat.stamp for stat in stats if (number := evidence_sequence(stat.key))}

    def read_all(self, numbers: Sequence[int]) -> list[EvidenceRecord | StorageError | None]:
        return side_by_side(self.read, numbers, self.at_once)

    def read(self, sequence: int) -> EvidenceRecord | StorageError | None:
        """None for one that cannot be believed; the error where it could not be read."""
        try:
            data = self.storage.read(evidence_key(self.target, sequence), limit=_LARGEST)
            name = self.storage.name
            return read_record(data, self.keyring, target=self.target, sequence=sequence, repository=name)
        except IntegrityError:
            return None
        except StorageError as error:
            return error


@dataclass(frozen=True)
class _Reading:
    kept: Kept
    chain: _Chain
    path: Path

    def read_on(self, now: datetime) -> None:
        """Everything that is new, and what is left of the time before; see the module's first lines."""
        kept = self.kept
        whole = kept.listed_at is None or not timedelta(0) <= now - kept.listed_at < _WHOLE_EVERY
        there = self.chain.listed(0 if whole or kept.down_to > 1 else kept.behind)
        if kept.newest and not self._is_same(there):
            _log.warning("evidence %d in %s is gone or another one", kept.newest, self.chain.storage.name)
            kept.forget()
            whole, there = True, self.chain.listed()
        elif whole:
            self._compare(there)
        if kept.newest:
            self._up(sorted({n for n in there if n > kept.newest} | kept.holes), there)
        elif there:
            kept.reached(max(there), there)
            kept.down_to = kept.newest + 1
        numbers = sorted((n for n in there if n < kept.down_to), reverse=True)
        self._down(numbers, there, now - _KEPT)
        if whole:
            kept.listed_at = now
            self._save()

    def _is_same(self, there: Mapping[int, str]) -> bool:
        """Whether the newest record is the one that was read: its bytes say so where the listing differs."""
        kept = self.kept
        if there.get(kept.newest) == kept.stamp:
            return True
        if kept.newest not in there or kept.head != kept.newest:
            return False
        found = self.chain.read(kept.newest)
        if isinstance(found, StorageError):
            raise found
        if found is None or found.sha256 != kept.sha256:
            return False
        kept.stamp = there[kept.newest]
        self._save()
        return True

    def _compare(self, there: Mapping[int, str]) -> None:
        """What is remembered, with the whole listing."""
        kept = self.kept
        changed = {number for number, stamp in kept.stamps.items() if there.get(number) != stamp}
        for number in changed:
            kept.drop(number)
        lately = range(max(kept.down_to, kept.newest - _MOST_HOLES), kept.newest)
        again = kept.holes | {n for n in lately if n not in there} | (changed & there.keys())
        if len(again) > _MOST_HOLES:  # a repository that was moved
            kept.forget()
        else:
            kept.holes = again

    def _up(self, numbers: Sequence[int], there: Mapping[int, str]) -> None:
        """What is new, the oldest first, so that what was not reached is still new to the next pass."""
        kept = self.kept
        for begin in range(0, len(numbers), _CHUNK):
            chunk = numbers[begin : begin + _CHUNK]
            if chunk[-1] > kept.newest:
                between = range(max(kept.newest + 1, chunk[-1] - _MOST_HOLES), chunk[-1])
                kept.holes |= set(between) - there.keys()
                kept.reached(chunk[-1], there)
            self._take(chunk, there)

    def _down(self, numbers: Sequence[int], there: Mapping[int, str], oldest: datetime) -> None:
        """From the newest down to the oldest that is wanted."""
        kept = self.kept
        for begin in range(0, len(numbers), _CHUNK):
            chunk = numbers[begin : begin + _CHUNK]
            kept.down_to = chunk[-1]
            moments = self._take(chunk, there)
            if moments and max(moments) < oldest:
                break
        if kept.down_to != 1:
            kept.down_to = 1
            self._save()

    def _take(self, numbers: Sequence[int], there: Mapping[int, str]) -> list[datetime]:
        """Read these, and keep what they say.

        Args:
            there: What is listed; a hole that closed out of its sight is read once more within a day.

        Returns:
            The moments of those that can be believed.

        Raises:
            StorageError: One could not be read: it is tried again in the next pass.
        """
        kept, moments = self.kept, []
        failure: StorageError | None = None
        for number, result in zip(numbers, self.chain.read_all(numbers), strict=True):
            if isinstance(result, StorageError):
                kept.holes.add(number)
                if not isinstance(result, ObjectMissing):
                    failure = failure or result
                continue
            kept.take(number, result, there.get(number, ""))
            if result is not None:
                moments.append(result.at)
        kept.holes = set(sorted(kept.holes)[-_MOST_HOLES:])
        self._save()
        if failure is not None:
            raise failure
        return moments

    def _save(self) -> None:
        try:
            write_whole(self.path, self.kept.as_bytes(self.chain.about), lasting=False)
        except PraError as error:
            _log.warning("not remembered: %s", error.message)
