"""From a plan's chain of backups to one data directory that a server can recover in.

Each member is fetched and verified into a folder of its own; incremental ones are combined. ``pg_control``
is put last: a directory that lacks it is not started by anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pra.engines.logical import Report, no_report
from pra.engines.recovery import RecoveryPlan
from pra.postgres.fingerprint import Fingerprint
from pra.postgres.tools import Tools
from pra.proc import Account, Scope
from pra.storage.base import Storage


@dataclass(frozen=True)
class Assembled:
    """A data directory ready for recovery.

    Attributes:
        data: The directory, owned by the account that will run the server.
        fingerprint: Of the newest member.
        configuration: The newest member's configuration document (a JSON file), where it has one.
        bytes: What was read from the repository.
    """

    data: Path
    fingerprint: Fingerprint
    configuration: Path | None
    bytes: int


def assemble(
    storage: Storage,
    target_name: str,
    plan: RecoveryPlan,
    data: Path,
    work: Path,
    *,
    scope: Scope,
    tools: Tools,
    identities: Sequence[str],
    jobs: int = 2,
    tablespaces: Mapping[int, Path] | None = None,
    account: Account | None = None,
    durable: bool = False,
    report: Report = no_report,
) -> Assembled:
    """Fetch every member of the chain and make one data directory of them.

    Args:
        data: Does not exist or is empty; its parent exists. Made 0700.
        work: Our 0700 folder on the data's file system, for what has to be combined.
        tablespaces: Where each tablespace goes, by OID; by default to ``<data>-tablespaces/<oid>``.
        account: Who will own it all; None: whoever we are.
        durable: Flush it to the disk: a real restore.

    Raises:
        IntegrityError: An object is not what was signed, or the members do not fit together.
        UsageError: A tablespace's place is not empty.
        SpaceError: The disk is full.
    """
    raise NotImplementedError
