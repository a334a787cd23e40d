"""``akig_backup.log``: one line for each backup and each proof, whoever ran it, and one for each that failed.

Operators follow it with ``tail -F``. A log that cannot be written is said, and never ends what it is about.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from pra import daylog
from pra.errors import PraError
from pra.model import PublishResult, Verdict
from pra.redact import redact
from pra.settings import Settings
from pra.timing import format_duration, utc_now

NAME = "akig_backup"
_log = logging.getLogger(__name__)


def backed_up(
    settings: Settings,
    target: str,
    backup_id: str,
    size: int,
    seconds: float,
    results: Sequence[PublishResult],
) -> None:
    """A backup was taken. Warning: not every repository has it; critical: none has."""
    held = [each.name for each in results if each.ok]
    missing = [f"{each.name}: {each.error}" for each in results if not each.ok]
    level = "CRITICAL" if not held else "WARNING" if missing else "OK"
    fact = f"{backup_id}, {size} bytes in {format_duration(seconds)}, in {', '.join(held) or 'no repository'}"
    write(settings, level, target, "backup", "; ".join([fact, *missing]))


def proven(
    settings: Settings, target: str, kind: str, verdict: Verdict, backup_id: str, repository: str
) -> None:
    """A verification or a restore has a verdict."""
    level = {Verdict.PASS: "OK", Verdict.PARTIAL: "WARNING"}.get(verdict, "CRITICAL")
    write(settings, level, target, kind, f"{verdict}: {backup_id} read from {repository}")


def write(settings: Settings, level: str, target: str, what: str, fact: str) -> None:
    """Example: ``2026-11-26 08:40:06 OK akig verification: PASS: 20261126T… read from near``."""
    now = utc_now()
    try:
        daylog.append(settings.state_dir, NAME, [line(now, level, target, what, fact)], now)
    except PraError as error:
        _log.warning("%s.log: %s", NAME, error.message)


def line(now: datetime, level: str, target: str, what: str, fact: str) -> str:
    clean = " ".join(redact(fact).split())
    return f"{now.astimezone(UTC):%Y-%m-%d %H:%M:%S} {level} {target} {what}: {clean}"
