"""What an incremental backup refers to: PostgreSQL's ``backup_manifest`` of the backup before.

The server needs of it the files' names and sizes, and which WAL the backup covers. Without the checksums it
is a third as long. It is stored unencrypted, so that whoever only writes backups can read it: it holds names
of files, which are numbers, and no content.
"""

from __future__ import annotations

from dataclasses import dataclass

OBJECT = "lineage.zst"


@dataclass(frozen=True)
class BackupFacts:
    """What ``backup_manifest`` says of a base backup; LSNs are byte positions.

    Attributes:
        files: How many.
        file_bytes: Their sizes summed: of an incremental backup, what changed.
    """

    system_identifier: str
    timeline: int
    start: int
    stop: int
    files: int
    file_bytes: int


def read_backup_manifest(data: bytes) -> BackupFacts:
    """What a backup's own manifest says of it.

    Raises:
        IntegrityError: It is not one, its checksum is wrong, or it spans several timelines.
    """
    raise NotImplementedError


def lineage_of(data: bytes) -> bytes:
    """The same manifest without checksums and times of files, sealed anew with its own checksum.

    Raises:
        IntegrityError: It is not a backup manifest.
    """
    raise NotImplementedError
