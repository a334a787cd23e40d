"""What was read of immutable objects, kept in the state directory so that a year is read once.

An entry stands for one object of one repository, by its key, size, time and tag as listed; should any of
them differ the object is read again. It is a convenience for figures: whoever restores, expires or audits
reads the repository itself. Records that cannot be believed are never kept, and everything is forgotten when
the trusted keys change.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from pra.errors import PraError
from pra.keys import Keyring
from pra.storage.base import ObjectStat, Storage
from pra.watch.status.record import write_whole

_FORM = 1
_LARGEST = 64 << 20
MOST = 50_000
"""Entries kept of one target in one repository: the newest keys."""
_log = logging.getLogger(__name__)


@dataclass
class Cache:
    """Entries by key. Nothing is written before `store`, and only what was asked for since `load` stays."""

    path: Path
    about: str
    entries: dict[str, tuple[str, Any]] = field(default_factory=dict)
    used: dict[str, tuple[str, Any]] = field(default_factory=dict)
    changed: bool = False

    @classmethod
    def load(cls, folder: Path, name: str, storage: Storage, keyring: Keyring) -> Cache:
        """What is there; nothing when it cannot be read, or is about other keys or another place."""
        trusted = sorted(f"{key.key_id} {key.retired_at}" for key in keyring)
        about = hashlib.sha256(json.dumps([_FORM, storage.url, trusted]).encode()).hexdigest()
        found = cls(folder / f"{name}.json.zst", about)
        try:
            data = found.path.read_bytes()
            if not 0 < zstandard.frame_content_size(data) <= _LARGEST:
                return found
            document = json.loads(zstandard.ZstdDecompressor().decompress(data))
            if document["about"] == about:
                found.entries = {str(key): (str(a), b) for key, (a, b) in document["entries"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, zstandard.ZstdError):
            pass  # made anew
        return found

    def get(self, stat: ObjectStat) -> Any | None:
        """What was kept of this object; None where it has to be read."""
        known = self.entries.get(stat.key)
        if known is None or known[0] != stat.stamp:
            return None
        self.used[stat.key] = known
        return known[1]

    def put(self, stat: ObjectStat, value: Mapping[str, Any]) -> None:
        self.used[stat.key] = (stat.stamp, value)
        self.changed = True

    def forget(self, stat: ObjectStat) -> None:
        """It cannot be believed any more."""
        self.used.pop(stat.key, None)

    def store(self) -> None:
        """Keep what was used. That it cannot be written is no reason not to show figures."""
        if not self.changed and len(self.used) == len(self.entries):
            return
        kept = dict(sorted(self.used.items(), reverse=True)[:MOST])
        data = json.dumps({"about": self.about, "entries": kept}, separators=(",", ":")).encode()
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self.path, zstandard.ZstdCompressor(level=3).compress(data), lasting=False)
        except (PraError, OSError) as error:
            _log.warning("not remembered: %s", getattr(error, "message", type(error).__name__))
        self.entries, self.changed = dict(self.used), False
