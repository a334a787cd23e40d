"""A change of keys, written into the evidence of every target, signed by the key that came into use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pra.errors import PraError
from pra.evidence_body import common
from pra.keys import KeyReport
from pra.proc import Scope
from pra.procedures.context import Context
from pra.settings import Settings, Target

KIND = "key-change"


@dataclass(frozen=True)
class KeyRecord:
    """What became of the record in one target's chain.

    Attributes:
        target: Empty where none is configured.
        key: The record's object key; empty where there is none, and ``reason`` says why.
    """

    target: str
    key: str = ""
    reason: str = ""


def record_keys(settings: Settings, report: KeyReport) -> tuple[KeyRecord, ...]:
    """One record a target. The keys are made already: what cannot be recorded is told, and is no error."""
    if not settings.targets:
        return (KeyRecord("", reason="no target is configured yet"),)
    body = {
        "change": "rotated" if report.replaces else "made",
        "key_id": report.key_id,
        "public_key": report.signing_public_key or None,
        "recipient": report.recipient,
        "replaces": report.replaces or None,
    }
    return tuple(_record(settings, target, body) for target in settings.targets.values())


def _record(settings: Settings, target: Target, body: dict[str, Any]) -> KeyRecord:
    try:
        with Scope() as scope:
            log = Context(settings, target, scope).evidence
            return KeyRecord(target.name, log.append(KIND, {**common(settings, target), **body}).key)
    except PraError as error:
        return KeyRecord(target.name, reason=f"{target.name}: {error.message}")
