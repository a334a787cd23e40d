"""A failover under way: what was asked for, its plan, its journal, and who may hold it."""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pra.approval import Challenge
from pra.disk import disk_errors
from pra.drill.record import Intervention
from pra.errors import BusyError, PraError, StorageError
from pra.failover.journal import Journal, StepDone
from pra.failover.plan import FailoverPlan, Order, Outlook, failover_of, serving
from pra.layout import lease_key
from pra.leases import TTL, Lease
from pra.model import CheckResult
from pra.postgres.connect import Server
from pra.procedures.context import Context
from pra.settings_failover import Failover as Settings
from pra.storage.files import try_lock
from pra.timing import from_iso

_OP = "failover"
_log = logging.getLogger(__name__)


class Aborted(PraError):
    """A human said no, before anything was touched."""


@dataclass(frozen=True)
class Reply:
    """What came back for a challenge: the answer as text, or that the failover ends here."""

    answer: str = ""
    abort: bool = False
    by: str = ""
    comment: str = ""


class Hands(Protocol):
    """The human side of a failover: at a terminal, or in Prefect's forms."""

    def approve(self, challenge: Challenge) -> Reply:
        """Show it, and wait for its answer."""

    def old_is_off(self, target: str, place: str) -> str:
        """Have the target's name typed by somebody who has seen that the old server is off."""

    def say(self, line: str) -> None:
        """Tell the operator something to do, or to know, now."""


@dataclass
class Failover:
    """See `pra.procedures.failover`.

    Attributes:
        outlook: What is expected; None in a resumed one whose plan stands.
        halted: Answers of checks that keep it from going on. decided: By a human, outside of finished steps.
    """

    context: Context
    order: Order
    how: Settings
    journal: Journal
    plan: FailoverPlan | None = None
    outlook: Outlook | None = None
    open: str = ""
    """Why it is not finished: not protected again, or halted; empty when it is."""
    halted: list[CheckResult] = field(default_factory=list)
    decided: list[Intervention] = field(default_factory=list)

    @property
    def target(self) -> str:
        return self.context.target.name

    @property
    def folder(self) -> Path:
        """What is kept on this machine between the steps, 0700."""
        root = self.context.folder("failover") / self.journal.failover
        root.mkdir(mode=0o700, exist_ok=True)
        return root

    @property
    def server(self) -> Server:
        """Where the service answers afterwards."""
        return serving(self.context, self.how)

    @property
    def env(self) -> dict[str, str]:
        """What configured commands are told."""
        return {
            "FAILOVER_ID": self.journal.failover,
            "FAILOVER_TARGET": self.target,
            "FAILOVER_DIRECTORY": str(self.how.directory or ""),
            "FAILOVER_DSN": self.server.dsn,
            "FAILOVER_OLD_DSN": self.context.server.dsn,
        }

    @property
    def disaster_at(self) -> datetime:
        """As declared, now or at first; else when the failover began."""
        return self.declared_at or self.journal.started_at

    @property
    def declared_at(self) -> datetime | None:
        """When the service was lost, where somebody said so."""
        said = self.journal.facts("plan").get("asked", {}).get("disaster_at")
        return self.order.disaster_at or (from_iso(said) if said else None)

    def is_done(self, step: str) -> bool:
        return step in self.journal.done

    @contextmanager
    def step(self, name: str, *, waiting: bool = False) -> Iterator[StepDone]:
        """Do one step; its end is recorded, unless it raises."""
        done, start = StepDone(name, self.context.clock(), waiting=waiting), time.monotonic()
        with self.context.timeline.phase(name):
            yield done
        done.seconds = time.monotonic() - start
        self.journal.end(done)


@contextmanager
def alone(context: Context) -> Iterator[None]:
    """One failover of a target at a time: by a lock on this machine, by a lease elsewhere.

    The lease of a process that was killed here is taken up again at once, since the lock proves it dead.

    Raises:
        BusyError: Another one is under way.
    """
    root = context.folder("failover")
    with disk_errors(_OP, root):
        descriptor = os.open(
            root / f"{context.target.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
    with ExitStack() as stack:
        stack.callback(os.close, descriptor)
        if not try_lock(descriptor):
            raise BusyError(
                f"a failover of {context.target.name} is under way on this machine",
                op=_OP,
                hint="Look who runs it; two of them would undo each other.",
            )
        _take_lease(context, stack, _nonce(root))
        yield


def _take_lease(context: Context, stack: ExitStack, nonce: str) -> None:
    """In the first repository that takes one; where none does, nobody else could begin either."""
    key = lease_key(context.target.name, "failover")
    for name, storage in context.repositories.items():
        lease = Lease(storage, key, "failover", context.clock, covers=(), ttl=TTL, nonce=nonce)
        try:
            stack.enter_context(lease)
        except StorageError as error:
            _log.warning("%s: no lease could be taken: %s", name, error.message)
        else:
            return


def _nonce(root: Path) -> str:
    """Who we are, as long as this state directory lives."""
    file = root / "holder.json"
    try:
        return str(json.loads(file.read_text())["nonce"])
    except (OSError, ValueError, KeyError):
        nonce = secrets.token_hex(8)
        temporary = file.with_suffix(".new")
        temporary.write_text(json.dumps({"nonce": nonce}))
        temporary.replace(file)
        return nonce


def begin(context: Context, order: Order, journal: Journal) -> Failover:
    """Put one together. Raises UsageError where no failover is configured."""
    return Failover(context, order, failover_of(context), journal)


__all__ = ["Aborted", "Failover", "Hands", "Order", "Reply", "alone", "begin"]
