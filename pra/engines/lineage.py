"""What an incremental backup refers to: PostgreSQL's ``backup_manifest`` of the backup before.

The server needs of it the files' names and sizes, and which WAL the backup covers. Without the checksums it
is a third as long. It is stored unencrypted, so that whoever only writes backups can read it: it holds names
of files, which are numbers, and no content.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from pra.errors import IntegrityError
from pra.postgres.wal import parse_lsn

OBJECT = "lineage.zst"
_OP = "read backup manifest"
_VERSION = "PostgreSQL-Backup-Manifest-Version"
_CHECKSUM = "Manifest-Checksum"
_KEPT = ("Path", "Encoded-Path", "Size")


@dataclass(frozen=True)
class BackupFacts:
    """What ``backup_manifest`` says of a base backup; LSNs are byte positions.

    Attributes:
        system_identifier: Empty before PostgreSQL 17, which does not say.
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
    document = _parse(data)
    try:
        ranges = document["WAL-Ranges"]
        if len(ranges) != 1:
            raise IntegrityError("a base backup that spans several timelines", op=_OP)
        files = document["Files"]
        return BackupFacts(
            system_identifier=str(document.get("System-Identifier", "")),
            timeline=int(ranges[0]["Timeline"]),
            start=parse_lsn(ranges[0]["Start-LSN"]),
            stop=parse_lsn(ranges[0]["End-LSN"]),
            files=len(files),
            file_bytes=sum(int(file["Size"]) for file in files),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError("a backup manifest that is not whole", op=_OP) from error


def lineage_of(data: bytes) -> bytes:
    """The same manifest without checksums and times of files, sealed anew with its own checksum.

    Raises:
        IntegrityError: It is not a backup manifest, or its checksum is wrong.
    """
    document = _parse(data)
    try:
        kept = [{key: file[key] for key in _KEPT if key in file} for file in document["Files"]]
        lines = [f'{{ "{_VERSION}": {int(document[_VERSION])},']
        if "System-Identifier" in document:
            lines.append(f'"System-Identifier": {int(document["System-Identifier"])},')
        lines += ['"Files": [', _rows(kept), "],", '"WAL-Ranges": [', _rows(document["WAL-Ranges"]), "],"]
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError("a backup manifest that is not whole", op=_OP) from error
    body = ("\n".join(lines) + "\n").encode()
    return body + f'"{_CHECKSUM}": "{hashlib.sha256(body).hexdigest()}"}}\n'.encode()


def _rows(rows: list[dict[str, Any]]) -> str:
    return ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


def _parse(data: bytes) -> dict[str, Any]:
    """The document, once its last line agrees with what stands before it (``verify_manifest_checksum`` in
    PostgreSQL's ``common/parse_manifest.c``).
    """
    body = data[: data.rstrip(b"\n").rfind(b"\n") + 1]
    try:
        document = json.loads(data.decode("utf-8"))
        said = document[_CHECKSUM]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError("not a backup manifest", op=_OP) from error
    if said != hashlib.sha256(body).hexdigest():
        raise IntegrityError(
            "the backup manifest's own checksum is wrong", op=_OP, hint="Take the backup again."
        )
    return dict(document)
