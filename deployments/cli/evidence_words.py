"""What ``pra evidence`` shows, for people and for machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.markup import escape

from deployments.cli.moments import both
from deployments.cli.output import Output, coloured, size
from pra.evidence_chain import Problem
from pra.evidence_record import SHOWN, EvidenceRecord
from pra.messages import Translate
from pra.procedures.evidence_audit import Audit
from pra.timing import format_duration, to_iso

_ORDER = {"failed": 0, "skipped": 1, "passed": 2, "not_applicable": 3}


def item(record: EvidenceRecord) -> dict[str, Any]:
    """One line of the list, as JSON. What is unknown because the record cannot be believed is null."""
    believed = not record.problem
    return {
        "sequence": record.sequence,
        "sha256": record.sha256 or None,
        "at": to_iso(record.at) if believed else None,
        "kind": record.kind or None,
        "verdict": record.body.get("verdict"),
        "backup_id": record.body.get("backup_id"),
        "key_id": record.key_id or None,
        "repository": record.repository,
        "problem": record.problem or None,
    }


def record_json(record: EvidenceRecord) -> dict[str, Any]:
    return item(record) | {
        "key": record.key,
        "target": record.target,
        "previous_sha256": record.previous_sha256 or None,
        "body": dict(record.body) if not record.problem else None,
    }


def show_records(out: Output, records: Sequence[EvidenceRecord]) -> None:
    """One line a record, narrow enough for 80 columns."""
    _ = out.translate
    if not records:
        out.text(_("There is no such evidence yet."))
        return
    columns = [_("No."), "UTC", _("Kind"), _("Verdict"), _("About")]
    out.table(columns, [_line(record) for record in records])


def _line(record: EvidenceRecord) -> list[str]:
    number = str(record.sequence)
    if record.problem:
        return [number, "?", "?", "?", f"[red]{escape(record.problem)}[/]"]
    verdict = str(record.body.get("verdict") or "-")
    at = f"{record.at:%Y-%m-%d %H:%M}"
    return [number, at, escape(record.kind), coloured(verdict), escape(_about(record.body))]


def _about(body: Mapping[str, Any]) -> str:
    """What the record is about, in a few words that its kind makes plain."""
    removed = body.get("removed")
    if isinstance(removed, list):
        return f"{len(removed)} ({body.get('repository', '?')})"
    for name in ("backup_id", "scenario", "key_id", "step", "failover"):
        if body.get(name):
            return str(body[name])
    return "-"


def show_record(out: Output, record: EvidenceRecord) -> None:
    """Head, then objectives, phases, checks; what a kind has besides is in ``--json``."""
    _ = out.translate
    body = record.body
    out.text(
        f"[bold]{record.sequence}[/] {escape(record.kind or '?')} {coloured(str(body.get('verdict') or ''))}"
    )
    if record.problem:
        out.text(f"[red]{escape(record.problem)}[/]")
    for name, value in _facts(record, _):
        out.text(f"  {name}: {escape(value)}")
    for name, lines in ((_("Findings"), body.get("findings")), (_("Deviations"), body.get("deviations"))):
        if lines:
            out.text("\n".join([f"  {name}:", *(f"    - {escape(str(line))}" for line in lines)]))
    objectives = [
        _objective(name, body[name.lower()], _) for name in ("RTO", "RPO") if body.get(name.lower())
    ]
    if objectives:
        out.table([_("Objective"), _("Measured"), _("Target"), _("Kept")], objectives)
    phases = [_phase(phase) for phase in body.get("phases", ())]
    if phases:
        out.table([_("Phase"), "UTC", _("Time")], phases)
    found = sorted(body.get("checks", ()), key=lambda check: _ORDER.get(str(check.get("status")), 0))
    checks = [_check(check) for check in found]
    if checks:
        out.table([_("Check"), _("State"), _("Observed"), _("Why")], checks)


def _facts(record: EvidenceRecord, _: Translate) -> Iterator[tuple[str, str]]:
    body = record.body
    backup = body.get("backup") if isinstance(body.get("backup"), dict) else {}
    if not record.problem:
        yield _("At"), both(record.at.replace(microsecond=0))
    for name, value in (
        (_("By"), body.get("operator")),
        (_("Backup"), body.get("backup_id")),
        (_("Repository"), body.get("repository")),
        (_("Signature of the manifest"), (backup or {}).get("signature")),
    ):
        if value:
            yield name, str(value)
    if backup and isinstance(backup.get("bytes"), int):
        yield _("Size"), size(backup["bytes"])
    if backup and isinstance(backup.get("age_milliseconds"), int):
        yield _("Age"), format_duration(backup["age_milliseconds"] / 1000)
    if beside := _beside(body.get("comparison")):
        yield _("Beside the ones before"), beside
    if record.key_id:
        yield _("Signed by"), record.key_id
    if record.sha256:
        yield "SHA-256", record.sha256
        yield _("Follows"), record.previous_sha256[:SHOWN] or "?"


def _beside(comparison: object) -> str:
    """``RTO × 1.02, proof × 0.97 (2, 1)``: this one's time over the median, and the records that is of."""
    if not isinstance(comparison, dict):
        return ""
    ratios = (
        (name, (comparison.get(f"{name.lower()}_milliseconds") or {}).get("ratio"))
        for name in ("RTO", "proof")
    )
    said = ", ".join(f"{name} × {ratio:.2f}" for name, ratio in ratios if isinstance(ratio, int | float))
    return f"{said} ({', '.join(map(str, comparison.get('records', ())))})" if said else ""


def _objective(name: str, found: Mapping[str, Any], _: Translate) -> list[str]:
    met = found.get("met")
    kept = (f"[green]{_('yes')}[/]" if met else f"[red]{_('no')}[/]") if isinstance(met, bool) else "?"
    return [name, _time(found.get("actual_milliseconds")), _time(found.get("target_milliseconds")), kept]


def _phase(phase: Mapping[str, Any]) -> list[str]:
    at = str(phase.get("started_at") or "?")[11:19] or "?"
    return [escape(str(phase.get("name", "?"))), at, _time(phase.get("milliseconds"))]


def _check(check: Mapping[str, Any]) -> list[str]:
    words = [escape(str(check.get(name, ""))) for name in ("name", "observed", "reason")]
    return [words[0], coloured(str(check.get("status", "?"))), words[1], words[2]]


def _time(milliseconds: object) -> str:
    return format_duration(milliseconds / 1000) if isinstance(milliseconds, int | float) else "?"


def show_audit(out: Output, found: Audit) -> None:
    """What was found first of all, then what can be relied on all the same."""
    chain = found.chain
    for place, message in found.unreached:
        out.note(f"warning: {place} was not reached: {message}")
    document = {
        "target": chain.target or None,
        "sound": found.sound,
        "records": chain.records,
        "head": chain.head.as_json() if chain.head is not None else None,
        "places": list(found.places),
        "known_heads": found.heads,
        "items": [_problem_json(problem) for problem in chain.problems],
        "unreached": [{"repository": place, "message": message} for place, message in found.unreached],
    }
    if not out.result("pra/evidence-verify/1", document):
        _tell(out, found)


def _tell(out: Output, found: Audit) -> None:
    _, chain = out.translate, found.chain
    if found.sound is None:
        out.text(_("There is no evidence yet."))
        return
    target, places = escape(chain.target or "?"), escape(", ".join(found.places))
    sentence = (
        _("Sound: the evidence of {target} in {places}. Records: {count}")
        if found.sound
        else _("Not sound: the evidence of {target} in {places}. Records: {count}")
    )
    colour = "green" if found.sound else "red"
    out.text(f"[{colour}]{sentence.format(count=chain.records, target=target, places=places)}[/]")
    if chain.problems:
        rows = [[str(p.sequence or "-"), escape(p.where), escape(p.sentence)] for p in chain.problems]
        out.table([_("No."), _("Where"), _("Found")], rows)
    if found.heads:
        out.text(_("Heads known from elsewhere, all held against it: {count}").format(count=found.heads))
    else:
        out.text(_("No head is known from elsewhere: a tail that was cut off everywhere would not show."))
    if chain.head is None:
        out.text(_("No record can be relied on."))
    else:
        out.text(_("The chain holds up to its head {head}").format(head=chain.head.short))


def _problem_json(problem: Problem) -> dict[str, Any]:
    return {
        "sequence": problem.sequence,
        "where": problem.where,
        "message": problem.sentence,
        "unread": problem.unread,
    }
