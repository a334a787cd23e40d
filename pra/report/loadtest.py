"""What stands in the report of a load test, in its order. Pure: a record in, a :class:`Report` out."""

from __future__ import annotations

from collections.abc import Sequence

from pra.loadtest.record import LoadTestRecord, load_test_of
from pra.model import Status, Verdict
from pra.report import checks, circumstances, loadtest_advice, loadtest_figures, proof
from pra.report.blocks import Report, Section
from pra.report.headline import tone_of, verdict_word
from pra.report.stamp import Stamp
from pra.report.words import Words, plain


def load_report_of(
    record: LoadTestRecord, stamp: Stamp | None, earlier: Sequence[LoadTestRecord], language: str
) -> Report:
    """The report of one load test.

    Args:
        stamp: Where the evidence holds it; None when it could not be recorded, which the report says.
        earlier: Load tests of the same target before it, the newest first.
        language: ``en`` or ``fr``; another one reads English.
    """
    words = Words(language)
    _ = words._
    # Read back from its stored form: the report made now and the one made from the evidence in a year agree.
    shown = load_test_of(plain(record.as_json()))
    sections = (
        Section("objectives", _("Against the objectives"), loadtest_figures.objectives(shown, words)),
        Section("advice", _("What to do"), loadtest_advice.advice(shown, words)),
        Section("rounds", _("Backup and restore, in rounds"), loadtest_figures.rounds(shown, words)),
        Section("load", _("The restored database under load"), loadtest_figures.load(shown, words)),
        Section("api", _("The application under load"), loadtest_figures.api(shown, words)),
        Section("forecast", _("Forecast"), loadtest_figures.outlook(shown, words)),
        Section("checks", _("Checks"), checks.checks(shown, words)),
        Section("trend", _("Trend"), loadtest_figures.trend(shown, earlier, words)),
        Section("deviations", _("Deviations from the plan"), circumstances.listed(shown.deviations, words)),
        Section("systems", _("Systems and versions"), proof.systems(shown, words)),
        Section("evidence", _("Evidence"), proof.evidence(shown, stamp, words)),
    )
    return Report(
        language=words.language,
        title=_("Load test of {target}").format(target=shown.target),
        verdict=verdict_word(shown.verdict, words),
        tone=tone_of(shown.verdict),
        headline=_headline(shown, words),
        lines=_lines(shown, words),
        sections=sections,
        closing=_("All times are UTC. Names, counts and times only: no value of any row is in this report."),
    )


def _headline(record: LoadTestRecord, words: Words) -> str:
    """Never better than the verdict."""
    _ = words._
    rto = record.rto
    seconds = words.duration(rto.seconds if rto else None)
    if rto is None or rto.met is None:
        return _("The backup did not come back: how long a restore takes is not known.")
    if rto.met is False:
        return _("A restore takes {duration}, which is longer than the objective.").format(duration=seconds)
    if record.slow:
        return _("It is restored in time ({duration}), but answers slowly: {names}.").format(
            duration=seconds, names=", ".join(each.name for each in record.slow[:5])
        )
    if record.verdict == Verdict.PASS:
        return _("It is restored in time ({duration}) and serves its load as before.").format(
            duration=seconds
        )
    wrong = [c.name for c in record.checks if c.status in (Status.FAILED, Status.SKIPPED)]
    return _("It is restored in time ({duration}); not in order: {names}.").format(
        duration=seconds, names=", ".join(wrong[:5]) or words.unknown
    )


def _lines(record: LoadTestRecord, words: Words) -> tuple[str, ...]:
    _ = words._
    span = (record.ended_at - record.started_at).total_seconds()
    when = _("From {begin} to {end} ({duration}).").format(
        begin=words.moment(record.started_at),
        end=words.moment(record.ended_at),
        duration=words.duration(span),
    )
    machine = _("Measured with {cores} processor cores and {memory} GiB of memory: {processor}.").format(
        cores=words.number(record.hardware.cores),
        memory=words.number(record.hardware.memory),
        processor=record.hardware.processor,
    )
    return (when, machine)
