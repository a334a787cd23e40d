"""A restored database as the checks see it, and the protocol by which checks arrive from outside the core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pra.engines.recovery_target import RecoveryTarget
from pra.manifest import Manifest
from pra.model import CheckResult
from pra.postgres.connect import Server
from pra.postgres.fingerprint import Fingerprint
from pra.postgres.tools import Tools
from pra.proc import Scope
from pra.settings import Target


@dataclass(frozen=True)
class Recovered:
    """How a base backup came back.

    Attributes:
        observed: What was read at the cut, where the database held exactly what the fingerprint saw; None
            where nothing was, and why: ``uncompared`` (there is no cut) or ``damaged`` (it cannot be read).
        target: Where recovery was to end.
        reached: Where it ended, and when the last transaction there had committed.
        databases: The server's other databases.
        missing: A WAL segment that is not there although WAL goes on behind it, or empty.
        streamed: Whether any WAL is there that no backup brought.
        expired: ``missing`` lies before the window, where only each backup's own WAL is kept.
    """

    observed: Fingerprint | None
    uncompared: str
    damaged: str
    target: RecoveryTarget
    reached: int | None
    last_commit: datetime | None
    databases: tuple[str, ...] = ()
    missing: str = ""
    streamed: bool = False
    expired: bool = False


@dataclass(frozen=True)
class RestoredDatabase:
    """What is being asked, and what it is held against.

    Attributes:
        server: Where the restored database answers.
        manifest, fingerprint: What was saved.
        tools: Programs of the server's own major.
        sandboxed: It is a throwaway server: objects may be created in it.
        network: It can reach other hosts.
        earlier: Manifests before this one, newest first.
        unrefreshed: Materialized views without data, and why.
        left_out: What the restore plan ruled out beforehand.
        recovered: How it came back, for a base backup; None for a logical one.
        scope: Owns whatever process a check starts.
    """

    server: Server
    target: Target
    manifest: Manifest
    fingerprint: Fingerprint
    tools: Tools
    sandboxed: bool
    network: bool
    scope: Scope = field(repr=False)
    work: Path = field(default=Path())
    earlier: tuple[Manifest, ...] = ()
    unrefreshed: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    recovered: Recovered | None = None


class CheckSet(Protocol):
    """What "recovered" means. ``checks.Checks`` is the one that PRA ships."""

    def names(self, database: RestoredDatabase) -> Sequence[str]:
        """Every check of the plan, in the order in which to start them."""

    def ruled_out(self, database: RestoredDatabase) -> Sequence[CheckResult]:
        """Checks that do not apply, each with its reason, decided before any is run."""

    def required(self, database: RestoredDatabase) -> Sequence[str]:
        """Results without which no verdict can be PASS."""

    def run(self, name: str, database: RestoredDatabase) -> Sequence[CheckResult]:
        """Run one check. What goes wrong inside becomes ``skipped``, never an exception, never green."""
