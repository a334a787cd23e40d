"""Backups that kill themselves: a process that forks one for each request, so that modules load once.

Reads one JSON object a line: ``{"config", "state", "kinds", "at", "signal"}``. The fork runs a backup and,
at the ``at``-th step of the named kinds, sends itself the signal. Answers with one line: ``{"step",
"ended", "pid"}``; ``step`` is null when the backup had fewer steps. ``{"resume": pid}`` wakes one that was
stopped.

A step is a call that writes to a storage (``near``, ``far``: before it; ``near half``: in its midst; ``near
every``: reading calls too), the beginning or end of a phase, the start of a tool, or a word to the
publishers (``phases``). Nothing in the product knows of it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from deployments.cli import signals
from pra.model import StoredObject
from pra.proc import Process, Scope
from pra.procedures import backup
from pra.procedures.context import Context
from pra.settings import load_settings
from pra.storage import open_storage
from pra.storage.local import LocalStorage
from pra.storage.spool import Attempt
from pra.timing import Timeline
from tests.fix_store import FaultyStorage, leave_unfinished

_WRITES = ("create", "put", "replace", "delete", "abort")


class Steps:
    """Counts the steps of the chosen kinds, and does what was asked at the last of them."""

    def __init__(self, kinds: Collection[str], at: int, signum: int, answer: int) -> None:
        self._kinds, self._left, self._signum, self._answer = kinds, at, signum, answer
        self._lock = threading.Lock()

    def take(self, kind: str, name: str, first: Callable[[], None] | None = None) -> None:
        if kind not in self._kinds:
            return
        with self._lock:
            self._left -= 1
            if self._left != 0:
                return
            if first is not None:
                first()
            os.write(self._answer, f"{kind}: {name}".encode())
            os.kill(os.getpid(), self._signum)


class CountingStorage(FaultyStorage):
    """A repository each of whose calls is a step."""

    steps: Steps

    def _count(self, method: str, key: str) -> bool:
        if method in _WRITES:
            self.steps.take(self.name, f"before {method} {key}")
        self.steps.take(f"{self.name} every", f"before {method} {key}")
        return False

    def put(self, key: str, source: Path, *, sha256: str, retain_until: datetime | None = None) -> None:
        half = lambda: leave_unfinished(self.inner, key, source.read_bytes())  # noqa: E731
        self.steps.take(f"{self.name} half", f"amid put {key}", half)
        super().put(key, source, sha256=sha256, retain_until=retain_until)

    def create(self, key: str, data: bytes, *, retain_until: datetime | None = None) -> None:
        self.steps.take(
            f"{self.name} half", f"amid create {key}", lambda: leave_unfinished(self.inner, key, data)
        )
        super().create(key, data, retain_until=retain_until)


class CountingTimeline(Timeline):
    steps: Steps

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.steps.take("phases", f"before {name}")
        with super().phase(name):
            yield
        self.steps.take("phases", f"after {name}")


def count_in_place(steps: Steps) -> None:
    """Make steps of what cannot be handed in: tools that start, words to the publishers."""
    start, add, seal = Scope.start, Attempt.add, Attempt.seal

    def counted_start(self: Scope, argv: Sequence[str], **options: Any) -> Process:
        process = start(self, argv, **options)
        steps.take("phases", f"amid {Path(argv[0]).name}")
        return process

    def counted_add(self: Attempt, stored: StoredObject) -> None:
        steps.take("phases", f"before announcing {stored.name}")
        add(self, stored)

    def counted_seal(self: Attempt, manifest: bytes) -> None:
        steps.take("phases", "before sealing the backup")
        seal(self, manifest)
        steps.take("phases", "after sealing the backup")

    Scope.start, Attempt.add, Attempt.seal = counted_start, counted_add, counted_seal  # type: ignore[method-assign]


def run(request: dict[str, Any], answer: int) -> None:
    steps = Steps(request["kinds"], request["at"], request["signal"], answer)
    count_in_place(steps)
    settings = load_settings(Path(request["config"]), {**os.environ, "PRA_STATE_DIR": request["state"]})
    target = settings.target(None)
    storages = {}
    for repository in settings.repositories_of(target):
        inner = open_storage(repository)
        assert isinstance(inner, LocalStorage)
        storages[repository.name] = storage = CountingStorage(inner)
        storage.steps = steps
    timeline = CountingTimeline()
    timeline.steps = steps
    with Scope() as scope:
        context = Context(settings, target, scope, repositories=dict(storages), timeline=timeline)
        assert backup.run(context).ok


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "resume" in request:
            os.kill(request["resume"], signal.SIGCONT)
            _, status = os.waitpid(request["resume"], 0)
            _say({"ended": os.waitstatus_to_exitcode(status)})
            continue
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            signals.install()
            try:
                run(request, writer)
            except signals.Stopped as stopped:
                os._exit(128 + stopped.signum)
            except BaseException as error:
                sys.stderr.write(f"{type(error).__name__}: {error}\n")
                os._exit(1)
            os._exit(0)
        os.close(writer)
        _, status = os.waitpid(pid, os.WUNTRACED)
        standing = os.WIFSTOPPED(status)
        step = os.read(reader, 4096).decode() or None
        os.close(reader)
        _say({"step": step, "pid": pid, "ended": None if standing else os.waitstatus_to_exitcode(status)})


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
