"""``akig_monitoring.log``: one line a pass, one for each thing that is not well, one when it is well again.

Operators follow it with ``tail -F``. A day's file is set aside under its date; a month of them is kept.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pra.disk import disk_errors
from pra.settings import Settings
from pra.timing import format_duration
from pra.watch.status.finding import Finding, Level, StatusPass

NAME = "akig_monitoring"
KEPT = timedelta(days=31)
_WORDS = {Level.OK: "OK", Level.WARNING: "WARNING", Level.CRITICAL: "CRITICAL", Level.UNKNOWN: "UNKNOWN"}


def write(settings: Settings, done: StatusPass, before: StatusPass | None) -> None:
    """Append one pass.

    Raises:
        SpaceError, StorageError: The state directory cannot be written.
    """
    folder = settings.state_dir / "logs"
    with disk_errors("write log", folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{NAME}.log"
        with _alone(folder):
            _rotate(path, done.at)
            with path.open("a", encoding="utf-8") as file:
                path.chmod(0o600)
                file.write("".join(f"{line}\n" for line in lines(done, before)))


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


def _rotate(path: Path, now: datetime) -> None:
    """Set yesterday's aside. Never over another: a clock that was set back makes no second file of a day."""
    try:
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
    except FileNotFoundError:
        return
    aside = path.with_name(f"{NAME}-{written:%Y-%m-%d}.log")
    if written < now.astimezone(UTC).date() and not aside.exists():
        path.rename(aside)
    for old in path.parent.glob(f"{NAME}-*.log"):
        try:
            day = datetime.strptime(old.stem.removeprefix(f"{NAME}-"), "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            continue
        if day < now - KEPT:
            old.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / f".{NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
