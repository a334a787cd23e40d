"""What the evidence of a verification or restore says: names, counts, hashes and times only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pra import evidence_body
from pra.errors import SignatureError
from pra.evidence_fields import checks_json, milliseconds, objective_json
from pra.procedures.session import Choice, Session
from pra.timing import Objective, Phase, to_iso

if TYPE_CHECKING:
    from pra.procedures.judging import VerifyReport


def body(report: VerifyReport, this: Session, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The whole record but for what the chain adds.

    Args:
        extra: What only this procedure knows, such as its destination.
    """
    context = this.context
    postgres = this.tools.version if this.tools else None
    measured = {
        "rto_milliseconds": milliseconds(report.rto_seconds),
        "proof_milliseconds": milliseconds(report.proof_seconds),
    }
    durable = this.durable or this.kind == "restore"
    facts = {
        **evidence_body.common(
            context.settings, context.target, postgres=postgres, operator=context.operator
        ),
        "verdict": report.verdict.value,
        "backup_id": report.backup_id,
        "repository": report.repository,
        "manifest_sha256": this.choice.manifest_sha256,
        "backup": _backup(this),
        "started_at": to_iso(this.started_at) if this.started_at else None,
        **measured,
        "rpo_milliseconds": milliseconds(report.rpo_seconds),
        **_objectives(report, this, durable=durable, disaster="disaster_at" in extra),
        "environment": "durable" if durable else "sandbox",
        "isolation": _isolation(this),
        "postgres": postgres,
        "checks": checks_json(report.checks),
        "phases": [_phase(phase) for phase in report.phases],
        "deviations": evidence_body.deviations(report.checks),
        "findings": evidence_body.findings(report.checks),
        "comparison": evidence_body.compare_with(context.evidence.records(), this.kind, measured),
    }
    if report.recovery:
        facts["recovery"] = report.recovery.as_json()
    return {**facts, **extra}


def _phase(phase: Phase) -> dict[str, Any]:
    return {
        "name": phase.name,
        "started_at": to_iso(phase.started_at),
        "milliseconds": milliseconds(phase.seconds),
    }


def _backup(this: Session) -> dict[str, Any]:
    """The backup as it was found; its age is that of its snapshot when the work began."""
    choice, manifest = this.choice, this.choice.manifest
    age = None
    if manifest is not None and this.started_at is not None:
        age = milliseconds((this.started_at - manifest.taken_at).total_seconds())
    return {
        "backup_id": choice.backup_id,
        "repository": choice.repository,
        "manifest_sha256": choice.manifest_sha256,
        "bytes": manifest.bytes if manifest is not None else None,
        "age_milliseconds": age,
        "signature": _signature(choice),
    }


def _signature(choice: Choice) -> str:
    if choice.unverified:
        return "accepted unverified"
    if choice.manifest is not None:
        return "valid"
    return "refused" if isinstance(choice.error, SignatureError) else "not read"


def _isolation(this: Session) -> dict[str, Any]:
    """What kept the restored server from the world; null where it was not ours to start."""
    recovered = this.recovery.server if this.recovery is not None else None
    box = recovered or this.sandbox
    if box is None:
        return {"network_namespace": None, "account": None}
    account = box.account.name if box.account is not None else evidence_body.account()
    return {"network_namespace": box.isolated, "account": account}


def _objectives(report: VerifyReport, this: Session, *, durable: bool, disaster: bool) -> dict[str, Any]:
    found = {objective.name: objective for objective in report.objectives}
    return {
        "rto": _objective(found.get("RTO"), _rto_how(durable=durable, disaster=disaster)),
        "rpo": _objective(found.get("RPO"), _rpo_how(this)),
    }


def _objective(objective: Objective | None, how: str) -> dict[str, Any] | None:
    return objective_json(objective, how)


def _rto_how(*, durable: bool, disaster: bool) -> str:
    since = "the disaster" if disaster else "the start"
    where = "with durable settings" if durable else "in a sandbox, without fsync"
    return f"from {since} until the restored database answered, planner statistics included, {where}"


def _rpo_how(this: Session) -> str:
    if this.choice.manifest is None or this.choice.manifest.physical is None:
        return "the longest gap from a snapshot to the next publication since the last verification"
    if this.kind == "restore":
        return "from the disaster back to the commit of the last transaction that came back"
    return "what would have been lost just then, with this repository alone"
