"""Scrub: reread a sample of what every repository holds, say what damage costs, and record it.

Read-only but for one small object that says what was read when, a lease, and the evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pra.errors import DecryptError, IntegrityError, ObjectMissing, PraError, StorageError
from pra.evidence_body import common
from pra.evidence_record import Head
from pra.keys import load_identities
from pra.leases import hold
from pra.model import Verdict
from pra.postgres.wal import format_lsn
from pra.procedures.context import Context
from pra.scrub import state as scrub_state
from pra.scrub.cost import Cost, LostMoments, cost
from pra.scrub.holdings import Damage, Holdings, Item, take_stock
from pra.scrub.plan import Amount, plan
from pra.scrub.reading import reread
from pra.scrub.state import ScrubState
from pra.storage.base import Storage
from pra.timing import to_iso

KIND = "scrub"
_SHOWN = 10
_NO_COST = Cost((), ())


@dataclass(frozen=True)
class RepositoryScrub:
    """What came of one repository.

    Attributes:
        held: How many objects it holds that can be read again, and ``held_bytes``.
        objects, segments: How many of them were read: of backups, and of WAL. bytes: Together.
        by_hash: WAL segments among them that only their stored bytes' hash was compared of, since there is no
            age identity here; ``first_hash`` of them had none yet.
        unread: ``(key, message)``: what could not be read; nothing is known about it.
        overdue: So many should have been read, and were too much for a day.
        oldest: The longest ago that something here was last read.
    """

    repository: str
    held: int = 0
    held_bytes: int = 0
    objects: int = 0
    segments: int = 0
    bytes: int = 0
    by_hash: int = 0
    first_hash: int = 0
    damage: tuple[Damage, ...] = ()
    cost: Cost = _NO_COST
    unread: tuple[tuple[str, str], ...] = ()
    overdue: int = 0
    oldest: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "repository": self.repository,
            "held": self.held,
            "held_bytes": self.held_bytes,
            "objects": self.objects,
            "wal_segments": self.segments,
            "bytes": self.bytes,
            "wal_by_hash": self.by_hash,
            "wal_first_hash": self.first_hash,
            "damage": [
                {
                    "key": each.key,
                    "message": each.message,
                    "backup_id": each.backup_id or None,
                    "segment": each.segment or None,
                }
                for each in self.damage
            ],
            "lost_backups": list(self.cost.backups),
            "lost_moments": [_moments_json(each) for each in self.cost.moments],
            "unread": [{"key": key, "message": message} for key, message in self.unread],
            "overdue": self.overdue,
            "oldest_check": to_iso(self.oldest) if self.oldest else None,
        }


def _moments_json(lost: LostMoments) -> dict[str, Any]:
    return {
        "from": to_iso(lost.from_time),
        "to": to_iso(lost.to_time),
        "timeline": lost.timeline,
        "from_lsn": None if lost.from_lsn is None else format_lsn(lost.from_lsn),
        "to_lsn": None if lost.to_lsn is None else format_lsn(lost.to_lsn),
    }


@dataclass(frozen=True)
class ScrubReport:
    """``elsewhere``: by a lost backup's id, the repositories that hold another copy, not found damaged."""

    target: str
    verdict: Verdict
    items: tuple[RepositoryScrub, ...]
    elsewhere: dict[str, tuple[str, ...]]
    head: Head

    @property
    def exit_code(self) -> int:
        return self.verdict.exit_code


def run(context: Context, amount: Amount | None = None) -> ScrubReport:
    """Reread every repository of the target, and record it.

    Raises:
        SettingsError: There is no signing key: what is found could not be recorded.
        StorageError: The record could not be written anywhere.
    """
    ready(context)
    chosen = amount or Amount()
    return conclude(context, [scrub(context, name, chosen) for name in context.repositories])


def ready(context: Context) -> None:
    """Raises SettingsError when what is found could not be signed."""
    _ = context.signer


def scrub(context: Context, repository: str, amount: Amount) -> RepositoryScrub:
    """One repository. Never raises for what it does: it reports."""
    try:
        with context.timeline.phase(f"reread {repository}"):
            return _scrub(context, repository, amount)
    except PraError as error:
        if context.scope.closed:
            raise
        return RepositoryScrub(repository, unread=((context.target.name, error.message),))


def _scrub(context: Context, repository: str, amount: Amount) -> RepositoryScrub:
    storage, settings = context.storage(repository), context.settings.status
    holdings = take_stock(context, repository)
    state, previous = scrub_state.load(storage, context.target.name)
    todo = plan(
        holdings.items,
        state,
        amount,
        now=context.clock(),
        within=settings.scrub_within,
        most_bytes=settings.scrub_bytes,
    )
    covers = sorted({item.backup_id for item in todo.chosen if item.backup_id})
    work = _Work(context, storage, state, holdings, _identities(context))
    try:
        with hold(storage, context.target.name, "scrub", context.clock, covers=covers):
            work.read_all(todo.chosen)
    finally:
        there = [item.key for item in holdings.items]
        scrub_state.store(storage, context.target.name, state, previous, there)
    damage = (*holdings.damage, *work.damage)
    return RepositoryScrub(
        repository,
        held=len(holdings.items),
        held_bytes=sum(item.bytes for item in holdings.items),
        objects=work.objects,
        segments=work.segments,
        bytes=work.bytes,
        by_hash=work.by_hash,
        first_hash=work.first_hash,
        damage=damage,
        cost=cost(holdings, damage) if damage else _NO_COST,
        unread=(*holdings.unread, *work.unread),
        overdue=todo.overdue,
        oldest=min((state.when(item.key, item.modified) for item in holdings.items), default=None),
    )


def _identities(context: Context) -> list[str]:
    try:
        return load_identities(context.settings.encryption, context.state_dir)
    except DecryptError:
        return []  # the pool that writes backups has none


@dataclass
class _Work:
    context: Context
    storage: Storage
    state: ScrubState
    holdings: Holdings
    identities: Sequence[str]
    objects: int = 0
    segments: int = 0
    bytes: int = 0
    by_hash: int = 0
    first_hash: int = 0
    damage: list[Damage] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)

    def read_all(self, items: Sequence[Item]) -> None:
        total, done = sum(item.bytes for item in items), 0
        for item in items:
            if self.context.scope.closed:
                return
            self._read(item)
            done += item.bytes
            self.context.report(f"reread {self.storage.name}", done, total)

    def _read(self, item: Item) -> None:
        now = self.context.clock()
        try:
            digest = reread(self.storage, item, self.identities, self.state)
        except ObjectMissing:
            if item.backup_id:
                self._damaged(item, f"{item.key} is missing", now)
            return  # WAL goes when retention lets go of it; a hole shows in: pra wal check
        except DecryptError as error:
            self.unread.append((item.key, error.message))
            return
        except IntegrityError as error:
            self._damaged(item, error.message, now)
            self._count(item)
            return
        except StorageError as error:
            self.unread.append((item.key, error.message))
            return
        if digest:
            self.by_hash += 1
            self.first_hash += self.state.same_hash(item.key, digest) is None
        self.state.passed(item.key, now, digest)
        self._count(item)

    def _count(self, item: Item) -> None:
        self.bytes += item.bytes
        if item.segment is None:
            self.objects += 1
        else:
            self.segments += 1

    def _damaged(self, item: Item, message: str, now: datetime) -> None:
        self.state.failed(item.key, message, now)
        name = item.segment.name if item.segment is not None else ""
        self.damage.append(Damage(item.key, message, item.backup_id, name))


def conclude(context: Context, items: Sequence[RepositoryScrub]) -> ScrubReport:
    """The verdict, signed. FAIL: damage; PARTIAL: something was not read that should have been.

    Raises:
        StorageError: No repository took the record.
    """
    verdict = Verdict.PASS
    if any(item.unread or item.overdue for item in items):
        verdict = Verdict.PARTIAL
    if any(item.damage for item in items):
        verdict = Verdict.FAIL
    elsewhere = {
        backup_id: _others(context, item.repository, backup_id, items)
        for item in items
        for backup_id in item.cost.backups
    }
    body = {
        **common(context.settings, context.target, operator=context.operator),
        "verdict": verdict.value,
        "within_days": context.settings.status.scrub_within // timedelta(days=1),
        "repositories": [item.as_json() for item in items],
        "elsewhere": {backup_id: list(names) for backup_id, names in elsewhere.items()},
    }
    record = context.evidence.append(KIND, body)
    return ScrubReport(context.target.name, verdict, tuple(items), elsewhere, record.head)


def scrub_sentence(done: ScrubReport) -> str:
    """The outcome in one line: what is damaged, and which backups that costs."""
    facts = [f"{item.repository}: {each.message}" for item in done.items for each in item.damage]
    lost = sorted({backup_id for item in done.items for backup_id in item.cost.backups})
    if lost:
        facts.append(f"not to be restored from there: {', '.join(lost)}")
    facts += [f"{item.repository}: not read: {message}" for item in done.items for _, message in item.unread]
    facts += [f"{item.repository}: {item.overdue} objects overdue" for item in done.items if item.overdue]
    read = sum(item.objects + item.segments for item in done.items)
    told = "; ".join(facts[:_SHOWN]) or f"{read} objects are what was published"
    return f"{done.verdict}: {told}" + (f"; and {len(facts) - _SHOWN} more" if len(facts) > _SHOWN else "")


def scrub_hint(done: ScrubReport) -> str:
    """What to do about it."""
    if any(item.damage for item in done.items):
        return (
            f"Take a full backup now: pra backup {done.target} --full; then find out why those bytes changed."
        )
    return f"Read again once it answers: pra scrub {done.target}" if done.exit_code else ""


def _others(
    context: Context, repository: str, backup_id: str, items: Sequence[RepositoryScrub]
) -> tuple[str, ...]:
    found = []
    for item in items:
        if item.repository == repository or backup_id in item.cost.backups:
            continue
        try:
            if backup_id in context.catalog(item.repository).committed():
                found.append(item.repository)
        except StorageError:
            continue  # it has a line of its own
    return tuple(found)
