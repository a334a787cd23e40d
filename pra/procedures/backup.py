"""Backup: preflight → take → publish to every repository → read back → expire.

What is taken depends on the engine: a snapshot, dumped and fingerprinted side by side, or a base backup, full
or incremental, and a fingerprint after it.

`take` fills a bounded spool; one `publish` a repository drains it beside it. When `take` fails for a
passing reason it is tried again under a new id, and the publishers forget the first one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from pra.disk import disk_errors
from pra.errors import PraError
from pra.manifest import Manifest
from pra.model import PublishResult
from pra.procedures import expiry
from pra.procedures.context import Context, exclusive
from pra.procedures.preflight import SPOOL_BYTES, Ready, preflight
from pra.procedures.publishing import catch_up, publish
from pra.procedures.taking import take
from pra.storage.spool import Spool
from pra.timing import Phase
from pra.watch import backup_log

TAKE_TRIES = 3
RETRY_SECONDS = 1.0
STOP_SECONDS = 10.0
"""How long a stopped run waits for its publishers; what they leave behind is garbage, and found by gc."""


@dataclass(frozen=True)
class BackupReport:
    """What one run did. ``ok`` only when every repository holds the backup.

    Attributes:
        parents: The chain that an incremental backup stands upon, its full backup first.
        full_reason: Why the physical engine took a full one; empty otherwise.
    """

    backup_id: str
    target: str
    kind: str
    taken_at: datetime
    bytes: int
    seconds: float
    phases: tuple[Phase, ...]
    repositories: tuple[PublishResult, ...]
    gaps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    caught_up: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    full_reason: str = ""

    @property
    def ok(self) -> bool:
        return all(result.ok for result in self.repositories)

    @property
    def exit_code(self) -> int:
        """0: every repository; 2: some; 1: none."""
        if self.ok:
            return 0
        return 2 if any(result.ok for result in self.repositories) else 1


def open_spool(context: Context) -> Spool:
    """The hand-over between `take` and the publishers of this run."""
    with disk_errors("open spool", context.state_dir):
        return Spool(context.folder("spool"), SPOOL_BYTES, list(context.repositories))


@dataclass
class Outcome:
    """What became of each repository, and of the house-keeping where the backup arrived."""

    results: list[PublishResult] = field(default_factory=list)
    caught_up: list[str] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def arrived(self) -> tuple[str, ...]:
        return tuple(result.name for result in self.results if result.ok)


def run(context: Context, *, accept_new_server: bool = False, full: bool = False) -> BackupReport:
    """Drive the whole procedure on threads of this process.

    Args:
        full: Take a full backup even where an incremental one would do.

    Raises:
        PraError: The database could not be read. Failures of single repositories are in the report.
    """
    start = time.monotonic()
    with exclusive(context):
        ready = preflight(context, accept_new_server=accept_new_server, full=full)
        manifest, results = _take_and_publish(context, ready, open_spool(context))
        outcome = _afterwards(context, results)
    done = make_report(context, manifest, ready, outcome, time.monotonic() - start)
    note(context, done)
    return done


def note(context: Context, done: BackupReport) -> None:
    """A line in ``akig_backup.log``."""
    results = done.repositories
    backup_log.backed_up(context.settings, done.target, done.backup_id, done.bytes, done.seconds, results)


def _take_and_publish(context: Context, ready: Ready, spool: Spool) -> tuple[Manifest, list[PublishResult]]:
    publishing = [_start(publish, context, spool, name) for name in context.repositories]
    try:
        manifest = _take_with_retries(context, ready, spool)
        spool.close()
        wait(publishing)  # all of them, before a mistake in one is raised
        return manifest, [future.result() for future in publishing]
    except PraError:
        spool.close()
        wait(publishing)
        raise
    except BaseException:
        # A signal, or a mistake of ours: end the tools first, and wait for no long upload.
        context.scope.close()
        spool.close()
        wait(publishing, timeout=STOP_SECONDS)
        raise


def _start[**P, R](function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
    """On a thread that does not keep the process alive: a pool's threads are joined at its end."""
    future: Future[R] = Future()

    def work() -> None:
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:  # raised again by result()
            future.set_exception(error)

    threading.Thread(target=work, name=function.__name__, daemon=True).start()
    return future


def _take_with_retries(context: Context, ready: Ready, spool: Spool) -> Manifest:
    for attempt in range(1, TAKE_TRIES + 1):
        try:
            return take(context, ready, spool)
        except PraError as error:
            if not error.transient or attempt == TAKE_TRIES or context.scope.closed:
                raise
            # A server that restarts takes a while.
            time.sleep(RETRY_SECONDS * 2**attempt)
    raise AssertionError("unreachable")


def _afterwards(context: Context, results: Sequence[PublishResult]) -> Outcome:
    """Catch up and expire, only where this backup has arrived."""
    outcome = Outcome(results=list(results))
    for name in outcome.arrived:
        with tolerating(context, outcome, "catch up", name):
            outcome.caught_up += catch_up(context, name)
        with tolerating(context, outcome, "expire", name):
            outcome.expired += expiry.expire_names(context, name)
    return outcome


@contextmanager
def tolerating(context: Context, outcome: Outcome, phase: str, repository: str) -> Iterator[None]:
    """House-keeping that fails is said aloud, but a backup that was published stays published."""
    try:
        with context.timeline.phase(f"{phase} {repository}"):
            yield
    except PraError as error:
        outcome.warnings.append(f"{phase} in {repository}: {error.message}")


def make_report(
    context: Context, manifest: Manifest, ready: Ready, outcome: Outcome, seconds: float
) -> BackupReport:
    return BackupReport(
        backup_id=manifest.backup_id,
        target=manifest.target,
        kind=manifest.kind,
        taken_at=manifest.taken_at,
        bytes=manifest.bytes,
        seconds=seconds,
        phases=tuple(context.timeline.phases),
        repositories=tuple(outcome.results),
        gaps=manifest.gaps,
        warnings=(*ready.warnings, *manifest.warnings, *outcome.warnings),
        caught_up=tuple(outcome.caught_up),
        expired=tuple(outcome.expired),
        parents=manifest.parents,
        full_reason=manifest.physical.full_reason if manifest.physical is not None else "",
    )


__all__ = [
    "BackupReport",
    "Outcome",
    "Ready",
    "exclusive",
    "make_report",
    "note",
    "open_spool",
    "preflight",
    "publish",
    "run",
    "take",
    "tolerating",
]
