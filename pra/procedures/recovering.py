"""A physical backup on its way back: the steps that verification and real restore have in common.

::

    plan_recovery → fetch → open_server → recover_to_cut → compare_at_cut → roll_on → checks …

The server is started once, in recovery. It stops at the cut, where every table is compared with what was
saved, goes on to the target and is promoted there. A target before the cut, or a backup without one, is no
error: `Recovery.cut` then says why nothing was compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pra.engines.cut import Cut, NoCut
from pra.manifest import Manifest
from pra.postgres.fingerprint import Fingerprint
from pra.procedures.context import Context
from pra.procedures.session import Choice, Session

if TYPE_CHECKING:  # while these are being written
    from pra.engines.assemble import Assembled
    from pra.engines.recovery import RecoveryPlan, RecoveryTarget
    from pra.postgres.recovering_server import RecoveringServer
    from pra.wal.archive import Archive


@dataclass(frozen=True)
class Planned:
    """What a recovery will read. ``chain``: manifests, the full backup first, the chosen one last."""

    target: RecoveryTarget
    chain: tuple[Manifest, ...]
    archive: Archive
    plan: RecoveryPlan


@dataclass
class Recovery:
    """One recovery under way.

    Attributes:
        data: The data directory that is being made.
        durable: A server one keeps: settings and inertness as `open_recovery` says.
        tablespaces: Where each tablespace (by OID) goes; one that is not named goes beside the data directory.
        cut: Where contents were, or could not be, compared; None before `recover_to_cut`.
        observed: What was read at the cut; None when nothing was.
        compared_seconds: How long production would not have waited: reading at the cut, out of the RTO.
        last_commit, reached: The last transaction that came back, and the position reached (after `roll_on`).
    """

    session: Session
    planned: Planned
    data: Path
    durable: bool = False
    tablespaces: Mapping[int, Path] = field(default_factory=dict)
    assembled: Assembled | None = None
    server: RecoveringServer | None = None
    cut: Cut | NoCut | None = None
    observed: Fingerprint | None = None
    compared_seconds: float = 0.0
    last_commit: datetime | None = None
    reached: int | None = None


def plan_recovery(
    context: Context, repository: str, target: RecoveryTarget, *, backup_id: str | None = None
) -> Planned:
    """Which backups and which WAL of one repository. Reads manifests and the archive's listing only.

    Args:
        backup_id: Start from this backup; None: from the newest one that lies before the target.

    Raises:
        NotFoundError: No backup lies before the target; says which range exists.
        RestoreError: WAL is missing between backup and target: names the segment and the repository.
        IntegrityError, ObjectMissing: A manifest of the chain cannot be believed, or is gone.
    """
    raise NotImplementedError


def choice_of(planned: Planned, context: Context, repository: str) -> Choice:
    """The backup that a plan starts from, as `open_session` wants it."""
    raise NotImplementedError


def fetch(this: Recovery) -> None:
    """Bring every member of the chain, combine them into `Recovery.data`; sets ``assembled``. Phase ``fetch``.

    Raises:
        IntegrityError, ObjectMissing, DecryptError: Stored bytes are not those that were signed.
    """
    raise NotImplementedError


@contextmanager
def open_server(this: Recovery) -> Iterator[RecoveringServer]:
    """WAL fetched ahead and a server ready to recover; both gone on leaving, the data directory stays."""
    raise NotImplementedError
    yield


def recover_to_cut(this: Recovery) -> None:
    """Look for the cut, start the server and let it replay up to there; sets ``cut``. Phase ``recover``.

    Where there is no cut before the target, nothing is started yet.
    """
    raise NotImplementedError


def compare_at_cut(this: Recovery) -> None:
    """Read every table at the cut, in the paused standby; sets ``observed``. Phase ``compare``."""
    raise NotImplementedError


def roll_on(this: Recovery) -> None:
    """Replay up to the target and promote; sets ``last_commit`` and ``reached``. Phase ``roll on``.

    Raises:
        IntegrityError: A WAL segment is damaged. RestoreError: WAL ended before the target.
    """
    raise NotImplementedError
