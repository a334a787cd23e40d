"""What was read again when, in one small object of the repository itself: whoever scrubs next goes on there.

Compressed JSON, written conditionally; two scrubs at once are merged. By the end of an object's key it has
the second of its last check and, for WAL that could not be decrypted, the beginning of the SHA-256 of its
stored bytes: without the identity a later change shows against that alone.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

import zstandard

from pra.errors import BusyError, ObjectExists, ObjectMissing
from pra.layout import scrub_key
from pra.storage.base import Storage

SCHEMA = "pra/scrub-state/1"
_TRIES = 5
_DIGITS = 16
_LARGEST = 64 << 20


@dataclass
class ScrubState:
    """By short name: when it was checked; the hash it had; and what is known to be damaged."""

    checked: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)

    def when(self, key: str, modified: datetime) -> datetime:
        """The last time it was read whole; publishing reads back."""
        second = self.checked.get(short(key))
        return modified if second is None else max(modified, datetime.fromtimestamp(second, UTC))

    def passed(self, key: str, now: datetime, sha256: str = "") -> None:
        name = short(key)
        self.checked[name] = int(now.timestamp())
        self.damaged.pop(name, None)
        if sha256:
            self.hashes[name] = sha256[:_DIGITS]

    def failed(self, key: str, message: str, now: datetime) -> None:
        self.checked[short(key)] = int(now.timestamp())
        self.damaged[short(key)] = message

    def same_hash(self, key: str, sha256: str) -> bool | None:
        """Whether the stored bytes are those of before; None: nobody has noted any."""
        known = self.hashes.get(short(key))
        return None if known is None else sha256.startswith(known)

    def is_damaged(self, key: str) -> bool:
        return short(key) in self.damaged


def short(key: str) -> str:
    """A key without its target, and of a WAL segment's hash no more than tells two contents apart."""
    _, _, rest = key.partition("/")
    head, dash, tail = rest.rpartition("-")
    return f"{head}{dash}{tail[:12]}" if rest.startswith("wal/") and len(tail) > 64 else rest


def load(storage: Storage, target: str) -> tuple[ScrubState, bytes | None]:
    """The state, and its bytes as they were found (None: there is none yet).

    One that cannot be read is taken for none: then everything counts as checked when it was published.

    Raises:
        StorageError: The repository does not answer.
    """
    try:
        data = storage.read(scrub_key(target), limit=_LARGEST)
    except ObjectMissing:
        return ScrubState(), None
    try:
        if not 0 < zstandard.frame_content_size(data) <= _LARGEST:
            raise ValueError("a size that no state has")
        document = json.loads(zstandard.ZstdDecompressor().decompress(data))
        if document["schema"] != SCHEMA:
            raise ValueError("another schema")
        state = ScrubState(
            {str(name): int(second) for name, second in document["checked"].items()},
            {str(name): str(digest) for name, digest in document["hashes"].items()},
            {str(name): str(message) for name, message in document["damaged"].items()},
        )
    except (zstandard.ZstdError, ValueError, KeyError, TypeError, AttributeError):
        return ScrubState(), data
    return state, data


def store(
    storage: Storage, target: str, state: ScrubState, previous: bytes | None, there: Collection[str]
) -> None:
    """Write it; what somebody else has written meanwhile is taken along.

    Args:
        there: The keys that exist; everything else is forgotten.

    Raises:
        BusyError: Others kept writing. StorageError: The repository failed.
    """
    names = {short(key) for key in there}
    for _ in range(_TRIES):
        data = _bytes(state, names)
        try:
            storage.replace(scrub_key(target), data, previous=previous)
        except ObjectExists:
            other, previous = load(storage, target)
            state = _merged(state, other)
        else:
            return
    raise BusyError("others kept writing what was scrubbed", op="note scrub", transient=True)


def _merged(ours: ScrubState, theirs: ScrubState) -> ScrubState:
    """The later check of each counts."""
    newer = {n: s for n, s in theirs.checked.items() if s > ours.checked.get(n, 0)}
    damaged = {n: m for n, m in ours.damaged.items() if n not in newer}
    damaged |= {n: m for n, m in theirs.damaged.items() if n in newer}
    return ScrubState(ours.checked | newer, theirs.hashes | ours.hashes, damaged)


def _bytes(state: ScrubState, names: Collection[str]) -> bytes:
    document = {
        "schema": SCHEMA,
        "checked": {n: s for n, s in sorted(state.checked.items()) if n in names},
        "hashes": {n: h for n, h in sorted(state.hashes.items()) if n in names},
        "damaged": {n: m for n, m in sorted(state.damaged.items()) if n in names},
    }
    return zstandard.ZstdCompressor(level=6).compress(json.dumps(document, separators=(",", ":")).encode())
