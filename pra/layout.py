"""Object keys: the only module that knows where things lie in a repository.

::

    <target>/backups/<id>/objects/<name>
    <target>/backups/<id>/manifest.json       written last: its presence is the commit
    <target>/evidence/<sequence>.json
    <target>/leases/<id>
"""

from __future__ import annotations

import re

from pra.errors import IntegrityError, UsageError
from pra.model import BACKUP_ID, NAME

OBJECT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_LEASE_ID = re.compile(r"[a-z0-9-]{1,80}")
_EVIDENCE = re.compile(r"(\d{10})\.json")
MANIFEST = "manifest.json"


def target_prefix(target: str) -> str:
    if not NAME.fullmatch(target):
        raise UsageError(
            f"not a target's name: {target!r}", op="name object", hint="Use a-z, 0-9 and -, at most 40."
        )
    return f"{target}/"


def backups_prefix(target: str) -> str:
    return f"{target_prefix(target)}backups/"


def backup_prefix(target: str, backup_id: str) -> str:
    # Not only well-formed ids: what lies under another name must be listed and removed as well.
    if not backup_id or "/" in backup_id or backup_id in (".", ".."):
        raise UsageError(f"not a backup id: {backup_id!r}", op="name object")
    return f"{backups_prefix(target)}{backup_id}/"


def manifest_key(target: str, backup_id: str) -> str:
    return f"{backup_prefix(target, backup_id)}{MANIFEST}"


def objects_prefix(target: str, backup_id: str) -> str:
    return f"{backup_prefix(target, backup_id)}objects/"


def object_key(target: str, backup_id: str, name: str) -> str:
    """Raises IntegrityError for a name that could leave its directory: names come from manifests."""
    if not OBJECT_NAME.fullmatch(name):
        raise IntegrityError(f"not an object's name: {name[:80]!r}", op="name object")
    if not BACKUP_ID.fullmatch(backup_id):
        raise UsageError(f"not a backup id: {backup_id!r}", op="name object")
    return f"{objects_prefix(target, backup_id)}{name}"


def evidence_prefix(target: str) -> str:
    return f"{target_prefix(target)}evidence/"


def evidence_key(target: str, sequence: int) -> str:
    """Ten digits, so that keys sort by number."""
    return f"{evidence_prefix(target)}{sequence:010d}.json"


def evidence_sequence(key: str) -> int | None:
    """The number in an evidence key; None for anything else that lies there."""
    match = _EVIDENCE.fullmatch(key.rsplit("/", 1)[-1])
    return int(match[1]) if match else None


def leases_prefix(target: str) -> str:
    return f"{target_prefix(target)}leases/"


def lease_key(target: str, lease_id: str) -> str:
    if not _LEASE_ID.fullmatch(lease_id):
        raise UsageError(f"not a lease id: {lease_id!r}", op="name object")
    return f"{leases_prefix(target)}{lease_id}"


def split_backup_key(target: str, key: str) -> tuple[str, str] | None:
    """``(backup id, rest)`` for a key below ``backups/``; None for any other key."""
    prefix = backups_prefix(target)
    if not key.startswith(prefix):
        return None
    backup_id, slash, rest = key[len(prefix) :].partition("/")
    return (backup_id, rest) if backup_id and slash and rest else None
