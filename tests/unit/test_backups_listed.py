"""The line of ``pra backups --all``: what cannot be trusted is not hidden behind an older verdict."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from deployments.cli.backups import _line
from pra.procedures.inventory import BackupRow, Inventory

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def row(hours: int, error: str | None = None) -> BackupRow:
    at = NOW - timedelta(hours=hours)
    taken, proven = (None, None) if error else (at, at)
    verdict, backup_id = None if error else "PASS", f"{at:%Y%m%dT%H%M%SZ}-full-0a0a"
    return BackupRow(backup_id, "db", "full", taken, 4, ("near",), proven, verdict, error)


def test_what_cannot_be_trusted_stands_where_the_verdict_would() -> None:
    assert _line(Inventory("db", (row(1), row(2)), ()), NOW)[-1] == "[green]PASS[/]"
    lines = Inventory("db", (row(1), row(2, "near: [bad] signature"), row(3, "near: gone")), ())
    assert _line(lines, NOW)[-1] == "[red]near: \\[bad] signature (and 1 more)[/]"
    assert _line(Inventory("db", (row(1, "near: it"), row(2)), ()), NOW)[-1] == "[red]near: it[/]"
