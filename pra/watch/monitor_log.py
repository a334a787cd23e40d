"""``akig_monitoring.log``: one line a pass, one for each thing that is not well, one when it is well again.

Operators follow it with ``tail -F``; see `pra.daylog`.
"""

from __future__ import annotations

from datetime import UTC

from pra import daylog
from pra.settings import Settings
from pra.timing import format_duration
from pra.watch.status.finding import Finding, Level, StatusPass

NAME = "akig_monitoring"
_WORDS = {Level.OK: "OK", Level.WARNING: "WARNING", Level.CRITICAL: "CRITICAL", Level.UNKNOWN: "UNKNOWN"}


def write(settings: Settings, done: StatusPass, before: StatusPass | None) -> None:
    """Append one pass.

    Raises:
        SpaceError, StorageError: The state directory cannot be written.
    """
    daylog.append(settings.state_dir, NAME, lines(done, before), done.at)


def lines(done: StatusPass, before: StatusPass | None) -> list[str]:
    """Example: ``2026-11-26 08:40:06 CRITICAL akig database: does not answer: connection refused``."""
    stamp = f"{done.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    bad = [finding for finding in done.findings if finding.level is not Level.OK]
    was_bad = {(f.name, f.target) for f in before.findings if f.level is not Level.OK} if before else set()
    well = [f for f in done.findings if f.level is Level.OK and (f.name, f.target) in was_bad]
    counted = f"{len(done.findings)} checks, {len(bad)} not well, {format_duration(done.seconds)}"
    found = [f"{stamp} {_WORDS[done.level]} status: {counted}"]
    found += [f"{stamp} {_WORDS[f.level]} {_line(f)}" for f in bad]
    found += [f"{stamp} OK {_line(f)} (again)" for f in well]
    return found


def _line(finding: Finding) -> str:
    return f"{finding.target or 'host'} {finding.name}: {finding.message}"
