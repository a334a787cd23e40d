"""What the streamer's threads share: what is ready to be shipped, and who has shipped what."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pra.wal.shipping import SealedSegment
from pra.wal.spool import Beginning, WalSpool

_PROOFS = 64


@dataclass(frozen=True)
class Proof:
    """At ``at`` the server's WAL was durable up to ``lsn``: who has that has all that was committed then.

    ``timeline`` is None where the server cannot say, being a standby.
    """

    at: datetime
    lsn: int
    timeline: int | None = None

    def reached(self, timeline: int, lsn: int) -> bool:
        """Whether whoever has this timeline up to ``lsn`` has it."""
        return self.lsn <= lsn and self.timeline in (None, timeline)


@dataclass(frozen=True)
class Ready:
    """What lies on our disk, as of one moment. Whoever has all of it has the WAL up to ``reached``.

    Attributes:
        reached: Timeline and position.
        behind: Something was dropped here before this repository had it: only a copy brings that.
    """

    histories: Mapping[int, bytes]
    sealed: Sequence[SealedSegment]
    beginnings: Sequence[Beginning]
    reached: tuple[int, int]
    proofs: Sequence[Proof]
    behind: bool = False


class Board:
    """See the module.

    Args:
        repositories: Their names.
    """

    def __init__(self, spool: WalSpool, repositories: Sequence[str]) -> None:
        self._spool = spool
        self._names = tuple(repositories)
        self._changed = threading.Condition()
        self._version = 0
        self._finishing = False
        self._fatal: BaseException | None = None
        self._histories: dict[int, bytes] = {}
        self._beginnings: dict[str, Beginning] = {}
        self._replaced: list[Path] = []
        self._using: dict[str, frozenset[Path]] = {}
        self._reached = (0, 0)
        self._proofs: list[Proof] = []
        self._have: dict[str, set[str]] = {}
        self._begun: dict[str, dict[str, int]] = {}
        self._behind: dict[str, int] = {}

    # -- the receiving side --------------------------------------------------------------------

    def publish(self, beginnings: Sequence[Beginning], reached: tuple[int, int], proof: Proof | None) -> None:
        """Say what is on the disk now, and wake the shippers.

        Args:
            reached: Timeline and position; up to there everything is sealed, or in a beginning.
        """
        with self._changed:
            for new in beginnings:
                self._replace(new.segment, new)
            for one in self._spool.sealed():
                self._replace(one.segment, None)
            self._histories = self._spool.histories()
            self._reached = max(self._reached, reached)
            if proof is not None:
                self._proofs = [*self._proofs, proof][-_PROOFS:]
            self._sweep()
            self._wake()

    def finish(self) -> None:
        """What is published now is the last; each shipper makes one more pass and ends."""
        with self._changed:
            self._finishing = True
            self._wake()

    def release(self, limit: int) -> list[str]:
        """Drop what at least one repository has until at most ``limit`` bytes are left, oldest first.

        Returns:
            The repositories that must now get it from the others.
        """
        with self._changed:
            excess = self._spool.bytes() - limit
            for one in self._spool.sealed():
                if excess <= 0:
                    break
                have = self._have.get(one.path.name, set())
                if have:
                    for name in set(self._names) - have:
                        self._behind[name] = self._behind.get(name, 0) + 1
                    self._drop(one)
                    excess -= one.stored.bytes
            return sorted(self._behind)

    def raise_fatal(self) -> None:
        """Raise what ended a shipper for good."""
        with self._changed:
            if self._fatal is not None:
                raise self._fatal

    # -- the shippers' side --------------------------------------------------------------------

    @property
    def finishing(self) -> bool:
        with self._changed:
            return self._finishing

    def wait(self, version: int, seconds: float | None = None) -> int:
        """Until something new was published, at most for ``seconds``; returns the version there is."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != version, seconds)
            return self._version

    def pause(self, seconds: float) -> None:
        """Wait, however much is published; but no longer once this is the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._finishing, seconds)

    def ready(self, repository: str) -> Ready:
        """What this repository still lacks. Its files stay until it asks again."""
        with self._changed:
            mine = self._begun.setdefault(repository, {})
            wanted = [b for b in self._beginnings.values() if b.lsn > mine.get(b.segment, 0)]
            self._using[repository] = frozenset(one.path for one in wanted)
            lacking = [
                one for one in self._spool.sealed() if repository not in self._have.get(one.path.name, set())
            ]
            return Ready(
                dict(self._histories),
                lacking,
                wanted,
                self._reached,
                tuple(self._proofs),
                behind=repository in self._behind,
            )

    def acknowledge(self, repository: str, sealed: SealedSegment) -> None:
        """This repository has it; once all have, it goes."""
        with self._changed:
            have = self._have.setdefault(sealed.path.name, set())
            have.add(repository)
            self._begun.get(repository, {}).pop(sealed.segment, None)
            if have >= set(self._names):
                self._drop(sealed)

    def acknowledge_beginning(self, repository: str, begun: Beginning) -> None:
        with self._changed:
            self._begun.setdefault(repository, {})[begun.segment] = begun.lsn
            done = all(self._begun.get(name, {}).get(begun.segment, 0) >= begun.lsn for name in self._names)
            if begun.ended and done:
                self._replace(begun.segment, None)
                self._spool.forget_ended(begun.segment)

    def must_copy(self, repository: str) -> int:
        """How many segments were dropped here before this repository had them, and were not copied since."""
        with self._changed:
            return self._behind.get(repository, 0)

    def copied(self, repository: str, dropped: int) -> None:
        """It has what others had when ``must_copy`` said so many; what was dropped meanwhile it may lack."""
        with self._changed:
            if self._behind.get(repository) == dropped:
                del self._behind[repository]

    def waiting_bytes(self) -> int:
        """What finished segments take on our disk."""
        with self._changed:  # a shipper may be dropping what is being counted
            return self._spool.bytes()

    def fail(self, error: BaseException) -> None:
        """The streamer must end with this."""
        with self._changed:
            self._fatal = self._fatal or error
            self._wake()

    # -- with the condition held ---------------------------------------------------------------

    def _wake(self) -> None:
        self._version += 1
        self._changed.notify_all()

    def _replace(self, segment: str, new: Beginning | None) -> None:
        old = self._beginnings.pop(segment, None)
        if old is not None and (new is None or old.path != new.path):
            self._replaced.append(old.path)
        if new is not None:
            self._beginnings[segment] = new

    def _sweep(self) -> None:
        used = frozenset[Path]().union(*self._using.values())
        for path in [path for path in self._replaced if path not in used]:
            path.unlink(missing_ok=True)
            self._replaced.remove(path)

    def _drop(self, sealed: SealedSegment) -> None:
        self._have.pop(sealed.path.name, None)
        self._spool.drop(sealed)
