"""What a status pass finds: one fact a probe, how bad it is, and the worst of them all. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from pra.timing import from_iso, to_iso

SCHEMA = "pra/status/1"
HOST = ""
"""The target of a finding that is about this host, not about one database."""


class Level(StrEnum):
    """``unknown`` is a warning: what nobody could look at is not well."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """The worse, the higher."""
        return _RANK[self]

    @property
    def exit_code(self) -> int:
        return {Level.OK: 0, Level.CRITICAL: 1}.get(self, 2)


_RANK = {level: rank for rank, level in enumerate(Level)}


@dataclass(frozen=True)
class Finding:
    """One fact. Its ``name`` and ``target`` are the same in every pass: by them it is followed over time.

    Attributes:
        name: The question, and after a dot what it was asked about: ``database``, ``backup.offsite``,
            ``wal.offsite.lag``, ``disk.state``.
        target: The database; empty for what is about this host.
        message: One lowercase fact, without secrets or row values.
        value: The measurement, where there is one. unit: ``ms``, ``s``, ``bytes``, ``share`` or ``count``.
        since: Since when it has been like this, as far as is known.
        hint: What to do; empty where all is well.
    """

    name: str
    target: str
    level: Level
    message: str
    value: float | None = None
    unit: str = ""
    since: datetime | None = None
    hint: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "target": self.target or None,
            "level": self.level.value,
            "message": self.message,
            "value": self.value,
            "unit": self.unit or None,
            "since": to_iso(self.since) if self.since else None,
            "hint": self.hint or None,
        }


@dataclass(frozen=True)
class StatusPass:
    """One look at everything. ``findings``: the worst first.

    Attributes:
        at: When it began. seconds: How long it took.
    """

    at: datetime
    host: str
    seconds: float
    findings: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        return worst(finding.level for finding in self.findings)

    @property
    def exit_code(self) -> int:
        return self.level.exit_code

    @property
    def targets(self) -> tuple[str, ...]:
        """In alphabetical order; this host, as an empty name, last."""
        return tuple(sorted(self._by_target, key=lambda target: (target == HOST, target)))

    def of(self, target: str) -> tuple[Finding, ...]:
        return self._by_target.get(target, ())

    @cached_property
    def _by_target(self) -> Mapping[str, tuple[Finding, ...]]:
        found: dict[str, list[Finding]] = {}
        for finding in self.findings:
            found.setdefault(finding.target, []).append(finding)
        return {target: tuple(findings) for target, findings in found.items()}

    def find(self, name: str, target: str = HOST) -> Finding | None:
        return next((f for f in self.of(target) if f.name == name), None)

    def as_json(self) -> dict[str, Any]:
        return {
            "at": to_iso(self.at),
            "host": self.host,
            "level": self.level.value,
            "seconds": round(self.seconds, 3),
            "items": [finding.as_json() for finding in self.findings],
        }


def worst(levels: Iterable[Level]) -> Level:
    return max(levels, key=lambda level: level.rank, default=Level.OK)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The worst first; of equals, this host last."""
    return tuple(sorted(findings, key=lambda f: (-f.level.rank, f.target == HOST, f.target, f.name)))


def read_pass(document: dict[str, Any]) -> StatusPass:
    """What `StatusPass.as_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    return StatusPass(
        at=from_iso(document["at"]),
        host=str(document["host"]),
        seconds=float(document["seconds"]),
        findings=tuple(
            Finding(
                name=str(item["name"]),
                target=item["target"] or HOST,
                level=Level(item["level"]),
                message=str(item["message"]),
                value=item["value"],
                unit=item["unit"] or "",
                since=from_iso(item["since"]) if item["since"] else None,
                hint=item["hint"] or "",
            )
            for item in document["items"]
        ),
    )


def dated(findings: Iterable[Finding], before: StatusPass | None, now: datetime) -> tuple[Finding, ...]:
    """Say since when each has been as bad as it is: since the first pass that found it so.

    One that knows better keeps its own date. A date ahead of ``now``, of a clock that was wrong, counts as
    now.
    """
    known = {(f.name, f.target): f for f in before.findings} if before else {}

    def one(finding: Finding) -> Finding:
        if finding.since is not None or finding.level is Level.OK:
            return finding
        earlier = known.get((finding.name, finding.target))
        since = earlier.since if earlier is not None and earlier.level is finding.level else None
        return replace(finding, since=min(since or now, now))

    return tuple(one(finding) for finding in findings)
