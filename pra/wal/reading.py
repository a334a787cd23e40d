"""Stored WAL back into plaintext, compared with what its key promises."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pyrage
import zstandard

from pra.errors import DecryptError, IntegrityError, ObjectMissing, SettingsError
from pra.layout import WalPartialKey, WalSegmentKey, split_wal_key, wal_partials, wal_same_name
from pra.postgres.wal import begun_bytes, format_lsn, segment_start
from pra.storage.base import Storage
from pra.wal.archive import ArchivedPartial, ArchivedSegment

_LARGEST = 2 << 30
"""A segment is 1 GiB at most; what is larger when stored is none of ours."""
_OP = "read archived WAL"
_OTHER_COPY = "Use another repository's copy, and find out why this one changed."


def read_segment(
    storage: Storage, entry: ArchivedSegment | ArchivedPartial, identities: Sequence[str]
) -> bytes:
    """The plaintext of a segment, or of the beginning of one. In memory: a segment is 16 MiB by default.

    A whole segment is compared with the SHA-256 in its key. Of a partial the key says only how far it leads:
    its contents are covered by zstd's checksum and, where there is one, age. While somebody streams, what was
    listed may have given way to a longer partial or to the whole segment: then that is read, as far as the
    listed one led.

    Raises:
        IntegrityError: The bytes are not those that were archived, or not all of them; names the segment.
        DecryptError: They are, and no identity opens them.
        StorageError: The repository failed.
    """
    where = f"{entry.name} in {storage.name}"
    try:
        sealed = storage.read(entry.key, limit=_LARGEST)
    except ObjectMissing:
        if isinstance(entry, ArchivedPartial) and (follower := _follower(storage, entry)):
            return read_segment(storage, follower, identities)[: begun_bytes(entry.name, entry.lsn)]
        raise IntegrityError(f"{where} is missing", op=_OP, hint=_OTHER_COPY) from None
    data = _decompressed(_decrypted(sealed, entry.encrypted, identities, where), where)
    if isinstance(entry, ArchivedPartial):
        return _up_to(data, entry, where)
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise IntegrityError(f"{where} is not what was archived", op=_OP, hint=_OTHER_COPY)
    if entry.until is None:
        return data
    # Zeros are what WAL ends with.
    return data[: entry.until - segment_start(entry.name, len(data))].ljust(len(data), b"\0")


def _follower(storage: Storage, entry: ArchivedPartial) -> ArchivedPartial | ArchivedSegment | None:
    """What took a partial's place: the whole segment, or the longest partial there is now."""
    target, _, _ = entry.key.partition("/")
    own = split_wal_key(target, entry.key)
    assert own is not None  # an archive lists nothing else
    longer: list[ArchivedPartial] = []
    places = (wal_same_name, wal_partials)
    for stat in (each for place in places for each in storage.list(place(target, own.system_id, entry.name))):
        key, sizes = split_wal_key(target, stat.key), (stat.bytes, stat.modified)
        if isinstance(key, WalSegmentKey) and stat.bytes:
            return ArchivedSegment(key.key, key.name, key.sha256, key.encrypted, *sizes)
        if isinstance(key, WalPartialKey) and stat.bytes and key.lsn > entry.lsn:
            longer.append(ArchivedPartial(key.key, key.name, key.lsn, key.encrypted, *sizes))
    return max(longer, key=lambda one: one.lsn, default=None)


def _up_to(data: bytes, entry: ArchivedPartial, where: str) -> bytes:
    """The beginning of a segment, all of it: whoever pads what is short takes its end for the WAL's."""
    length = begun_bytes(entry.name, entry.lsn)
    if length is None:
        fact = f"the key of {where} names LSN {format_lsn(entry.lsn)}, which is not in that segment"
        raise IntegrityError(fact, op=_OP, hint=_OTHER_COPY)
    if len(data) < length:
        fact = f"{where} has {len(data)} bytes, and its key promises {length}"
        raise IntegrityError(fact, op=_OP, hint=_OTHER_COPY)
    return data[:length]


def _decrypted(sealed: bytes, encrypted: bool, identities: Sequence[str], where: str) -> bytes:
    if not encrypted:
        return sealed
    if not identities:
        raise DecryptError(f"{where} is encrypted and there is no age identity", op=_OP, hint=_KEY_HINT)
    try:
        keys = [pyrage.x25519.Identity.from_str(text.strip()) for text in identities]
    except pyrage.IdentityError:
        raise SettingsError(
            "an age identity cannot be read", op=_OP, hint="It is one line that begins with AGE-SECRET-KEY-1."
        ) from None
    try:
        return bytes(pyrage.decrypt(sealed, keys))
    except pyrage.DecryptError as error:
        if "matching keys" in str(error):
            fact = f"no age identity given here opens {where}"
            raise DecryptError(fact, op=_OP, hint=_KEY_HINT) from None
        fact = f"{where} cannot be decrypted: {str(error).splitlines()[0].lower()}"
        raise IntegrityError(fact, op=_OP, hint=_OTHER_COPY) from None


def _decompressed(packed: bytes, where: str) -> bytes:
    """Every frame, each to its end: a stream reader takes the end of its input for the end of the data."""
    pieces: list[bytes] = []
    rest = packed
    while rest or not pieces:
        frame = zstandard.ZstdDecompressor().decompressobj()
        try:
            pieces.append(frame.decompress(rest))
        except zstandard.ZstdError as error:
            fact = f"{where} cannot be decompressed: {error}"
            raise IntegrityError(fact, op=_OP, hint=_OTHER_COPY) from None
        if not frame.eof:
            raise IntegrityError(f"{where} is cut short", op=_OP, hint=_OTHER_COPY)
        rest = frame.unused_data
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


_KEY_HINT = (
    "Give the age identity that belongs to one of the recipients: identity_file under [encryption], "
    "or the one on the recovery sheet."
)
