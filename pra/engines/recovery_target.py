"""Where recovery ends: as a person says it, and as PostgreSQL is told. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Literal

from pra.errors import UsageError
from pra.postgres.wal import format_lsn, parse_lsn
from pra.timing import from_iso, parse_duration, to_iso

TargetKind = Literal["latest", "time", "lsn", "xid", "name", "immediate"]

_OP = "read recovery target"
_FORMS = (
    'Write latest, a time ("2026-11-22 10:00", "5 minutes ago"), lsn:0/16B3748, xid:1234 '
    "or name:RESTORE-POINT."
)
_LSN = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2}([.]\d{1,6})?)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})[T ]\s*(?P<hour>\d{1,2}):(?P<rest>\d{2}(?::\d{2}(?:[.]\d{1,6})?)?)"
    r"\s*(?P<offset>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?",
    re.IGNORECASE,
)
_AGO = re.compile(r"(.+?)\s+ago", re.IGNORECASE)
_WORDS = {
    "milliseconds?": "ms", "seconds?|secs?|sec": "s", "minutes?|mins?": "min", "hours?": "h", "days?": "d",
    "weeks?": "w",
}  # fmt: skip
_FIRST_NORMAL_XID = 3
_NAME_BYTES = 63  # MAXFNAMELEN in access/xlog_internal.h, less its end


@dataclass(frozen=True)
class RecoveryTarget:
    """Where recovery ends.

    Attributes:
        kind: ``latest`` is the end of the WAL, ``immediate`` the end of the base backup.
        value: Canonical text: a moment as ``pra.timing.to_iso`` writes it, an LSN, a number, a name.
        inclusive: Whether what is at the target itself (the transaction, the record) is still applied.
        settled: For a time: all WAL up to it is known to be there, so when the WAL ends before a transaction
            of that time, its end is the target.
    """

    kind: TargetKind = "latest"
    value: str = ""
    inclusive: bool = True
    settled: bool = False

    @property
    def moment(self) -> datetime | None:
        """The moment of a time target, in UTC."""
        return from_iso(self.value) if self.kind == "time" else None

    @property
    def lsn(self) -> int | None:
        return parse_lsn(self.value) if self.kind == "lsn" else None

    def text(self, zone: tzinfo | None = None) -> str:
        """As a person reads it; a time in UTC and, where ``zone`` differs, in local time."""
        moment = self.moment
        if moment is None:
            words = {"latest": "the end of the WAL", "immediate": "the end of the base backup"}
            named = {"lsn": "LSN", "xid": "transaction", "name": "restore point"}
            said = words.get(self.kind) or f"{named[self.kind]} {self.value}"
        else:
            said = say(moment, zone)
        return said if self.inclusive or self.kind in ("latest", "immediate") else f"{said}, exclusive"

    def argument(self) -> str:
        """What to give to ``--to`` for the same target."""
        if self.kind in ("lsn", "xid", "name"):
            return f"{self.kind}:{self.value}"
        return self.value or self.kind


LATEST = RecoveryTarget()
IMMEDIATE = RecoveryTarget("immediate")


def say(moment: datetime, zone: tzinfo | None = None) -> str:
    """A moment in UTC and, where it reads differently, in ``zone``: ``2026-11-22 09:00 UTC (10:00 CET)``."""
    utc = moment.astimezone(UTC)
    text = f"{_plain(utc)} UTC"
    if zone is None or (local := moment.astimezone(zone)).utcoffset() == utc.utcoffset():
        return text
    short = _plain(local) if local.date() != utc.date() else _plain(local).split(" ", 1)[1]
    return f"{text} ({short} {local.tzname()})"


def _plain(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(" ", "microseconds" if moment.microsecond else "seconds")


def lsn_target(lsn: int, *, inclusive: bool = True) -> RecoveryTarget:
    """Stop at a position: behind (inclusive) or before the first record that begins at or after it."""
    return RecoveryTarget("lsn", format_lsn(lsn), inclusive)


def time_target(moment: datetime, *, inclusive: bool = True) -> RecoveryTarget:
    """Stop before the first transaction that ended after (inclusive), or at or after, the moment."""
    return RecoveryTarget("time", to_iso(moment), inclusive)


def parse_target(text: str, *, inclusive: bool = True, now: datetime, zone: tzinfo) -> RecoveryTarget:
    """Read what ``--to`` was given.

    ``latest``, ``immediate``, ``2026-11-22 10:00`` (local time unless it says otherwise), ``10:30`` (today),
    ``5 minutes ago``, ``lsn:0/16B3748`` or ``0/16B3748``, ``xid:1234``, ``name:before-release``.

    Args:
        now: The present; a moment after it is refused.
        zone: What a time without an offset is in.

    Raises:
        UsageError: It is none of these, ambiguous or absent in the zone, or in the future.
    """
    said = text.strip()
    if said.lower() in ("latest", "immediate"):
        if not inclusive:
            raise UsageError(
                f"{said.lower()} has nothing at its end to leave out",
                op=_OP,
                hint="Leave out --exclusive, or name a time, an LSN, a transaction or a restore point.",
            )
        return LATEST if said.lower() == "latest" else IMMEDIATE
    head, colon, rest = said.partition(":")
    if colon and head.lower() in ("lsn", "xid", "name", "time"):
        said, kind = rest.strip(), head.lower()
    else:
        kind = "lsn" if _LSN.fullmatch(said) else "time"
    if kind == "lsn":
        return lsn_target(parse_lsn(said), inclusive=inclusive)
    if kind == "xid":
        return RecoveryTarget("xid", _xid(said), inclusive)
    if kind == "name":
        return RecoveryTarget("name", _name(said), inclusive)
    moment = _moment(said, now, zone)
    if moment > now:
        raise UsageError(
            f"{say(moment, zone)} lies in the future: it is {say(now, zone)}",
            op=_OP,
            hint="For the newest state there is, write: latest",
        )
    return time_target(moment, inclusive=inclusive)


def _xid(text: str) -> str:
    if not text.isdecimal() or not _FIRST_NORMAL_XID <= int(text) < 1 << 64:
        raise UsageError(f"not a transaction id: {text[:40]!r}", op=_OP, hint="Write a number: xid:1234")
    return str(int(text))


def _name(text: str) -> str:
    if not text or not text.isprintable() or len(text.encode()) > _NAME_BYTES:
        raise UsageError(
            f"not a restore point's name: {text[:80]!r}",
            op=_OP,
            hint="Give what pg_create_restore_point() was given, at most 63 bytes: name:before-release",
        )
    return text


def _moment(text: str, now: datetime, zone: tzinfo) -> datetime:
    if match := _AGO.fullmatch(text):
        return now - parse_duration(_short_units(match[1]))
    if _CLOCK.fullmatch(text):
        text = f"{now.astimezone(zone).date()} {text}"
    if _DATE.fullmatch(text):
        raise UsageError(
            f"{text} is a day, not a moment", op=_OP, hint=f'Say when: "{text} 00:00" is its beginning.'
        )
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise UsageError(f"not a recovery target: {text[:60]!r}", op=_OP, hint=_FORMS)
    offset = match["offset"] or ""
    if offset.upper() in ("Z", "UTC", "GMT"):
        offset = "+00:00"
    try:
        moment = datetime.fromisoformat(f"{match['day']}T{match['hour'].zfill(2)}:{match['rest']}{offset}")
    except ValueError:
        raise UsageError(f"there is no such moment: {text[:60]!r}", op=_OP, hint=_FORMS) from None
    return moment.astimezone(UTC) if moment.tzinfo is not None else _place(moment, zone)


def _short_units(text: str) -> str:
    for words, unit in _WORDS.items():
        text = re.sub(rf"\s*\b(?:{words})\b", unit, text, flags=re.IGNORECASE)
    return re.sub(r"(\d)\s+(?=[a-z])|\s+|,|\band\b", r"\1", text)


def _place(moment: datetime, zone: tzinfo) -> datetime:
    """A wall clock's time in its zone, in UTC. Twice a year it is none, or two."""
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first.astimezone(UTC)
    skipped = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment
    what = "is skipped" if skipped else "comes twice"
    raise UsageError(
        f"{_plain(moment)} {what} in this time zone: the clocks change",
        op=_OP,
        hint=f"Give the offset: {to_iso(first)} or {to_iso(second)}.",
    )


def settings_of(target: RecoveryTarget, timeline: int) -> dict[str, str]:
    """PostgreSQL's settings for a target: at most one of ``recovery_target*``, and the timeline's number."""
    found = {"recovery_target_timeline": str(timeline)}
    if target.kind == "latest":
        return found
    if target.kind == "immediate":
        return found | {"recovery_target": "immediate"}
    moment = target.moment
    value = target.value if moment is None else f"{moment.replace(tzinfo=None).isoformat(' ')}+00"
    return found | {
        f"recovery_target_{target.kind}": value,
        "recovery_target_inclusive": "on" if target.inclusive else "off",
    }


def settle(target: RecoveryTarget) -> RecoveryTarget:
    """The same target, all WAL up to it being known to be there."""
    return replace(target, settled=True)
