"""The evidence of a target held against itself: every repository's copies, and what manifests remember."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pra.errors import PraError, StorageError
from pra.evidence_chain import Chain, Copies, Head, walk
from pra.evidence_copies import from_storage, heads_of
from pra.keys import Keyring
from pra.procedures.context import Context


@dataclass(frozen=True)
class Audit:
    """What was walked, and what was found.

    Attributes:
        places: Repositories, or the folder, whose copies were read.
        heads: How many heads known from elsewhere the records were held against.
        unreached: ``(repository, message)``: nothing is known about these.
    """

    chain: Chain
    places: tuple[str, ...]
    heads: int
    unreached: tuple[tuple[str, str], ...] = ()

    @property
    def sound(self) -> bool | None:
        """None: there is no record, so that there was nothing to find."""
        return None if not self.chain.records and self.chain.sound else self.chain.sound

    @property
    def exit_code(self) -> int:
        """0: sound; 1: something was found; 2: a repository was not reached, or there is no evidence."""
        if not self.chain.sound:
            return 1
        return 2 if self.unreached or not self.sound else 0


def audit(context: Context, *, heads: Sequence[Head] = (), keyring: Keyring | None = None) -> Audit:
    """Walk the chain in all repositories of the target at once.

    Args:
        heads: Known from elsewhere, beside what the manifests in the repositories carry.
        keyring: Whose signatures count instead of those in the settings.

    Raises:
        StorageError: Not one repository could be listed.
    """
    copies: list[Copies] = []
    known = list(heads)
    unreached: list[tuple[str, str]] = []
    failure: PraError | None = None
    for name, storage in context.repositories.items():
        try:
            copies.append(from_storage(storage, context.target.name))
            entries = context.catalog(name).backups()
        except StorageError as error:
            failure = error
            unreached.append((name, error.message))
            continue
        known += heads_of([entry.manifest for entry in entries if entry.manifest is not None], name)
    if failure is not None and not copies:
        raise failure
    trusted = context.keyring if keyring is None else keyring
    chain = walk(copies, trusted, target=context.target.name, heads=known)
    return Audit(chain, tuple(each.name for each in copies), len(known), tuple(unreached))
