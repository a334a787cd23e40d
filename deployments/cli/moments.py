"""Moments as an operator types and reads them: local time on the way in, both on the way out."""

from __future__ import annotations

import os
from datetime import UTC, datetime, tzinfo
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from pra.engines.recovery import RecoveryTarget, parse_target
from pra.errors import UsageError
from pra.timing import utc_now


@cache
def local_zone() -> tzinfo:
    """This machine's zone with its rules, so that a moment of last winter gets last winter's offset."""
    names = [os.environ.get("TZ", "").removeprefix(":")]
    link = Path("/etc/localtime")
    if link.exists():
        names.append(str(link.resolve()).partition("zoneinfo/")[2])
    for name in names:
        try:
            if name:
                return ZoneInfo(name)
        except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
            continue
    return datetime.now().astimezone().tzinfo or UTC


def read_target(text: str, *, exclusive: bool = False) -> RecoveryTarget:
    """What ``--to`` was given. Raises UsageError."""
    return parse_target(text, inclusive=not exclusive, now=utc_now(), zone=local_zone())


def read_moment(text: str | None, option: str) -> datetime | None:
    """A moment, as ``--to`` reads one: ``2026-11-22 10:00``, ``10:30``, ``5 minutes ago``.

    Raises:
        UsageError: It is none, or something else than a moment.
    """
    if text is None:
        return None
    moment = read_target(text).moment
    if moment is None:
        raise UsageError(
            f"{option} is not a moment: {text[:40]!r}",
            op="read moment",
            hint="Write it as 2026-11-22 10:00, or as 5 minutes ago.",
        )
    return moment


def both(moment: datetime, zone: tzinfo | None = None) -> str:
    """``2026-11-22 09:00:00 UTC (10:00:00 CET)``; the second only where it says something else."""
    utc, local = moment.astimezone(UTC), moment.astimezone(zone or local_zone())
    text = f"{utc:%Y-%m-%d %H:%M:%S}{f'.{utc.microsecond:06d}'.rstrip('0') if utc.microsecond else ''} UTC"
    if local.utcoffset() == utc.utcoffset():
        return text
    day = "" if local.date() == utc.date() else f"{local:%Y-%m-%d} "
    return f"{text} ({day}{local:%H:%M:%S %Z})"
