"""What the evidence says about proofs and drills, without reading the whole chain every five minutes.

Records never change, so that what one said is kept in the state directory and only new ones are read. It is
a convenience for watching: whoever restores, expires or audits reads the chain itself.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pra.disk import disk_errors
from pra.errors import PraError
from pra.evidence import EvidenceLog
from pra.evidence_record import EvidenceRecord
from pra.procedures.context import Context
from pra.storage.files import sync
from pra.timing import from_iso

_FORM = 1
_KINDS = frozenset({"verification", "drill", "failover", "scrub"})
_KEPT = timedelta(days=800)
_log = logging.getLogger(__name__)
_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


@dataclass(frozen=True)
class Said:
    """What one record of evidence says. ``at`` in ISO form; ``verdict`` is empty where it has none."""

    sequence: int
    sha256: str
    kind: str
    at: str
    verdict: str
    backup_id: str
    repository: str


def said(context: Context, repository: str) -> list[Said]:
    """Verifications, drills, failovers and scrubs as this repository has them, newest first.

    Each repository holds every record, or gets it with the next: one that hangs hides nothing of the others.

    Raises:
        StorageError: It does not answer.
    """
    name = f"evidence-{context.target.name}-{repository}.json"
    path = context.folder("status") / name
    with _locks[name]:
        known = {each.sequence: each for each in _load(path)}
        log = EvidenceLog([context.storage(repository)], context.target.name, None, context.keyring)
        new, whole = _read_on(log, max(known, default=0), context.clock() - _KEPT)
        merged = known | new
        if new and whole:
            _store(path, merged.values())
    return [each for _, each in sorted(merged.items(), reverse=True) if each.kind in _KINDS]


def _read_on(log: EvidenceLog, newest: int, oldest: datetime) -> tuple[dict[int, Said], bool]:
    """The records behind ``newest``, and whether there is no hole among them that may close later."""
    found: dict[int, Said] = {}
    whole = True
    for record in log.records():
        if record.sequence <= newest or (not record.problem and record.at < oldest):
            break
        if record.problem:
            whole = whole and not record.unread
        else:
            found[record.sequence] = _of(record)
    return found, whole


def _of(record: EvidenceRecord) -> Said:
    body: Mapping[str, Any] = record.body
    return Said(
        record.sequence,
        record.sha256,
        record.kind,
        record.at.isoformat(),
        str(body.get("verdict") or ""),
        str(body.get("backup_id") or ""),
        str(body.get("repository") or ""),
    )


def _load(path: Path) -> list[Said]:
    try:
        document = json.loads(path.read_text())
        if document["form"] != _FORM:
            return []
        found = [Said(**item) for item in document["items"]]
        for each in found:
            from_iso(each.at)
    except (OSError, ValueError, KeyError, TypeError):
        return []  # made anew
    return found


def _store(path: Path, items: Iterable[Said]) -> None:
    document = {"form": _FORM, "items": [asdict(each) for each in items]}
    try:
        write_whole(path, json.dumps(document).encode())
    except PraError as error:
        _log.warning("not remembered: %s", error.message)


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file of the state directory at once. Raises SpaceError, StorageError."""
    with disk_errors("write status", path.parent):
        temporary = path.with_name(f".tmp-{path.name}-{threading.get_ident()}")
        try:
            with temporary.open("wb") as file:
                temporary.chmod(0o600)
                file.write(data)
                file.flush()
            temporary.replace(path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
