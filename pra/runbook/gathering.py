"""Reads the facts of a runbook from the repositories, or from what is remembered of them here.

A runbook is made when things are broken: neither the databases nor Prefect are asked, each target has a time
limit, and a repository that did not answer once is not asked again. Evidence is in every repository, so the
first that answers is enough.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from pra.errors import PraError
from pra.keys import Keyring, load_keyring
from pra.limited import TimedOut, within
from pra.runbook.facts import Facts, TargetFacts, summarise
from pra.settings import Settings, Target
from pra.storage import open_storage
from pra.storage.base import Storage
from pra.timing import Clock, utc_now
from pra.watch.metrics.cache import Cache
from pra.watch.metrics.facts import Fact
from pra.watch.metrics.reading_evidence import Shelf, read_facts, remembered

SECONDS = 20.0
"""So long a target may take."""
NEAR = timedelta(days=40)
"""Read first: what is further back is a bonus, when there is time left."""
_CLOCKS = timedelta(minutes=1)
_READERS = 16
_TARGETS = 8
_log = logging.getLogger(__name__)

Storages = Mapping[str, Storage]


def gather(
    settings: Settings,
    *,
    config: Path | None = None,
    offline: bool = False,
    seconds: float = SECONDS,
    clock: Clock = utc_now,
    storages: Storages | None = None,
) -> Facts:
    """The facts of all targets. Never raises for what cannot be read: that is then said, and unknown.

    Args:
        config: The settings' file, to be named on the page.
        offline: Ask no repository.
        seconds: Limit for each target.
        storages: Instead of those of the settings, by name.
    """
    this = _Gathering(settings, clock(), seconds, storages)
    ask = this.remember if offline else this.ask
    facts = Daemons(_TARGETS).map(ask, settings.targets.values())
    found = dict(zip(settings.targets, facts, strict=True))
    return Facts(this.now, socket.gethostname(), settings.state_dir, config, found)


@dataclass
class _Gathering:
    """``silent``: repositories that did not answer in time, by name."""

    settings: Settings
    now: datetime
    seconds: float
    storages: Storages | None
    silent: set[str] = field(default_factory=set)
    opened: dict[str, Storage] = field(default_factory=dict)
    opening: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, target: Target) -> TargetFacts:
        """What the first repository says that knows anything; else what is remembered."""
        try:
            keyring = load_keyring(self.settings.signing, self.settings.state_dir)
        except PraError as error:
            return TargetFacts(problem=error.message)
        problems: list[str] = []
        for name in target.repositories:
            if name in self.silent:
                problems.append(f"{name} does not answer")
                continue
            found: list[tuple[Fact, ...]] = []
            complaints = self._read(target, name, keyring, found)
            problems += complaints
            # One that was named anew holds no evidence yet: that is no word about the past.
            if found and found[-1]:
                return summarise(self._sound(found[-1]), problem="; ".join(problems))
        return self._remembered(target, keyring, "; ".join(problems))

    def remember(self, target: Target) -> TargetFacts:
        """What the state directory knows."""
        try:
            keyring = load_keyring(self.settings.signing, self.settings.state_dir)
        except PraError as error:
            return TargetFacts(problem=error.message)
        return self._remembered(target, keyring, "no repository was asked")

    def _read(self, target: Target, name: str, keyring: Keyring, found: list[tuple[Fact, ...]]) -> list[str]:
        """Near past first, then all of it; ``found`` gets what each gave."""
        try:
            shelf = self._shelf(target, name, keyring)
        except PraError as error:
            return [f"{name}: {error.message}"]
        problems: list[str] = []

        def read() -> None:
            for since in (self.now - NEAR, self.now - self.settings.status.drill_every):
                said: list[str] = []
                facts = read_facts([shelf], target.name, keyring, since, Daemons(_READERS), said)
                problems[:] = said
                if not facts and said:
                    return
                found.append(facts)
                shelf.cache.entries |= shelf.cache.used

        try:
            within(self.seconds, read)
        except TimedOut as late:
            self.silent.add(name)
            return [*problems, f"{name}: {late}"]
        except PraError as error:
            return [f"{name}: {error.message}"]
        if found:  # else nothing was read, and what is remembered would be forgotten
            shelf.cache.store()
        return problems

    def _shelf(self, target: Target, name: str, keyring: Keyring) -> Shelf:
        """The repository, with what this page and the metrics remember of it."""
        storage = self._storage(name)
        own, theirs = (
            Cache.load(self.settings.state_dir / folder, f"{target.name}.{name}", storage, keyring)
            for folder in ("runbook", "metrics")
        )
        own.entries = theirs.entries | own.entries
        return Shelf(storage, own)

    def _storage(self, name: str) -> Storage:
        """One for all targets: an S3 client takes its time to be made."""
        if self.storages is not None:
            return self.storages[name]
        with self.opening:
            if name not in self.opened:
                self.opened[name] = open_storage(self.settings.repositories[name])
            return self.opened[name]

    def _remembered(self, target: Target, keyring: Keyring, problem: str) -> TargetFacts:
        facts: dict[int, Fact] = {}
        for name in target.repositories:
            try:
                shelf = self._shelf(target, name, keyring)
            except PraError as error:
                _log.warning("%s: %s", name, error.message)
            else:
                facts |= {fact.sequence: fact for fact in remembered(shelf.cache, target.name)}
        sound = self._sound(tuple(facts.values()))
        return summarise(sound, remembered=bool(sound), problem=problem)

    def _sound(self, facts: tuple[Fact, ...]) -> list[Fact]:
        """Without those of the future: a clock was wrong, and they would always be the newest."""
        return [fact for fact in facts if fact.at <= self.now + _CLOCKS]


class Daemons(Executor):
    """So many threads at once, for which neither a limit nor the end of the process waits.

    `ThreadPoolExecutor` joins its threads at the interpreter's end: a repository that hangs would keep the
    runbook from being printed.
    """

    def __init__(self, most: int) -> None:
        self._free = threading.BoundedSemaphore(most)

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        self._free.acquire()

        def work() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)
            finally:
                self._free.release()

        threading.Thread(target=work, name="runbook reader", daemon=True).start()
        return future
