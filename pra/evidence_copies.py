"""Copies of a target's evidence, read whole: from a repository, or from a folder without any settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pra.errors import ObjectMissing, StorageError, UsageError
from pra.evidence_chain import Copies, Head
from pra.layout import evidence_prefix, evidence_sequence
from pra.manifest import Manifest
from pra.storage.base import Storage

LARGEST = 16 << 20
_AT_ONCE = 8


def from_storage(storage: Storage, target: str) -> Copies:
    """Every record that one repository holds.

    Raises:
        StorageError: It cannot be listed. A single record that cannot be read is noted.
    """
    keys, strange = _sorted_out([stat.key for stat in storage.list(evidence_prefix(target))])
    records: dict[int, bytes] = {}
    unread: dict[int, str] = {}

    def read(sequence: int) -> None:
        try:
            records[sequence] = storage.read(keys[sequence], limit=LARGEST)
        except ObjectMissing:
            pass  # gone since it was listed: told as missing
        except StorageError as error:
            unread[sequence] = error.message

    # One by one, years of records on S3 would take minutes.
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="evidence") as pool:
        for each in [pool.submit(read, sequence) for sequence in keys]:
            each.result()
    return Copies(storage.name, records, unread, strange)


def from_folder(folder: Path) -> Copies:
    """Every record in a folder that somebody copied them to.

    Raises:
        UsageError: It is no folder, cannot be read, or holds no record.
    """
    op, hint = "read evidence", "Copy the files of TARGET/evidence/ there, such as 0000000001.json."
    records: dict[int, bytes] = {}
    unread: dict[int, str] = {}
    try:
        paths = {path.name: path for path in folder.iterdir() if path.suffix == ".json"}
    except OSError as error:
        raise UsageError(f"cannot read the folder {folder}: {error.strerror}", op=op, hint=hint) from error
    keys, strange = _sorted_out(paths)
    for sequence, name in keys.items():
        try:
            with paths[name].open("rb") as file:
                records[sequence] = file.read(LARGEST)
        except OSError as error:
            unread[sequence] = error.strerror or type(error).__name__
    if not keys:
        raise UsageError(f"no record of evidence in {folder}", op=op, hint=hint)
    return Copies(folder.name or str(folder), records, unread, strange)


def heads_of(manifests: Iterable[Manifest], repository: str) -> Sequence[Head]:
    """What signed manifests remember of the evidence, each as a head with its source."""
    return tuple(
        Head(head.sequence, head.sha256, f"the manifest {manifest.backup_id} in {repository}")
        for manifest in manifests
        if (head := manifest.evidence_head) is not None
    )


def _sorted_out(names: Iterable[str]) -> tuple[dict[int, str], tuple[str, ...]]:
    """Names by their number, and those that have none."""
    keys: dict[int, str] = {}
    strange: list[str] = []
    for name in sorted(names):
        sequence = evidence_sequence(name)
        if sequence:
            keys[sequence] = name
        else:
            strange.append(name.rsplit("/", 1)[-1])
    return keys, tuple(strange)
