"""What stands on the page of metrics, in its order. Pure: metrics in, a :class:`Report` out."""

from __future__ import annotations

from collections.abc import Sequence

from pra.report import metrics_figures, metrics_trends
from pra.report.blocks import Block, Cell, Command, Report, Section, Table, Tone
from pra.report.metrics_letter import letter
from pra.report.metrics_words import inside_word, met_tone, percent, reach
from pra.report.words import Words, plain
from pra.watch.metrics.judge import overall
from pra.watch.metrics.whole import TargetMetrics


def metrics_report_of(metrics: Sequence[TargetMetrics], language: str) -> Report:
    """The page of one target or several.

    Args:
        metrics: At least one.
        language: ``en`` or ``fr``; another one reads English.
    """
    words = Words(language)
    _ = words._
    insides = [each.inside for each in metrics]
    whole = False if False in insides else None if None in insides else True
    sections: list[Section] = []
    if len(metrics) > 1:
        sections.append(Section("targets", _("Targets"), (_overview(metrics, words),)))
    for each in metrics:
        sections += _sections(each, words, alone=len(metrics) == 1)
    names = ", ".join(each.target for each in metrics)
    period = metrics[0].chosen.period
    return Report(
        language=words.language,
        title=_("Recovery metrics of {targets}").format(targets=names),
        verdict=inside_word(whole, words).upper(),
        tone=met_tone(whole),
        headline=" ".join(_headline(each, words) for each in metrics),
        lines=(
            _("From {since} until {until}.").format(
                since=words.day(period.since), until=words.moment(period.until)
            ),
            _("What nobody knows never counts as good; it is shown apart."),
        ),
        sections=tuple(sections),
        closing=_("All times are UTC. Names, counts and times only: no value of any row is in this report."),
    )


def _sections(one: TargetMetrics, words: Words, *, alone: bool) -> list[Section]:
    _ = words._
    parts: tuple[tuple[str, str, tuple[Block, ...]], ...] = (
        ("objectives", _("Against the objectives"), metrics_figures.objectives(one, words)),
        ("calendar", _("Day by day"), metrics_trends.days(one, words)),
        ("trend", _("Trend"), metrics_trends.trends(one, words)),
        ("backups", _("Backups"), metrics_figures.backups(one, words)),
        ("tests", _("Restore tests and drills"), metrics_figures.proofs(one, words)),
        ("incidents", _("Incidents"), metrics_figures.incidents(one, words)),
        ("forecast", _("Size and forecast"), metrics_figures.outlook(one, words)),
        ("problems", _("What could not be read or believed"), metrics_figures.problems(one, words)),
        ("letter", _("Weekly report, ready to send"), (Command(letter(one, words)),)),
    )
    if alone:
        return [Section(*part) for part in parts]
    return [
        Section(f"{name}-{one.target}", f"{one.target} · {title}", blocks) for name, title, blocks in parts
    ]


def _headline(one: TargetMetrics, words: Words) -> str:
    """One sentence a target, never better than its figures."""
    _ = words._
    if one.empty:
        return _("{target}: there is no record of anything yet.").format(target=one.target)
    missed = [reach(each.name, words) for each in one.judgements if each.met is False]
    if missed:
        sentence = _("{target}: outside its objectives. Missed: {missed}.")
        return sentence.format(target=one.target, missed="; ".join(missed))
    if one.inside is None:
        unknown = [reach(e.name, words) for e in one.judgements if e.met is None and not e.nothing]
        if not unknown:
            return _(
                "{target}: inside its objectives by what is known; records are missing or false."
            ).format(target=one.target)
        sentence = _("{target}: nothing missed, but not everything is known: {unknown}.")
        return sentence.format(target=one.target, unknown="; ".join(unknown))
    return _("{target}: inside every objective.").format(target=one.target)


def _overview(metrics: Sequence[TargetMetrics], words: Words) -> Table:
    _ = words._
    columns = (
        _("Target"),
        _("State"),
        _("RPO inside"),
        _("RTO inside"),
        _("Uptime"),
        _("Backups"),
        _("Tests"),
    )
    return Table(columns, tuple(_row(each, words) for each in metrics))


def _row(one: TargetMetrics, words: Words) -> tuple[Cell, ...]:
    judged = {each.name: each for each in one.judgements}
    shares = [judged[name] for name in ("rpo_share", "rto_share", "uptime", "backups", "tests")]
    state = overall(one.judgements, problems=bool(one.problems))
    cells = [Cell(percent(each.actual, words), _tone(each.met)) for each in shares]
    name = Cell(plain(one.target), code=True)
    return (name, Cell(inside_word(state, words), met_tone(state)), *cells)


def _tone(met: bool | None) -> Tone:
    return met_tone(met)
