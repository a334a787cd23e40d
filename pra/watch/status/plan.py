"""The questions of one pass: which probes there are for these targets, and what each covers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

from pra.proc import Scope
from pra.procedures.context import Context
from pra.settings import Settings, Target
from pra.storage import Storage, open_storage
from pra.timing import Clock
from pra.watch.status import database, disk, endpoints, repository, schedule, secrets, server
from pra.watch.status.aim import Aim
from pra.watch.status.asking import Question, Source
from pra.watch.status.finding import HOST, Finding, Level
from pra.watch.status.record import Record

_FROM_ANY = ("drill", "scrub")
"""What all repositories say together."""
_TRIES = 3
"""So many targets ask a repository in vain before the others are not kept waiting by it."""
Earlier = Callable[[str, str], float | None]
"""The value that a target's finding had about a day ago."""


def questions(
    settings: Settings,
    targets: Sequence[Target],
    scope: Scope,
    *,
    clock: Clock,
    earlier: Earlier = lambda _target, _name: None,
) -> list[Question]:
    """Every question. Those about databases come first: they are what a pass must not be late with. What any
    repository may answer comes last: by then it is known which of them do.
    """
    places = _Places(settings, scope, clock, earlier)
    found: list[Question] = []
    for target in targets:
        found += _of_target(settings, target, _Aiming(places, target), places.sources)
    found += _of_host(settings, clock())
    return sorted(found, key=_turn)


def _turn(question: Question) -> int:
    if question.silence is Level.CRITICAL:
        return 0
    return 2 if question.covers == _FROM_ANY else 1


class _Places:
    """What all targets share in a pass: each repository's handle, made once. An S3 client costs a while."""

    def __init__(self, settings: Settings, scope: Scope, clock: Clock, earlier: Earlier) -> None:
        self.settings, self.scope, self.clock, self.earlier = settings, scope, clock, earlier
        self.sources = {name: Source(f"repository {name}", tries=_TRIES) for name in settings.repositories}
        self._opened: dict[str, Storage] = {}
        self._lock = threading.Lock()

    def storages(self, target: Target) -> dict[str, Storage]:
        """Raises SettingsError."""
        with self._lock:
            for repository in self.settings.repositories_of(target):
                if repository.name not in self._opened:
                    self._opened[repository.name] = open_storage(repository)
            return {name: self._opened[name] for name in target.repositories}


class _Aiming:
    """Makes a target's handles when the first probe needs them, once a pass."""

    def __init__(self, places: _Places, target: Target) -> None:
        self.database = Source("the database", tries=1)
        self._places, self._target = places, target
        self._made: Aim | None = None
        self._lock = threading.Lock()

    def aim(self) -> Aim:
        places, target = self._places, self._target
        with self._lock:
            if self._made is None:
                storages = places.storages(target)
                context = Context(
                    places.settings, target, places.scope, clock=places.clock, repositories=storages
                )
                self._made = Aim(
                    context,
                    places.clock(),
                    Record(context),
                    lambda name: places.earlier(target.name, name),
                    self.database,
                    places.sources,
                )
            return self._made


def _of_target(
    settings: Settings, target: Target, aiming: _Aiming, sources: Mapping[str, Source]
) -> list[Question]:
    seconds = settings.status.limit.total_seconds()
    database_ = aiming.database

    def question(
        what: str,
        covers: tuple[str, ...],
        probe: Callable[[Aim], list[Finding]],
        source: Source | None = None,
        silence: Level = Level.UNKNOWN,
    ) -> Question:
        name = f"{target.name}: {what}"
        return Question(name, target.name, covers, lambda: probe(aiming.aim()), seconds, silence, source)

    found = [question("database", ("database",), database.answers, database_, Level.CRITICAL)]
    if endpoints.is_asked(target.api):
        found.append(question("api", ("api",), endpoints.api, None, Level.CRITICAL))
    if target.critical_tables:
        found.append(question("tables", ("tables",), database.tables, database_))
    found.append(question("size", ("size",), database.growth, database_))
    found.append(question("server", server.covers(target), server.server, database_))
    for name in target.repositories:
        covers = repository.covers(target, name)
        probe = partial(_look, name=name)
        found.append(question(f"repository {name}", covers, probe, sources[name]))
    found.append(question("record", _FROM_ANY, _record))
    if places := secrets.places(settings, target):
        covers = tuple(f"certificate.{place.name}" for place in places)
        found.append(question("certificates", covers, secrets.of_target))
    return found


def _record(aim: Aim) -> list[Finding]:
    return [*repository.drill(aim), *repository.scrubbed(aim)]


def _look(aim: Aim, name: str) -> list[Finding]:
    return repository.look(aim, name)


def _of_host(settings: Settings, now: datetime) -> list[Question]:
    seconds = settings.status.limit.total_seconds()
    found = [
        Question("disks", HOST, disk.covers(settings), lambda: disk.worker(settings), seconds),
        Question("keys", HOST, ("keys",), lambda: secrets.keys(settings, now), seconds),
    ]
    if settings.status.prefect_api is not None:
        ask = partial(schedule.schedule, settings, now)
        found.append(Question("schedule", HOST, ("schedule",), ask, seconds))
    for place in secrets.places(settings, None):
        ask_place = partial(secrets.certificate, settings.status, HOST, place, now)
        found.append(
            Question(f"certificate {place.name}", HOST, (f"certificate.{place.name}",), ask_place, seconds)
        )
    return found
