"""What every procedure needs: settings made concrete, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

from pra import ephemeral
from pra.catalog import Catalog
from pra.disk import disk_errors
from pra.engines.logical import Report, no_report
from pra.errors import NotFoundError, SettingsError, UsageError
from pra.evidence import EvidenceLog
from pra.keys import Keyring, Signer, load_keyring, load_signer
from pra.postgres.connect import Server
from pra.postgres.pooler import check_pooler
from pra.proc import Scope
from pra.procedures.target_lock import TargetLock
from pra.settings import Settings, Target
from pra.storage import open_storage
from pra.storage.base import Storage
from pra.storage.spool_runs import sweep
from pra.timing import Clock, Timeline, utc_now


@dataclass
class Context:
    """One procedure on one target. Holds handles, never secrets in its repr.

    Attributes:
        operator: Who is behind it, for the record; empty: this account.
    """

    settings: Settings
    target: Target
    scope: Scope = field(repr=False)
    clock: Clock = utc_now
    report: Report = no_report
    repositories: dict[str, Storage] = field(default_factory=dict, repr=False)
    timeline: Timeline = field(default_factory=Timeline)
    lock: TargetLock | None = field(default=None, repr=False)
    operator: str = ""

    def __post_init__(self) -> None:
        if not self.repositories:
            self.repositories = {
                repository.name: open_storage(repository)
                for repository in self.settings.repositories_of(self.target)
            }

    @cached_property
    def server(self) -> Server:
        password = self.target.password
        return Server.parse(self.target.dsn, password.get_secret_value() if password else None)

    @cached_property
    def signer(self) -> Signer:
        return load_signer(self.settings.signing, self.settings.state_dir)

    @cached_property
    def keyring(self) -> Keyring:
        return load_keyring(self.settings.signing, self.settings.state_dir)

    @cached_property
    def evidence(self) -> EvidenceLog:
        """The target's record. Without a signing key it can be read, not written."""
        try:
            signer = self.signer
        except SettingsError:
            signer = None
        return EvidenceLog(
            list(self.repositories.values()),
            self.target.name,
            signer,
            self.keyring,
            clock=self.clock,
            keep=timedelta(days=31 * max(1, self.settings.retention.monthly)),
        )

    def last_proof(self, repository: str) -> datetime | None:
        """When a backup in this repository was last verified, whatever the verdict."""
        moments = [proof.at for proof in self.evidence.proofs(repository).values()]
        return max(moments, default=None)

    @property
    def state_dir(self) -> Path:
        return self.settings.state_dir

    def storage(self, repository: str) -> Storage:
        """Raises NotFoundError for a repository that is not one of the target's."""
        if repository not in self.repositories:
            raise NotFoundError(
                f"{self.target.name} has no repository {repository!r}",
                op="choose repository",
                hint=f"Name one of: {', '.join(self.repositories)}.",
            )
        return self.repositories[repository]

    def catalog(self, repository: str) -> Catalog:
        return Catalog(self.storage(repository), self.target.name, self.keyring, clock=self.clock)

    def folder(self, name: str) -> Path:
        """A 0700 folder below the state directory."""
        path = self.state_dir / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        return path


def sweep_state(context: Context) -> None:
    """Remove what runs that were killed left in the state directory: nobody else would.

    What a living process uses is locked by it, and stays.

    Raises:
        SpaceError, StorageError: The state directory cannot be written.
    """
    with disk_errors("sweep state directory", context.state_dir):
        sweep(context.folder("spool"), timedelta(0))
        for prefix in ("verify-", "copy-"):
            ephemeral.sweep(context.folder("work"), prefix)


def recipients(settings: Settings) -> tuple[str, ...]:
    """The age recipients; empty only when that was written out on purpose.

    Raises:
        UsageError: ``[encryption]`` was never said.
    """
    if settings.encryption.recipients is None:
        raise UsageError(
            "no encryption is configured",
            op="check encryption",
            hint="Run: pra key make, and put the recipient it prints under [encryption] in pra.toml.",
        )
    return tuple(settings.encryption.recipients)


@contextmanager
def exclusive(context: Context) -> Iterator[None]:
    """Keep two backups of one target apart by an advisory lock on the server itself.

    A pooler is refused first: in one of its sessions the lock would outlive us. Meanwhile it is
    `Context.lock`: whoever reads the server asks it before and after.

    Raises:
        BusyError: Another backup of this target is running.
        ConnectError: The server does not answer, or not as one session.
    """
    check_pooler(context.server.connect)
    lock = TargetLock(context.server, context.target.name)
    lock.take()
    context.lock = lock
    try:
        yield
    finally:
        context.lock = None
        lock.release()
