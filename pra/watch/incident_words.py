"""What people read of an incident, in their language. Facts and hints stay English, to be searched for."""

from __future__ import annotations

from datetime import UTC, datetime

from pra.messages import Translate, mark, translator
from pra.settings import Settings
from pra.timing import format_duration
from pra.watch.incident_model import Incident, Kind, Notice, Priority
from pra.watch.rules import MEANS, SECTIONS
from pra.watch.senders.letter import Letter

_KINDS = {
    Kind.OPENED: mark("New incident"),
    Kind.RAISED: mark("More urgent now"),
    Kind.WIDENED: mark("More is affected"),
    Kind.ESCALATED: mark("Nobody has taken it yet"),
    Kind.TAKEN: mark("Taken"),
    Kind.REOPENED: mark("It is back"),
    Kind.CLOSED: mark("All clear"),
}
_SIGNS = {
    Priority.P1: ":red_circle:",
    Priority.P2: ":large_orange_circle:",
    Priority.P3: ":large_yellow_circle:",
}
_SHORT = (Kind.TAKEN, Kind.CLOSED)


def letter(incident: Incident, notice: Notice, settings: Settings) -> Letter:
    """One notice as a message."""
    _ = translator(settings.language)
    where = incident.target or incident.key.split("/", 1)[0].lstrip("@")
    what = f"{where} {incident.fact.title}"
    head = f"{notice.priority.upper()} · {_(_KINDS[notice.kind])}: {what}"
    summary = head if notice.kind in _SHORT else f"{head}: {incident.fact.message}"
    if notice.kind is Kind.CLOSED:
        summary = f"{head} ({_duration(incident)})"
    sections = () if notice.kind in _SHORT else _sections(incident, settings, _)
    sign = ":white_check_mark:" if notice.kind is Kind.CLOSED else _SIGNS[notice.priority]
    link = incident.fact.link or settings.alerts.link or ""
    return Letter(
        sign,
        head,
        summary,
        _fields(incident, notice, settings, _),
        sections,
        (_("Look further"), link) if link else None,
        notice.at,
    )


def _fields(
    incident: Incident, notice: Notice, settings: Settings, _: Translate
) -> tuple[tuple[str, str], ...]:
    fact = incident.fact
    found = [(_("What"), fact.title), (_("Target"), incident.target), (_("Since"), _moment(incident.since))]
    if notice.kind is Kind.CLOSED:
        return (*found, (_("Duration"), _duration(incident)))
    if notice.kind is Kind.TAKEN:
        return (*found, (_("Taken by"), notice.text or incident.taken_by))
    route = {
        Priority.P1: settings.alerts.p1,
        Priority.P2: settings.alerts.p2,
        Priority.P3: settings.alerts.p3,
    }
    limit = format_duration(route[notice.priority].resolve_within.total_seconds())
    return (*found, (_("To be resolved within"), limit), (_("Failed step"), fact.step))


def _sections(incident: Incident, settings: Settings, _: Translate) -> tuple[tuple[str, str], ...]:
    fact = incident.fact
    section = SECTIONS.get(incident.rule, "status")
    runbook = f"{settings.alerts.runbook}#{section}" if settings.alerts.runbook else section
    return (
        (_("What is broken"), fact.message),
        (_("What it means"), _means(incident, settings, _)),
        (_("What to do"), fact.hint),
        (_("Section of the runbook"), runbook),
        (_("Newest evidence"), fact.head),
        (_("To take it"), f"pra ack {incident.id}"),
    )


def _means(incident: Incident, settings: Settings, _: Translate) -> str:
    """With the target's own objectives; of a host, with those of the strictest target."""
    sentence = _(MEANS[incident.rule]) if incident.rule in MEANS else ""
    target = settings.targets.get(incident.target)
    targets = [target] if target else list(settings.targets.values())
    rpo = min((t.rpo.total_seconds() for t in targets), default=3600.0)
    rto = min((t.rto.total_seconds() for t in targets), default=1800.0)
    return sentence.format(rpo=format_duration(rpo), rto=format_duration(rto))


def _duration(incident: Incident) -> str:
    return format_duration(incident.seconds or 0.0)


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
