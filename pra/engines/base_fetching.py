"""A base backup's volumes, verified and unpacked straight into a data directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pra.engines.reading import Report, no_report
from pra.manifest import Manifest
from pra.proc import Account, Scope
from pra.storage.base import Storage

SMALL_BYTES = 8 << 20
"""Up to this much to decrypt, one process beside us does it all."""


@dataclass(frozen=True)
class BaseFiles:
    """One member of a chain on this machine, in clear.

    Attributes:
        directory: The data directory (of an incremental backup: ``INCREMENTAL.*`` files among it), whole.
        extras: Folder of the other objects, by name without ``.zst`` and ``.age``: ``fingerprint.json``,
            ``configuration.json``, the lineage.
        bytes: Fetched from the repository.
        tablespaces: Where each tablespace's files were put, by OID.
    """

    directory: Path
    extras: Path
    bytes: int
    tablespaces: Mapping[int, Path] = field(default_factory=dict)


def fetch_base(
    storage: Storage,
    key_of: Callable[[str], str],
    manifest: Manifest,
    directory: Path,
    *,
    scope: Scope,
    identities: Sequence[str],
    jobs: int = 2,
    tablespaces: Mapping[int, Path] | None = None,
    extras: Path | None = None,
    owner: Account | None = None,
    report: Report = no_report,
    small_bytes: int = SMALL_BYTES,
) -> BaseFiles:
    """Bring every object, verify it against the manifest, decrypt and unpack it.

    Every volume lands in ``directory`` as PostgreSQL expects it; ``global/pg_control`` is put there last, after
    everything else was verified, so that a server never starts on a part. ``tablespace_map`` is rewritten to
    say what ``tablespaces`` says.

    Args:
        key_of: Gives an object's key from its name.
        directory: An existing, empty 0700 folder.
        jobs: Processes that unpack side by side.
        tablespaces: By OID: the existing, empty 0700 folder for it. Every one the manifest names must be there.
        extras: Folder for the other objects, made here 0700; default: ``<directory>.extras`` beside it.
        owner: Whose the files become, where we are root.
        report: Called with ("fetch", bytes so far, bytes in all).
        small_bytes: Up to this size one process is enough.

    Raises:
        UsageError: A folder is not empty, or a tablespace has none.
        IntegrityError: An object is not what was signed; the message names it.
        DecryptError: No identity opens it.
        StorageError: The repository failed. SpaceError: The disk is full.
    """
    raise NotImplementedError
