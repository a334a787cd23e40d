"""What this host remembers of one target's evidence in one repository, from pass to pass."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pra.disk import disk_errors
from pra.evidence_record import EvidenceRecord
from pra.storage.files import sync
from pra.timing import from_iso, to_iso

_FORM = 3
_KINDS = frozenset({"verification", "drill", "failover", "scrub"})


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


@dataclass
class Kept:
    """What this host remembers of one target's evidence in one repository.

    Attributes:
        newest: The highest number that was looked at, and ``sha256`` of the newest believable record.
        head: The number of that record.
        down_to: Everything from here up to ``newest`` was looked at; 1 when there is nothing more to read.
        stamp: Of ``newest``, as listed: a repository that was set back has it no more, or has another.
        behind: The number before ``newest`` that was listed; 0: there was none.
        holes: Numbers between that could not be read, or were not there.
        stamps: As listed, of each record in ``items``, and of each that could not be believed.
        listed_at: When the whole listing was last read.
    """

    newest: int = 0
    stamp: str = ""
    behind: int = 0
    head: int = 0
    sha256: str = ""
    down_to: int = 1
    holes: set[int] = field(default_factory=set)
    stamps: dict[int, str] = field(default_factory=dict)
    listed_at: datetime | None = None
    items: dict[int, Said] = field(default_factory=dict)

    def take(self, sequence: int, record: EvidenceRecord | None, stamp: str) -> None:
        """What one says; None: it cannot be believed."""
        self.holes.discard(sequence)
        if record is not None and sequence > self.head:
            self.head, self.sha256 = sequence, record.sha256
        if record is None or record.kind in _KINDS:
            self.stamps[sequence] = stamp
        if record is not None and record.kind in _KINDS:
            self.items[sequence] = _of(record)

    def reached(self, newest: int, there: Mapping[int, str]) -> None:
        """Up to this one of those that are listed."""
        self.newest, self.stamp = newest, there[newest]
        self.behind = max((number for number in there if number < newest), default=0)

    def drop(self, sequence: int) -> None:
        """It is gone, or another one by now."""
        self.stamps.pop(sequence, None)
        self.items.pop(sequence, None)

    def forget(self) -> None:
        """Everything but the head: that this host has seen it stays true."""
        self.newest, self.stamp, self.behind, self.down_to, self.listed_at = 0, "", 0, 1, None
        self.holes, self.stamps, self.items = set(), {}, {}

    def as_bytes(self, about: str) -> bytes:
        """To be written into the state directory; ``about``: the place, and whose signatures count."""
        document = {
            "form": _FORM,
            "about": about,
            "newest": self.newest,
            "stamp": self.stamp,
            "behind": self.behind,
            "head": self.head,
            "sha256": self.sha256,
            "down_to": self.down_to,
            "holes": sorted(self.holes),
            "stamps": {str(number): stamp for number, stamp in self.stamps.items()},
            "listed_at": to_iso(self.listed_at) if self.listed_at else None,
            "items": [asdict(each) for each in self.items.values()],
        }
        return json.dumps(document).encode()


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


def load(path: Path, about: str) -> Kept:
    """As left; nothing where it cannot be read, or is about other keys or another place: it is made anew."""
    try:
        document = json.loads(path.read_text())
        if (document["form"], document["about"]) != (_FORM, about):
            return Kept()
        items = [Said(**item) for item in document["items"]]
        for each in items:
            from_iso(each.at)
        return Kept(
            newest=int(document["newest"]),
            stamp=str(document["stamp"]),
            behind=int(document["behind"]),
            head=int(document["head"]),
            sha256=str(document["sha256"]),
            down_to=int(document["down_to"]),
            holes={int(number) for number in document["holes"]},
            stamps={int(number): str(stamp) for number, stamp in document["stamps"].items()},
            listed_at=from_iso(document["listed_at"]) if document["listed_at"] else None,
            items={each.sequence: each for each in items},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Kept()


def write_whole(path: Path, data: bytes, *, lasting: bool = True) -> None:
    """Replace a file of the state directory at once.

    Args:
        lasting: It must not be the old one after a power cut; what can be fetched again need not be that.

    Raises:
        SpaceError, StorageError: It cannot be written.
    """
    with disk_errors("write status", path.parent):
        temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}-{threading.get_ident()}")
        try:
            with temporary.open("wb") as file:
                temporary.chmod(0o600)
                file.write(data)
                file.flush()
            temporary.replace(path)
            if lasting:
                sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
