"""Everything that ``pra init`` tried, tried again: questions side by side, each under a limit of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from pra.disk import disk_errors
from pra.errors import ConnectError, PraError
from pra.postgres.connect import Server
from pra.procedures.preflight import SCHEDULE
from pra.settings import Repository, Settings, Target, rpo_warning
from pra.setup import host, judging, repositories
from pra.setup.diagnosis import Diagnosis, Mend, diagnosed, ill, of_error, well
from pra.setup.server import ServerReport, look
from pra.timing import Clock, to_iso, utc_now
from pra.watch.status import schedule
from pra.watch.status.asking import Question, ask_all
from pra.watch.status.finding import HOST, Finding, Level, in_order, worst
from pra.watch.status.server import database_of, of_its_server

_SHOWN = 5
LIMIT = timedelta(seconds=60)
"""For one question: longer than a status pass gives, since objects are written and read here."""


@dataclass(frozen=True)
class Examination:
    """What a look over the installation found, the worst first."""

    at: datetime
    seconds: float
    findings: tuple[Diagnosis, ...]

    @property
    def level(self) -> Level:
        return worst(finding.level for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """0: all is well; 1: something is critical; 2: a warning, or something could not be looked at."""
        return self.level.exit_code

    def as_json(self) -> dict[str, Any]:
        return {
            "at": to_iso(self.at),
            "level": self.level.value,
            "seconds": round(self.seconds, 3),
            "items": [finding.as_json() for finding in self.findings],
        }


def examine(
    settings: Settings,
    targets: Sequence[Target],
    extra: Sequence[Diagnosis] = (),
    *,
    clock: Clock = utc_now,
) -> Examination:
    """Look over an installation. Changes nothing but scratch objects; ends in time whatever hangs.

    Args:
        extra: What the caller looked at itself.
    """
    start = clock()
    with disk_errors("look over", settings.state_dir):
        folder = settings.state_dir / "work"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="setup-", dir=folder) as scratch:
            asked = questions(settings, targets, Path(scratch), clock)
            found = ask_all(asked, concurrency=settings.status.concurrency)
    found = [*found, *host.configuration(settings, targets), *extra]
    return Examination(start, (clock() - start).total_seconds(), ordered(found))


def ordered(found: Sequence[Finding]) -> tuple[Diagnosis, ...]:
    return diagnosed(in_order(found))


def questions(settings: Settings, targets: Sequence[Target], scratch: Path, clock: Clock) -> list[Question]:
    """Every question, the databases first."""
    used = {name for target in targets for name in target.repositories}
    return [
        *(_of_target(settings, target, clock) for target in targets),
        *(_of_repository(each, scratch) for each in settings.repositories.values() if each.name in used),
        *_of_host(settings, clock()),
    ]


def _of_target(settings: Settings, target: Target, clock: Clock) -> Question:
    ask = partial(_target, settings, target, clock)
    return Question(f"{target.name}: server", target.name, ("server",), ask, LIMIT.total_seconds())


def _of_repository(repository: Repository, scratch: Path) -> Question:
    ask = partial(repositories.trial, repository, scratch)
    covers = repositories.covers(repository)
    return Question(f"repository {repository.name}", HOST, covers, ask, LIMIT.total_seconds())


def _of_host(settings: Settings, now: datetime) -> list[Question]:
    asked: list[tuple[str, Callable[[], Sequence[Finding]]]] = [
        ("libraries", host.libraries),
        ("keys", partial(host.keys, settings, now)),
        ("sandbox", partial(host.sandbox, settings)),
        ("alerts", partial(host.channels, settings)),
        ("schedule", partial(_schedule, settings, now)),
    ]
    return [Question(name, HOST, (name,), ask, LIMIT.total_seconds()) for name, ask in asked]


def _target(settings: Settings, target: Target, clock: Clock) -> list[Diagnosis]:
    """Everything about one server that its backups need."""
    password = target.password
    server = Server.parse(target.dsn, password.get_secret_value() if password else None)
    try:
        report = look(server, target.slot, clock)
    except ConnectError as error:
        return [unreachable(error, target.name)]
    except PraError as error:
        return [of_error(error, "server", target.name)]
    return [
        *judging.judge(report, target.name, target.engine),
        *host.programs(settings.postgres.bindir, target.engine, target.name, report.major),
        *host.room(settings, target, report),
        *(
            finding
            for repository in settings.repositories_of(target)
            for finding in repositories.beside(repository, report.data_directory)
        ),
        *_databases(settings, target, report),
        objective(target),
    ]


def _databases(settings: Settings, target: Target, report: ServerReport) -> list[Diagnosis]:
    if target.engine == "physical":
        return []
    left = left_out(settings, target, report)
    if not left:
        return [well("databases", target.name, "every database of the server has a target")]
    named = ", ".join(left[:_SHOWN]) + (", …" if len(left) > _SHOWN else "")
    fact = f"the server has databases that no target protects: {named}"
    hint = "Give each a target, or name it under unprotected of [status]."
    mend = Mend("shell", "pra init --add-target")
    return [ill(Level.WARNING, "databases", target.name, fact, hint, mend)]


def left_out(settings: Settings, target: Target, report: ServerReport) -> list[str]:
    """Databases of the server that no target of it protects; a base backup holds all of them."""
    ours = of_its_server(settings, target)
    if any(each.engine == "physical" for each in ours):
        return []
    known = {database_of(each) for each in ours} | set(settings.status.unprotected)
    return [name for name in report.others if name not in known]


def unreachable(error: ConnectError, target: str) -> Diagnosis:
    """A server that lets nobody in, with what helps where that is known."""
    if "password" in error.message:
        name = f"PRA_TARGETS__{target.upper().replace('-', '_')}__PASSWORD"
        return of_error(error, "server", target, Mend(".env", f"{name}='…'"))
    return of_error(error, "server", target)


def objective(target: Target) -> Diagnosis:
    """Whether the engine, at the schedule's interval, can keep the RPO at all."""
    warning = rpo_warning(target, SCHEDULE)
    if warning is None:
        return well("objective", target.name, "the engine can keep the RPO at an hourly schedule")
    hint = "Change the engine where the server allows it, or the schedule in prefect.yaml, or the objective."
    mend = Mend("pra.toml", f'[targets.{target.name}]\nengine = "physical"')
    return ill(Level.WARNING, "objective", target.name, warning, hint, mend)


def _schedule(settings: Settings, now: datetime) -> list[Finding]:
    """What Prefect's API says, where one is configured; reading it is all that is done."""
    if settings.status.prefect_api is None:
        fact = "no Prefect API is configured: backups run when somebody, or cron, runs them"
        return [well("schedule", HOST, fact)]
    found = schedule.schedule(settings, now)
    up = (Mend("shell", "pra up"),)
    return [
        ill(each.level, each.name, HOST, each.message, each.hint, *up) if each.level is not Level.OK else each
        for each in found
    ]
