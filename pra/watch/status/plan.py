"""The questions of one pass: which probes there are for these targets, and what each covers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from pra.proc import Scope
from pra.procedures.context import Context
from pra.settings import Settings, Target
from pra.timing import Clock
from pra.watch.status import database, disk, endpoints, repository, schedule, secrets, server
from pra.watch.status.aim import Aim
from pra.watch.status.asking import Question
from pra.watch.status.finding import HOST, Finding, Level

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
    """Every question, those about databases first: they are what a pass must not be late with."""
    now = clock()
    found: list[Question] = []
    for target in targets:
        found += _of_target(settings, target, _Aiming(settings, target, scope, clock, earlier).aim)
    found += _of_host(settings, now)
    return sorted(found, key=lambda question: question.silence is not Level.CRITICAL)


class _Aiming:
    """Makes a target's handles when the first probe needs them, once a pass: an S3 client costs a while."""

    def __init__(
        self, settings: Settings, target: Target, scope: Scope, clock: Clock, earlier: Earlier
    ) -> None:
        self._made: Aim | None = None
        self._lock = threading.Lock()
        self._parts = (settings, target, scope, clock, earlier)

    def aim(self) -> Aim:
        settings, target, scope, clock, earlier = self._parts
        with self._lock:
            if self._made is None:
                context = Context(settings, target, scope, clock=clock)
                self._made = Aim(context, clock(), lambda name: earlier(target.name, name))
            return self._made


def _of_target(settings: Settings, target: Target, aim: Callable[[], Aim]) -> list[Question]:
    seconds = settings.status.limit.total_seconds()

    def question(
        what: str,
        covers: tuple[str, ...],
        probe: Callable[[Aim], list[Finding]],
        silence: Level = Level.UNKNOWN,
    ) -> Question:
        name = f"{target.name}: {what}"
        return Question(name, target.name, covers, lambda: probe(aim()), seconds, silence)

    found = [question("database", ("database",), database.answers, Level.CRITICAL)]
    if endpoints.is_asked(target.api):
        found.append(question("api", ("api",), endpoints.api, Level.CRITICAL))
    if target.critical_tables:
        found.append(question("tables", ("tables",), database.tables))
    found.append(question("size", ("size",), database.growth))
    found.append(question("server", server.covers(target), server.server))
    for name in target.repositories:
        covers = repository.covers(target, name)
        found.append(question(f"repository {name}", covers, partial(_look, name=name)))
    found.append(question("record", ("drill", "scrub"), _record))
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
