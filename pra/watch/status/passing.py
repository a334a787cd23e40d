"""One pass over everything, and what it leaves: the sample, the latest findings, the log, the heartbeat.

Whoever drives it (the command line, the flow) asks the questions of `opened` its own way, and hands the
findings to `conclude`. What should happen after every pass has its place there, and never ends a pass.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from pathlib import Path

from pra import daylog
from pra.errors import PraError, StorageError
from pra.limited import TimedOut, within
from pra.proc import Scope
from pra.settings import Settings, Target
from pra.storage import Storage, open_storage
from pra.timing import Clock, utc_now
from pra.watch import backup_log, monitor_log
from pra.watch.bundles import publish_bundle
from pra.watch.heartbeat import beat
from pra.watch.publishing import publish
from pra.watch.samples import LocalSamples, Sample, between, parse
from pra.watch.status.asking import Question, ask_all
from pra.watch.status.finding import HOST, Finding, StatusPass, dated, in_order, read_pass
from pra.watch.status.plan import questions
from pra.watch.status.record import write_whole
from pra.watch.telling import after_pass

LATEST = "latest.json"
_DAY = timedelta(days=1)
_NEAR = timedelta(hours=2)
_PUBLISH_SECONDS = 20.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opened:
    """A pass that has begun."""

    settings: Settings
    targets: tuple[Target, ...]
    clock: Clock
    started: float
    questions: tuple[Question, ...]


def opened(settings: Settings, targets: Sequence[Target], scope: Scope, *, clock: Clock = utc_now) -> Opened:
    """Begin one; nothing has been asked yet."""
    day_ago = Earlier(samples_of(settings), clock)
    asked = questions(settings, targets, scope, clock=clock, earlier=day_ago)
    return Opened(settings, tuple(targets), clock, time.monotonic(), tuple(asked))


def run(settings: Settings, targets: Sequence[Target], scope: Scope, *, clock: Clock = utc_now) -> StatusPass:
    """A whole pass in this process, `conclude` apart. Ends in time whatever hangs."""
    begun = opened(settings, targets, scope, clock=clock)
    return closed(begun, ask_all(begun.questions, concurrency=settings.status.concurrency))


def closed(begun: Opened, findings: Iterable[Finding]) -> StatusPass:
    """The answers in order, each with its date."""
    seconds = time.monotonic() - begun.started
    now = begun.clock()
    found = dated(findings, latest(begun.settings), now)
    return StatusPass(now - timedelta(seconds=seconds), host_name(), seconds, in_order(found))


def conclude(settings: Settings, done: StatusPass, *, clock: Clock = utc_now) -> list[str]:
    """Everything that follows a pass. Each step may fail without keeping the others from it.

    Returns:
        What did not work, one line each.
    """
    before = latest(settings)
    problems: list[str] = []
    steps: list[tuple[str, Callable[[], object]]] = [
        ("sample", lambda: samples_of(settings).append(done)),
        ("latest findings", lambda: _remember(settings, done, before)),
        ("log", lambda: monitor_log.write(settings, done, before)),
        ("alerts", lambda: problems.extend(after_pass(settings, done, samples_of(settings), clock=clock))),
        ("publish", lambda: _to_place(settings, lambda place: _publish(settings, place, clock))),
        ("archive logs", lambda: _to_place(settings, lambda place: _archive(settings, place))),
        ("heartbeat", lambda: beat(settings.alerts, done) if _is_whole(settings, done) else None),
    ]
    for name, step in steps:
        try:
            step()
        except PraError as error:
            problems.append(f"{name}: {error.message}")
        except OSError as error:
            problems.append(f"{name}: {(error.strerror or type(error).__name__).lower()}")
    for line in problems:
        _log.warning("%s", line)
    return problems


def _is_whole(settings: Settings, done: StatusPass) -> bool:
    """A look at one target of several is no sign that all is well."""
    return set(settings.targets) <= set(done.targets)


def _publish(settings: Settings, place: Storage, clock: Clock) -> None:
    """Hours that are over, and records of evidence once more when there are enough of them."""
    publish(samples_of(settings), place, clock())
    publish_bundle(settings, place)


def _archive(settings: Settings, place: Storage) -> None:
    """Logs of days that are over."""
    daylog.archive(settings.state_dir, (backup_log.NAME, monitor_log.NAME), host_name(), place)


def _to_place(settings: Settings, call: Callable[[Storage], None]) -> None:
    """Do something with the status repository, where there is one. What it does not take in time goes with a
    later pass.

    Raises:
        StorageError: It does not answer, or not in time.
    """
    repository = settings.status_repository
    if repository is None:
        return
    try:
        within(_PUBLISH_SECONDS, lambda: call(open_storage(repository)))
    except TimedOut as error:
        raise StorageError(f"{repository.name}: {error}", op="publish status") from None


# -- what is remembered between passes -----------------------------------------------------------


def host_name() -> str:
    """This host as it stands in keys."""
    name = re.sub(r"[^a-z0-9.-]", "-", socket.gethostname().lower())[:63].strip("-.")
    return name or "host"


def samples_of(settings: Settings) -> LocalSamples:
    """The samples this host keeps."""
    return LocalSamples(_folder(settings) / "samples", host_name())


def latest(settings: Settings) -> StatusPass | None:
    """The pass before; None where there was none, or it cannot be read."""
    try:
        return read_pass(json.loads((_folder(settings) / LATEST).read_text()))
    except (OSError, ValueError, KeyError, TypeError, PraError):
        return None


def _remember(settings: Settings, done: StatusPass, before: StatusPass | None) -> None:
    """Of the targets that were not asked this time, the findings of before stay."""
    folder = _folder(settings)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    asked = {*done.targets, HOST}
    kept = (
        [f for f in before.findings if f.target not in asked and f.target in settings.targets]
        if before
        else []
    )
    whole = replace(done, findings=(*done.findings, *kept))
    write_whole(folder / LATEST, json.dumps(whole.as_json(), ensure_ascii=False).encode())


def _folder(settings: Settings) -> Path:
    return settings.state_dir / "status"


class Earlier:
    """What a finding measured about a day ago, from this host's own samples; None where there is none."""

    def __init__(self, local: LocalSamples, clock: Clock) -> None:
        self._local, self._clock = local, clock
        self._found: dict[str, Sample] | None = None
        self._lock = threading.Lock()

    def __call__(self, target: str, name: str) -> float | None:
        with self._lock:  # once, however many ask at the same time
            if self._found is None:
                self._found = self._look()
        sample = self._found.get(target)
        return None if sample is None else sample.values.get(name)

    def _look(self) -> dict[str, Sample]:
        """Of each target the sample nearest to this moment of yesterday."""
        wanted = self._clock() - _DAY
        found: dict[str, Sample] = {}
        for day in {(wanted - _NEAR).astimezone(UTC).date(), (wanted + _NEAR).astimezone(UTC).date()}:
            lines = between(self._local.lines(day), wanted - _NEAR, wanted + _NEAR)
            for sample in parse(lines, self._local.host):
                distance = abs(sample.at - wanted)
                other = found.get(sample.target)
                if distance <= _NEAR and (other is None or distance < abs(other.at - wanted)):
                    found[sample.target] = sample
        return found
