"""A load test under way: what was asked for, what it owns, and what its phases have measured."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pra.drill.record import Step
from pra.loadtest.hardware import Hardware, this_machine
from pra.loadtest.interrupted import note
from pra.loadtest.measures import ApiLoad, Load, Round
from pra.loadtest.pgbench import Mixture
from pra.loadtest.record import Beside, Slow
from pra.model import CheckResult
from pra.postgres.connect import Server
from pra.postgres.facts import Definition
from pra.postgres.fingerprint import Fingerprint
from pra.postgres.tools import Tools
from pra.proc import Account
from pra.procedures.context import Context
from pra.procedures.session import Choice, Session

Sabotage = Literal["drop-index", "no-statistics"]


@dataclass(frozen=True)
class Order:
    """What was asked for.

    Attributes:
        rounds: Of backup, and of restore with each kind of settings.
        clients: Concurrent sessions and requests. seconds: How long each load lasts.
        backup: Read the source: backups in rounds, and a copy to compare with. Without it, it is not asked.
        scratch: Backups go to a folder of their own; else they are ordinary ones, in the real repositories.
        repository: Where the backup is restored from; None: the target's first.
        sabotage: What is to go wrong with the restored database on purpose, to see that it is noticed.
        operator: Who started it; empty: this account.
    """

    rounds: int = 3
    clients: int = 4
    seconds: int = 15
    backup: bool = True
    scratch: bool = True
    repository: str | None = None
    sabotage: Sabotage | None = None
    operator: str = ""


@dataclass
class LoadTest:
    """See `pra.procedures.loadtest`.

    Attributes:
        home: Its folder, gone at the end; below one that the servers' account can enter.
        session: The restore that stays up, to be put under load; ``original`` the copy it is compared with.
        definitions: Of that copy.
        before: Contents of the restored database before the load, where they cannot be known from the backup.
    """

    context: Context
    order: Order
    stack: ExitStack
    home: Path
    account: Account | None
    started_at: datetime
    hardware: Hardware = field(default_factory=this_machine)
    choice: Choice | None = None
    tools: Tools | None = None
    rounds: list[Round] = field(default_factory=list)
    session: Session | None = None
    original: Server | None = None
    definitions: tuple[Definition, ...] | None = None
    mixture: Mixture | None = None
    shipped: bool = False
    before: Fingerprint | None = None
    restored_load: Load | None = None
    original_load: Load | None = None
    beside: Beside = "nothing"
    beside_note: str = ""
    slow: list[Slow] = field(default_factory=list)
    api: ApiLoad | None = None
    results: list[CheckResult] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    deviations: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    recorded: bool = False

    @property
    def has_begun(self) -> bool:
        """It is prepared: what comes now asks something of somebody."""
        return bool(self.steps) and self.choice is not None

    @property
    def server(self) -> Server:
        """The restored database."""
        assert self.session is not None
        assert self.session.database is not None
        return self.session.database.server

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase; from the first that measures on, note on disk that it begins."""
        started_at, start = self.context.clock(), time.monotonic()
        self.context.report(name, 0, 0)
        if self.has_begun:
            note(self, name)
        try:
            yield
        finally:
            self.steps.append(Step(name, started_at, time.monotonic() - start))
            self.context.report(name, 1, 1)

    def results_named(self, names: Sequence[str]) -> list[CheckResult]:
        return [each for each in self.results if each.name in names]
