"""Is the archived WAL whole, in every repository, and is it still arriving?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pra.errors import PraError
from pra.postgres.replication import read_replication
from pra.postgres.wal import SEGMENT_BYTES, segment_end
from pra.procedures.context import Context
from pra.procedures.wal import segment_sizes, wal_backups
from pra.timing import format_duration
from pra.wal.archive import Archive, Gap, gaps, missing_exact, read_archive, survey_histories, systems
from pra.wal.arrival import arrived_until
from pra.wal.monitor import lost
from pra.wal.retention import WalBackup, kept_whole_from
from pra.wal.shipping import look_at_stream


@dataclass(frozen=True)
class RepositoryWal:
    """One server's WAL in one repository.

    Attributes:
        kept_from: Gaps are looked for from this position on.
        missing: ``(backup id, segment)`` that a backup here needs and that is not here.
        streamed_until: Until when everything was here, as the streamer says; None: none says so.
        lag_seconds: Since when nothing is known to have arrived.
        streaming: A streamer holds the lease.
        reached: Where the furthest piece of the newest timeline ends; 0: there is none.
    """

    repository: str
    system_id: str
    timelines: tuple[int, ...]
    segments: int
    bytes: int
    kept_from: int
    gaps: tuple[Gap, ...]
    forks: tuple[str, ...]
    faults: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]
    streamed_until: datetime | None
    lag_seconds: float | None
    streaming: bool
    reached: int = 0


@dataclass(frozen=True)
class Needs:
    """What the backups of one repository need; ``sizes``: of a segment, by system identifier."""

    backups: Sequence[WalBackup]
    sizes: Mapping[str, int]


@dataclass(frozen=True)
class WalCheck:
    """What `check` found. ``critical`` makes the exit code 1, ``warnings`` alone 2."""

    items: tuple[RepositoryWal, ...]
    critical: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        return 1 if self.critical else 2 if self.warnings else 0


def check(context: Context) -> WalCheck:
    """Look for gaps, forks, missing pieces and lag in every repository, and at the slot. Writes nothing."""
    items: list[RepositoryWal] = []
    critical: list[str] = []
    warnings: list[str] = []
    for repository in context.repositories:
        try:
            found = check_repository(context, repository)
        except PraError as error:
            warnings.append(f"{repository}: {error.message}")
            continue
        if not found:
            critical.append(f"{repository}: no WAL of {context.target.name} is here")
        items += found
    for item in items:
        critical += complaints(item)
    newest = newest_per_repository(items)
    rpo = context.target.rpo.total_seconds()
    for item in newest:
        if item.lag_seconds is None or item.lag_seconds > rpo:
            since = "at all" if item.lag_seconds is None else f"for {format_duration(item.lag_seconds)}"
            behind = ": what the streamer had not shipped is on its way" if item.streaming else ""
            critical.append(f"{item.repository}: nothing new is known to have arrived {since}{behind}")
        elif not item.streaming:
            warnings.append(
                f"{item.repository}: no streamer is running (pra wal stream {context.target.name})"
            )
    _check_slot(context, critical, warnings)
    return WalCheck(tuple(items), tuple(critical), tuple(warnings))


def check_repository(context: Context, repository: str, known: Needs | None = None) -> list[RepositoryWal]:
    """The WAL of each server in one repository.

    Args:
        known: What its backups need, where somebody knows.

    Raises:
        StorageError: The repository does not answer.
    """
    storage, target = context.storage(repository), context.target.name
    now = context.clock()
    if known is None:
        entries = context.catalog(repository).backups()
        known = Needs(wal_backups(entries), segment_sizes(entries))
    backups, sizes = known.backups, known.sizes
    found = []
    for system_id in systems(storage, target):
        archive = read_archive(storage, target, system_id)
        histories, faults = survey_histories(storage, archive)
        size = sizes.get(system_id, SEGMENT_BYTES)
        since = kept_whole_from(backups, system_id, context.settings.retention.pitr_window, now)
        streaming = look_at_stream(storage, target, context.clock)
        newest = max((b.taken_at for b in backups if b.system_id == system_id), default=None)
        latest = arrived_until(streaming, newest_backup=newest, landed=archive.furthest_landed)
        found.append(
            RepositoryWal(
                repository,
                system_id,
                archive.timelines,
                len(archive.segments),
                archive.bytes,
                since or 0,
                gaps(archive, histories, size, since=since or 0),
                archive.forked,
                tuple(fault.message for fault in faults if not fault.message.startswith("timeline forked")),
                _missing(archive, backups),
                streaming.vouched,
                None if latest is None else max(0.0, (now - latest).total_seconds()),
                streaming.alive,
                _reached(archive, size),
            )
        )
    return found


def _reached(archive: Archive, segment_bytes: int) -> int:
    whole = {name: segment_end(name, segment_bytes) for name in archive.segments}
    ends = {name: partial.lsn for name, partial in archive.partials.items()} | whole
    return ends[max(ends)] if ends else 0


def _missing(archive: Archive, backups: Sequence[WalBackup]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (backup.backup_id, name)
        for backup in backups
        if backup.system_id == archive.system_id
        for name in missing_exact(archive, backup.wal)
    )


def complaints(item: RepositoryWal) -> list[str]:
    """What is wrong with it, one line each; each is critical."""
    where = item.repository
    found = [
        f"{where}: {gap.segments} segments are missing on timeline {gap.timeline}: {gap.first} to {gap.last}"
        for gap in item.gaps
    ]
    found += [f"{where}: timeline forked: {name} is there with different contents" for name in item.forks]
    found += [f"{where}: {fault}" for fault in item.faults]
    found += [f"{where}: {backup_id} needs {name}, which is missing" for backup_id, name in item.missing]
    return found


def newest_per_repository(items: Sequence[RepositoryWal]) -> list[RepositoryWal]:
    """The server that wrote last: of one that was replaced nothing arrives any more."""
    found: dict[str, RepositoryWal] = {}
    for item in items:
        other = found.get(item.repository)
        if other is None or _lag(item) < _lag(other):
            found[item.repository] = item
    return list(found.values())


def _lag(item: RepositoryWal) -> float:
    return float("inf") if item.lag_seconds is None else item.lag_seconds


def _check_slot(context: Context, critical: list[str], warnings: list[str]) -> None:
    name = context.target.slot
    try:
        with context.server.connect() as connection:
            facts = read_replication(connection, name)
    except PraError as error:
        warnings.append(f"the server was not asked: {error.message}")
        return
    if facts.slot is None:
        warnings.append(f"the server has no replication slot {name}: pra wal stream {context.target.name}")
    elif facts.slot.wal_status == "lost":
        critical.append(lost(name).message)
    elif not facts.slot.active:
        kept = facts.slot.kept_bytes >> 20
        warnings.append(
            f"nobody streams from the replication slot {name}; the server keeps {kept} MiB for it"
        )
    if facts.slot is not None and facts.slot_keep_bytes is None:
        warnings.append(
            "max_slot_wal_keep_size is unlimited: a streamer that stays away fills the server's disk"
        )
