"""Evidence once more, 250 records in one object: a year of an hourly backup is 36, not 8,885.

A bundle is a copy: the stored bytes of consecutive records, each with its own signature, so that it needs
none and vouches for nothing. Whoever reads one checks every record as if it had come alone, and takes none
that the repository does not list with as many bytes. It serves those who show figures, on a machine that has
not seen the records yet; whoever restores, expires or audits reads the records themselves. Without bundles
everything works, only the first reading takes as many requests as there are records.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import zstandard

from pra.errors import IntegrityError, ObjectExists, ObjectMissing, PraError, StorageError
from pra.evidence_record import read_record
from pra.keys import Keyring, load_keyring
from pra.layout import bundle_key, bundles_prefix, evidence_key, split_bundle_key
from pra.settings import Settings, Target
from pra.side_by_side import side_by_side
from pra.storage import open_storage
from pra.storage.base import Storage
from pra.watch.status.record import head_here, write_whole

SCHEMA = "pra/evidence-bundle/1"
SIZE = 250
"""The fewer, the sooner they are there: those of a bundle that is not whole yet are read one by one."""
_LARGEST = 256 << 20
_RECORD = 16 << 20
_log = logging.getLogger(__name__)


def pack(target: str, first: int, records: Sequence[bytes]) -> bytes:
    """Stored records, in order, as one object. In their canonical form none holds the end of a line."""
    head = json.dumps({"schema": SCHEMA, "target": target, "first": first}, separators=(",", ":")).encode()
    return zstandard.ZstdCompressor(level=6).compress(b"\n".join([head, *records]) + b"\n")


def unpack(data: bytes, target: str, first: int) -> list[bytes]:
    """Raises StorageError when it is none, of another schema, or of something else than its key says."""
    try:
        if not 0 < zstandard.frame_content_size(data) <= _LARGEST:
            raise ValueError("a size that no bundle has")
        head, *records = zstandard.ZstdDecompressor().decompress(data).split(b"\n")[:-1]
        found = json.loads(head)
        if (found["schema"], found["target"], found["first"]) != (SCHEMA, target, first):
            raise ValueError("another one")
    except (zstandard.ZstdError, ValueError, KeyError, TypeError):
        raise StorageError("not this bundle of evidence", op="read bundle", transient=False) from None
    return records


class Bundled:
    """The records of one target that bundles hold. Each is fetched when its first record is asked for.

    Args:
        place: Where the bundles are.
    """

    def __init__(self, place: Storage, target: str) -> None:
        self._place, self._target = place, target
        self._lock = threading.Lock()
        self._spans: list[tuple[int, int]] | None = None
        self._records: dict[int, bytes] = {}
        self._fetched: set[tuple[int, int]] = set()

    def get(self, sequence: int) -> bytes | None:
        """As some writer of bundles read it, unchecked. None where no bundle has it, or it cannot be read."""
        with self._lock:
            span = next((s for s in self._listed() if s[0] <= sequence <= s[1]), None)
            if span is not None and span not in self._fetched:
                self._fetched.add(span)
                self._fetch(*span)
            return self._records.pop(sequence, None)  # asked for once: what was read is kept as a fact

    def _listed(self) -> list[tuple[int, int]]:
        if self._spans is None:
            self._spans = []
            try:
                keys = [stat.key for stat in self._place.list(bundles_prefix(self._target))]
                self._spans = [span for key in keys if (span := split_bundle_key(key))]
            except PraError as error:
                _log.warning("bundles of evidence are not used: %s", error.message)
        return self._spans

    def _fetch(self, first: int, last: int) -> None:
        key = bundle_key(self._target, first, last)
        try:
            records = unpack(self._place.read(key, limit=_LARGEST), self._target, first)
        except PraError as error:
            _log.warning("%s is not used: %s", key, error.message)
            return
        self._records |= dict(zip(range(first, last + 1), records, strict=False))


# -- writing -------------------------------------------------------------------------------------


def publish_bundle(settings: Settings, place: Storage) -> str | None:
    """Write the next bundle that is due, of one target: one at most, since each of its records is a request.

    Returns:
        Its key; None when none is due.

    Raises:
        StorageError: A repository failed; it is tried again.
        SpaceError: The state directory is full.
    """
    file = settings.state_dir / "status" / "bundles.json"
    done = _done(file)
    for target in settings.targets.values():
        heads = [head_here(settings.state_dir, target.name, name)[0] for name in target.repositories]
        first = done.get(target.name, 0) + 1
        if max(heads) < first + SIZE - 1:
            continue
        repository = target.repositories[heads.index(max(heads))]
        key = _publish(settings, target, open_storage(settings.repositories[repository]), place, first)
        done[target.name] = first + SIZE - 1
        write_whole(file, json.dumps(done).encode())
        return key
    return None


def _publish(settings: Settings, target: Target, source: Storage, place: Storage, first: int) -> str | None:
    """None where it is there already, or a record is missing or unbelievable: then nobody bundles these."""
    last = first + SIZE - 1
    key = bundle_key(target.name, first, last)
    if place.stat(key) is not None:
        return None
    keyring = load_keyring(settings.signing, settings.state_dir)
    try:
        records = side_by_side(
            lambda number: _sound(source, target.name, number, keyring), range(first, last + 1)
        )
    except (IntegrityError, ObjectMissing) as error:
        _log.warning(
            "no bundle of %s is made of evidence %d to %d: %s", target.name, first, last, error.message
        )
        return None
    try:
        place.create(key, pack(target.name, first, records))
    except ObjectExists:
        return None  # another host was first
    return key


def _sound(source: Storage, target: str, number: int, keyring: Keyring) -> bytes:
    data = source.read(evidence_key(target, number), limit=_RECORD)
    read_record(data, keyring, target=target, sequence=number, repository=source.name)
    return data


def _done(file: Path) -> dict[str, int]:
    """How far each target is bundled, as this host knows."""
    try:
        return {str(target): int(number) for target, number in json.loads(file.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
