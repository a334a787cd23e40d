"""Gathers what metrics are made of: evidence, listings of backups, samples. Reads only, and remembers.

A repository that does not answer, and a record that cannot be believed, end nothing: they become a line of
``problems``, and what only they knew is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from pra.errors import ObjectMissing, PraError
from pra.keys import Keyring, load_keyring
from pra.layout import incidents_key
from pra.settings import Settings, Target
from pra.storage import open_storage
from pra.storage.base import Storage
from pra.storage.local import LocalStorage
from pra.timing import Clock, format_duration, utc_now
from pra.watch.bundles import Bundled
from pra.watch.incident_model import from_bytes
from pra.watch.metrics.cache import Cache
from pra.watch.metrics.facts import Backup, Fact
from pra.watch.metrics.figures import Goals, History
from pra.watch.metrics.incidents import from_book
from pra.watch.metrics.kept import KeptDays
from pra.watch.metrics.observed import Observed, View, observe
from pra.watch.metrics.reading_backups import read_backups
from pra.watch.metrics.reading_evidence import Shelf, read_facts
from pra.watch.metrics.share import midnight
from pra.watch.metrics.whole import MONTH, TargetMetrics, measured
from pra.watch.samples import read
from pra.watch.status.finding import HOST
from pra.watch.status.passing import samples_of

_AHEAD = timedelta(days=1)
"""Samples are looked for so far ahead of now, to tell of a clock that was wrong."""
_CLOCKS = timedelta(minutes=1)
"""Two machines' clocks may differ by this without a word."""

_LARGEST = 64 << 20
_READERS, _NEAR = 16, 4
_TARGETS = 4

Storages = Mapping[str, Storage]


def gather(
    settings: Settings,
    targets: Sequence[Target],
    since: datetime,
    *,
    clock: Clock = utc_now,
    storages: Storages | None = None,
) -> list[TargetMetrics]:
    """The metrics of these targets.

    Args:
        since: The beginning of the chosen period; week and month are there in any case.
        storages: Instead of those of the settings, by name.

    Raises:
        SettingsError: A repository or the keys cannot be used as configured.
    """
    now = clock()
    wanted = {name for target in targets for name in target.repositories}
    status = settings.status_repository
    if status is not None:
        wanted.add(status.name)
    opened = dict(storages) if storages is not None else {
        name: open_storage(settings.repositories[name]) for name in sorted(wanted)
    }  # fmt: skip
    keyring = load_keyring(settings.signing, settings.state_dir)
    problems: list[str] = []
    oldest = min(midnight(since), midnight(now) - timedelta(days=MONTH))
    place = opened.get(status.name) if status is not None else None
    kept = KeptDays(place, settings.state_dir / "metrics" / "days") if place is not None else None
    views = [view_of(settings, target) for target in targets]
    reader = _Reader(settings, opened, keyring, now, oldest, place)
    # Both mostly wait for repositories; of many targets several are read at once.
    with ThreadPoolExecutor(1 + _TARGETS, thread_name_prefix="metrics") as pool:
        samples = cast("Storage | None", kept)
        observing = pool.submit(_observe, settings, views, oldest, now, samples, problems)
        read = list(pool.map(reader.read, targets))
        observed = observing.result()
    if kept is not None:
        kept.prune()
    _take_incidents(observed, place, now, problems)
    return [measured(reader.history(one, observed[one.target.name], problems), since) for one in read]


def view_of(settings: Settings, target: Target) -> View:
    """What its samples are held against."""
    every = settings.status.backup_every
    return View(target.name, target.rpo, target.engine == "physical", tuple(target.repositories), every)


def goals_of(settings: Settings, target: Target) -> Goals:
    status = settings.status
    return Goals(target.rpo, target.rto, status.proof_every, status.drill_every, status.backup_every)


def _observe(
    settings: Settings,
    views: Sequence[View],
    since: datetime,
    now: datetime,
    place: Storage | None,
    problems: list[str],
) -> dict[str, Observed]:
    """Samples of this host and of the repository; of this host alone when that one does not answer."""
    local = samples_of(settings)
    try:
        found = read(since, now + _AHEAD, local=local, storages=[place] if place else [], problems=problems)
        return observe(found, views, now)
    except PraError as error:
        problems.append(f"samples: {error.message}")
    try:
        return observe(read(since, now + _AHEAD, local=local, problems=problems), views, now)
    except PraError as error:
        problems.append(f"samples: {error.message}")
        return {view.target: Observed(view) for view in views}


def _take_incidents(
    observed: Mapping[str, Observed], place: Storage | None, now: datetime, problems: list[str]
) -> None:
    """What the alerts have stored, where they have, in place of what the samples suggest."""
    if place is None:
        return
    try:
        found = from_book(from_bytes(place.read(incidents_key(), limit=_LARGEST)))
    except ObjectMissing:
        return
    except PraError as error:
        problems.append(f"incidents in {place.name}: {error.message}")
        return
    except (LookupError, ValueError) as error:
        problems.append(f"incidents in {place.name}: {error}")
        return
    for target, one in observed.items():
        one.incidents = tuple(i for i in found if i.target in (target, HOST) and i.opened_at <= now)


@dataclass(frozen=True)
class _Read:
    """What the repositories of one target say."""

    target: Target
    facts: tuple[Fact, ...]
    backups: Mapping[str, Sequence[Backup]]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Reader:
    settings: Settings
    opened: Storages
    keyring: Keyring
    now: datetime
    oldest: datetime
    place: Storage | None

    def read(self, target: Target) -> _Read:
        """Evidence and listings of one target."""
        problems: list[str] = []
        bundled = Bundled(self.place, target.name) if self.place is not None else None
        folder = self.settings.state_dir / "metrics"
        shelves = [
            Shelf(storage, Cache.load(folder, f"{target.name}.{name}", storage, self.keyring))
            for name in target.repositories
            for storage in [self.opened[name]]
        ]
        far = min(self.oldest, self.now - self.settings.status.drill_every)
        # Threads only help where there is something to wait for; on a disk they are in each other's way.
        near = all(isinstance(shelf.storage, LocalStorage) for shelf in shelves)
        with ThreadPoolExecutor(_NEAR if near else _READERS, thread_name_prefix="metrics") as pool:
            facts = read_facts(shelves, target.name, self.keyring, far, pool, problems, bundled)
            backups = {
                shelf.storage.name: listed
                for shelf in shelves
                if (listed := read_backups(shelf, target.name, self.keyring, self.oldest, pool, problems))
                is not None
            }
        for shelf in shelves:
            shelf.cache.store()
        sound = tuple(fact for fact in facts if fact.at <= self.now + _CLOCKS)
        if len(sound) < len(facts):
            count = len(facts) - len(sound)
            problems.append(f"{count} records of evidence lie in the future: a clock was wrong")
        _say_future(backups, self.now, problems)
        return _Read(target, sound, backups, tuple(problems))

    def history(self, read: _Read, observed: Observed, common: Sequence[str]) -> History:
        every = self.settings.status.backup_every
        hours = self.settings.retention.hourly if every >= timedelta(hours=1) else 0
        return History(
            target=read.target.name,
            goals=goals_of(self.settings, read.target),
            repositories=tuple(read.target.repositories),
            facts=read.facts,
            backups=read.backups,
            observed=observed,
            complete_since=self.now - timedelta(hours=hours),
            now=self.now,
            problems=(*common, *read.problems),
        )


def _say_future(backups: Mapping[str, Sequence[Backup]], now: datetime, problems: list[str]) -> None:
    for name, listed in backups.items():
        ahead = max((backup.at for backup in listed), default=now) - now
        if ahead > _CLOCKS:
            problems.append(
                f"the newest backup in {name} lies {format_duration(ahead.total_seconds())} in the future"
            )
