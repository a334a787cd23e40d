"""What a flow holds while it runs: settings, processes, and the progress that it shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from rich.console import Console

from pra.proc import Scope
from pra.procedures import backup
from pra.procedures.context import Context
from pra.settings import load_settings
from pra.storage.spool import Spool
from tasks.step import Handle, discreet

_EVERY_SECONDS = 2.0


class Work(Handle[Context]):
    """One procedure on one target, under way."""

    __slots__ = ("_started",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started


@contextmanager
def work_on(target: str) -> Iterator[Work]:
    """One procedure on one target.

    Leaving, for whatever reason, first ends every process that was started: the flow's threads are
    joined only afterwards, and one that waits for a tool would keep the run alive.

    Raises:
        SettingsError, NotFoundError: The settings cannot be used, or know no such target.
    """
    _outlive_the_worker()
    with discreet(), Progress() as progress, Scope() as scope:
        settings = load_settings()
        operator = f"prefect flow run {flow_run.id}" if flow_run.id else ""
        yield Work(Context(settings, settings.target(target), scope, report=progress, operator=operator))


def _outlive_the_worker() -> None:
    """Let a run go on whose worker died.

    The worker reads what the run logs. With nobody there, Rich would end the process at the next line: it
    offers this method to those who want it otherwise. What is logged reaches Prefect's API all the same.
    """

    def nobody_reads(console: Console) -> None:
        console.quiet = True

    Console.on_broken_pipe = nobody_reads  # type: ignore[assignment,method-assign]


@contextmanager
def exclusive(work: Work) -> Iterator[None]:
    """Raises BusyError while another backup of the target runs."""
    with backup.exclusive(work.held):
        yield


@contextmanager
def hand_over(work: Work) -> Iterator[Handle[Spool]]:
    """Between the reader and the publishers. Left early, it stops both; in any case publishers then end."""
    spool = backup.open_spool(work.held)
    try:
        yield Handle(spool)
    except BaseException:
        work.held.scope.close()
        raise
    finally:
        spool.close()


@dataclass
class _Bar:
    done: int = 0
    total: int = 0
    shown: tuple[int, int] | None = None
    artifact: UUID | None = None

    @property
    def percent(self) -> float:
        return round(min(self.done / self.total, 1.0) * 100, 1) if self.total else 0.0


class Progress:
    """Shows long steps as progress artifacts of the flow run.

    A step reports from whatever thread it works on, and never waits for the API: a thread of our own
    sends the latest numbers every two seconds. When the API does not answer, the work goes on unseen.
    """

    def __init__(self) -> None:
        self._bars: dict[str, _Bar] = {}
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._flow_run = UUID(flow_run.id) if flow_run.id else None
        self._logger = get_run_logger()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __call__(self, phase: str, done: int, total: int) -> None:
        with self._lock:
            bar = self._bars.setdefault(phase, _Bar())
            bar.done, bar.total = done, total

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._fill()
        self._finished.set()
        self._thread.join(5)

    def _fill(self) -> None:
        """What has ended well is shown as done, although its last report came a little before its end."""
        with self._lock:
            for bar in self._bars.values():
                bar.done = bar.total = max(bar.total, 1)

    def _run(self) -> None:
        try:
            with get_client(sync_client=True) as client:
                while not self._finished.wait(_EVERY_SECONDS):
                    self._send(client)
                self._send(client)
        except (httpx.HTTPError, PrefectException) as error:
            self._logger.warning("progress is no longer shown: %s", type(error).__name__)

    def _send(self, client: SyncPrefectClient) -> None:
        with self._lock:
            moved = [(phase, bar) for phase, bar in self._bars.items() if bar.shown != (bar.done, bar.total)]
            for _, bar in moved:
                bar.shown = (bar.done, bar.total)
        for phase, bar in moved:
            if bar.artifact is None:
                made = client.create_artifact(
                    ArtifactCreate(
                        type="progress", description=phase, data=bar.percent, flow_run_id=self._flow_run
                    )
                )
                bar.artifact = made.id
            else:
                client.update_artifact(bar.artifact, ArtifactUpdate(data=bar.percent))
