"""What stands in the report, in its order. Pure: a record in, a :class:`Report` out."""

from __future__ import annotations

from collections.abc import Sequence

from pra.drill.record import DRILL, DrillRecord, record_of
from pra.report import checks, circumstances, compliance, proof, results
from pra.report.blocks import Report, Section
from pra.report.headline import headline, tone_of, verdict_word
from pra.report.stamp import Stamp
from pra.report.words import Words, plain


def report_of(
    record: DrillRecord, stamp: Stamp | None, earlier: Sequence[DrillRecord], language: str
) -> Report:
    """The report of one record.

    Args:
        stamp: Where the evidence holds it; None when it could not be recorded, which the report says.
        earlier: Records of the same scenario, the newest first; the five newest are shown.
        language: ``en`` or ``fr``; another one reads English.
    """
    words = Words(language)
    _ = words._
    # Read back from its stored form: the report made now and the one made from the evidence in a year agree.
    shown = record_of(record.kind, plain(record.as_json()))
    sections = (
        Section("objectives", _("Objectives"), results.objectives(shown, words)),
        Section("timeline", _("The timeline"), results.timeline(shown, words)),
        Section("events", _("What happened"), circumstances.events(shown, words)),
        Section("checks", _("Checks"), checks.checks(shown, words)),
        Section("rows", _("Rows"), results.rows(shown, words)),
        Section("decisions", _("Human decisions"), circumstances.decisions(shown, words)),
        Section("deviations", _("Deviations from the plan"), circumstances.listed(shown.deviations, words)),
        Section("findings", _("Findings to be mended"), circumstances.listed(shown.findings, words)),
        Section("afterwards", _("The way back"), circumstances.listed(shown.afterwards, words)),
        Section("trend", _("Trend"), results.trend(shown, earlier, words)),
        Section("systems", _("Systems and versions"), proof.systems(shown, words)),
        Section("evidence", _("Evidence"), proof.evidence(shown, stamp, words)),
        Section("requirements", _("Requirements that this report supports"), compliance.table(words)),
    )
    return Report(
        language=words.language,
        title=_title(shown, words),
        verdict=verdict_word(shown.verdict, words),
        tone=tone_of(shown.verdict),
        headline=headline(shown, words),
        lines=_lines(shown, words),
        sections=sections,
        closing=_("All times are UTC. Names, counts and times only: no value of any row is in this report."),
    )


def _title(record: DrillRecord, words: Words) -> str:
    _ = words._
    if record.kind != DRILL:
        return _("Failover of {target}").format(target=record.target)
    return _("Drill of {target}: {scenario}").format(
        target=record.target, scenario=words.said(record.title or record.scenario)
    )


def _lines(record: DrillRecord, words: Words) -> tuple[str, ...]:
    _ = words._
    span = (record.ended_at - record.started_at).total_seconds()
    return (
        _("From {begin} to {end} ({duration}).").format(
            begin=words.moment(record.started_at),
            end=words.moment(record.ended_at),
            duration=words.duration(span),
        ),
    )
