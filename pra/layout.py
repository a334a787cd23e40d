"""Object keys: the only module that knows where things lie in a repository.

::

    <target>/backups/<id>/objects/<name>
    <target>/backups/<id>/manifest.json       written last: its presence is the commit
    <target>/wal/<system id>/<timeline>/<segment>-<sha256 of the plaintext>.zst[.age]
    <target>/wal/<system id>/<timeline>/<timeline>-<sha256>.history
    <target>/wal/<system id>/<timeline>/partial/<segment>-<lsn>.zst[.age]
    <target>/evidence/<sequence>.json
    <target>/leases/<id>
    <target>/scrub.json.zst                   what was read again when
    _status/<host>/<yyyy>/<mm>/<dd>/<hour>-<n>.jsonl.zst, and day-<n>.jsonl.zst once a day is over
    _status/<host>/<yyyy>/<mm>/<dd>/<log>-<n>.log.zst       that day of akig_backup.log or akig_monitoring.log
    _status/evidence/<target>/<first>-<last>.jsonl.zst      records of evidence once more, a thousand in one
    _status/incidents.json                    what is broken, and who was told
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from pra.errors import IntegrityError, UsageError
from pra.model import BACKUP_ID, NAME

OBJECT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_LEASE_ID = re.compile(r"[a-z0-9-]{1,80}")
_EVIDENCE = re.compile(r"(\d{10})\.json")
_BUNDLE = re.compile(r"(\d{10})-(\d{10})\.jsonl\.zst")
MANIFEST = "manifest.json"
_SAMPLES = re.compile(r"_status/([a-z0-9.-]{1,63})/(\d{4})/(\d\d)/(\d\d)/(\d\d|day)-(\d{1,6})\.jsonl\.zst")
_LOG = re.compile(r"_status/[a-z0-9.-]{1,63}/\d{4}/\d\d/\d\d/[a-z_]{1,40}-\d{1,6}\.log\.zst")
_SYSTEM_ID = re.compile(r"\d{1,20}")
_WAL_SEGMENT = re.compile(r"([0-9A-F]{24})-([0-9a-f]{64})\.zst(\.age)?")
_WAL_HISTORY = re.compile(r"([0-9A-F]{8})-([0-9a-f]{64})\.history")
_WAL_PARTIAL = re.compile(r"partial/([0-9A-F]{24})-([0-9A-F]{16})\.zst(\.age)?")


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


def scrub_key(target: str) -> str:
    """Names and times only; written conditionally."""
    return f"{target_prefix(target)}scrub.json.zst"


# -- status: no target is named _status, since a name has no underscore. --------------------------


def incidents_key() -> str:
    """Written conditionally, never locked."""
    return "_status/incidents.json"


def bundles_prefix(target: str) -> str:
    return f"_status/evidence/{target_prefix(target)}"


def bundle_key(target: str, first: int, last: int) -> str:
    """Of the records with these numbers and all between."""
    return f"{bundles_prefix(target)}{first:010d}-{last:010d}.jsonl.zst"


def split_bundle_key(key: str) -> tuple[int, int] | None:
    """The first and the last number in a bundle's key; None for anything else that lies there."""
    match = _BUNDLE.fullmatch(key.rsplit("/", 1)[-1])
    return (int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True)
class SamplesKey:
    """One object of samples: an hour of a day, or (``hour`` None) the whole of it."""

    key: str
    host: str
    day: date
    hour: int | None
    number: int


def samples_prefix(host: str = "", day: date | None = None) -> str:
    """Everything; of one host; of one host and day."""
    return "_status/" + (f"{host}/" if host else "") + (f"{day:%Y/%m/%d}/" if host and day else "")


def samples_key(host: str, day: date, hour: int | None, number: int) -> str:
    part = "day" if hour is None else f"{hour:02d}"
    key = f"{samples_prefix(host, day)}{part}-{number}.jsonl.zst"
    if split_samples_key(key) is None:
        raise UsageError(f"not a host's name: {host[:80]!r}", op="name object")
    return key


def log_key(host: str, day: date, name: str, number: int) -> str:
    """One day of a log. Raises UsageError for a host or a name that no key could hold."""
    key = f"{samples_prefix(host, day)}{name}-{number}.log.zst"
    if not _LOG.fullmatch(key):
        raise UsageError(f"not a log's name: {host[:80]!r} {name[:80]!r}", op="name object")
    return key


def split_samples_key(key: str) -> SamplesKey | None:
    """What a key below ``_status/`` stands for; None for anything else that lies there."""
    match = _SAMPLES.fullmatch(key)
    if match is None:
        return None
    try:
        day = date(int(match[2]), int(match[3]), int(match[4]))
    except ValueError:
        return None
    return SamplesKey(key, match[1], day, None if match[5] == "day" else int(match[5]), int(match[6]))


# -- WAL: age is randomized; by the plaintext's hash in the key two writers write the same key. ---


@dataclass(frozen=True)
class WalSegmentKey:
    """A whole segment. ``name`` is PostgreSQL's, ``sha256`` that of its plaintext."""

    key: str
    system_id: str
    timeline: int
    name: str
    sha256: str
    encrypted: bool


@dataclass(frozen=True)
class WalHistoryKey:
    """A timeline's history file, stored as it is; two of one timeline are a fork."""

    key: str
    system_id: str
    timeline: int
    sha256: str


@dataclass(frozen=True)
class WalPartialKey:
    """The beginning of a segment that is still being written; ``lsn`` is where it ends."""

    key: str
    system_id: str
    timeline: int
    name: str
    lsn: int
    encrypted: bool


WalKey = WalSegmentKey | WalHistoryKey | WalPartialKey


def wal_prefix(target: str, system_id: str | None = None) -> str:
    prefix = f"{target_prefix(target)}wal/"
    if system_id is None:
        return prefix
    if not _SYSTEM_ID.fullmatch(system_id):
        raise IntegrityError(f"not a system identifier: {system_id[:40]!r}", op="name object")
    return f"{prefix}{system_id}/"


def wal_segment_key(target: str, system_id: str, segment: str, sha256: str, *, encrypted: bool) -> str:
    """``sha256`` is of the segment's plaintext."""
    name = f"{segment}-{sha256}.zst{'.age' if encrypted else ''}"
    if not _WAL_SEGMENT.fullmatch(name):
        raise IntegrityError(f"not a WAL segment's name: {name[:120]!r}", op="name object")
    return f"{wal_prefix(target, system_id)}{segment[:8]}/{name}"


def wal_history_key(target: str, system_id: str, timeline: int, sha256: str) -> str:
    return f"{wal_prefix(target, system_id)}{timeline:08X}/{timeline:08X}-{sha256}.history"


def wal_partial_key(target: str, system_id: str, segment: str, lsn: int, *, encrypted: bool) -> str:
    name = f"partial/{segment}-{lsn:016X}.zst{'.age' if encrypted else ''}"
    if not _WAL_PARTIAL.fullmatch(name):
        raise IntegrityError(f"not a WAL segment's name: {name[:120]!r}", op="name object")
    return f"{wal_prefix(target, system_id)}{segment[:8]}/{name}"


def wal_same_name(target: str, system_id: str, name: str) -> str:
    """The prefix of every object of one segment (``name`` of 24 digits) or history (its timeline, of 8)."""
    if not re.fullmatch(r"[0-9A-F]{8}|[0-9A-F]{24}", name):
        raise IntegrityError(f"not a WAL segment's name: {name[:120]!r}", op="name object")
    return f"{wal_prefix(target, system_id)}{name[:8]}/{name}-"


def wal_partials(target: str, system_id: str, segment: str) -> str:
    """The prefix of every beginning of one segment."""
    whole = wal_same_name(target, system_id, segment)
    return f"{whole.removesuffix(f'{segment}-')}partial/{segment}-"


def split_wal_key(target: str, key: str) -> WalKey | None:
    """What a key below ``wal/`` stands for; None for anything else that lies there."""
    prefix = wal_prefix(target)
    if not key.startswith(prefix):
        return None
    system_id, _, rest = key[len(prefix) :].partition("/")
    timeline, _, name = rest.partition("/")
    if not _SYSTEM_ID.fullmatch(system_id) or not name.removeprefix("partial/").startswith(timeline):
        return None
    if match := _WAL_SEGMENT.fullmatch(name):
        return WalSegmentKey(key, system_id, int(timeline, 16), match[1], match[2], bool(match[3]))
    if match := _WAL_HISTORY.fullmatch(name):
        return WalHistoryKey(key, system_id, int(timeline, 16), match[2])
    if match := _WAL_PARTIAL.fullmatch(name):
        lsn = int(match[2], 16)
        return WalPartialKey(key, system_id, int(timeline, 16), match[1], lsn, bool(match[3]))
    return None
