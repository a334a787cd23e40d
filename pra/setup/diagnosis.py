"""One thing that was looked at while setting up, and what mends it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pra.errors import PraError
from pra.watch.status.finding import Finding, Level

SCHEMA = "pra/doctor/1"
Kind = Literal["sql", "shell", "pra.toml", ".env", "pg_hba.conf"]
"""Where a remedy belongs: to psql as a superuser, to a shell, or as a line into that file."""


@dataclass(frozen=True)
class Mend:
    """What mends a finding, to be copied as it is."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Diagnosis(Finding):
    """A finding with its remedies; ``hint`` says what they do, or what to do where none can be copied."""

    mend: tuple[Mend, ...] = ()

    def as_json(self) -> dict[str, Any]:
        found = super().as_json()
        return {
            **{key: found[key] for key in ("name", "target", "level", "message", "hint")},
            "mend": [{"kind": mend.kind, "text": mend.text} for mend in self.mend],
        }


def well(name: str, target: str, message: str) -> Diagnosis:
    return Diagnosis(name, target, Level.OK, message)


def ill(level: Level, name: str, target: str, message: str, hint: str, *mend: Mend) -> Diagnosis:
    return Diagnosis(name, target, level, message, hint=hint, mend=mend)


def of_error(error: PraError, name: str, target: str, *mend: Mend) -> Diagnosis:
    """What an error says, as a critical finding."""
    return ill(Level.CRITICAL, name, target, error.message, error.hint, *mend)


def diagnosed(findings: Iterable[Finding]) -> tuple[Diagnosis, ...]:
    """Findings of probes that know no remedies (`pra.watch.status`) among those that do."""
    return tuple(
        each
        if isinstance(each, Diagnosis)
        else Diagnosis(each.name, each.target, each.level, each.message, hint=each.hint)
        for each in findings
    )
