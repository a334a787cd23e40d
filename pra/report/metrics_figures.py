"""The figures of the page of metrics: objectives, backups, proofs, incidents, size, and what is to come."""

from __future__ import annotations

from collections.abc import Sequence

from pra.evidence_record import VERIFICATION
from pra.loadtest.forecast import Forecast
from pra.messages import mark
from pra.model import Verdict
from pra.report.blocks import Block, Cell, Items, Pairs, Sentence, Table, Tone
from pra.report.headline import tone_of
from pra.report.metrics_words import actual, against, goal, known, met_tone, moment, percent, reach, seconds
from pra.report.words import Words, plain
from pra.watch.metrics.facts import Fact, Incident
from pra.watch.metrics.figures import RepositoryFigures, SeverityFigures
from pra.watch.metrics.judge import judged
from pra.watch.metrics.whole import TargetMetrics

SHOWN = 12
"""So many of the newest proofs and incidents; all of them are in the JSON."""
PROBLEMS = 20
_KINDS = {VERIFICATION: mark("restore test")}


def objectives(one: TargetMetrics, words: Words) -> tuple[Block, ...]:
    """Week and month against every objective; the chosen period too where it is another one."""
    _ = words._
    periods = [(_("Week"), one.week), (_("Month"), one.month)]
    if one.chosen.period.days not in (one.week.period.days, one.month.period.days):
        label = _("Since {day}").format(day=words.day(one.chosen.period.since))
        periods.append((label, one.chosen))
    every = [judged(figures, one.goals) for _name, figures in periods]
    rows = tuple(
        (Cell(reach(line[0].name, words)), Cell(goal(line[0], words)), *(actual(j, words) for j in line))
        for line in zip(*every, strict=True)
    )
    table = Table((_("Objective"), _("Goal"), *(name for name, _figures in periods)), rows)
    hours, uptime = one.chosen.unwatched, one.chosen.uptime
    unknown = _("Not known: {samples} of the status samples; {hours} of the hours have none at all.").format(
        samples=percent(uptime.unknown_part, words), hours=percent(hours.unknown_part, words)
    )
    quiet = not uptime.unknown and not hours.unknown
    exposed = _("A disaster at the newest sample would have cost {duration}.").format(
        duration=seconds(one.chosen.exposure.latest, words)
    )
    return (table, Sentence(exposed), Sentence(unknown, "" if quiet else "unsure"))


# -- backups -------------------------------------------------------------------------------------


def backups(one: TargetMetrics, words: Words) -> tuple[Block, ...]:
    """By repository: the schedule, the times, and what is proven."""
    _ = words._
    found = one.chosen.repositories
    schedule = Table(
        (
            _("Repository"), _("On schedule"), _("Backups"), _("Missed"), _("Unknown"), _("Longest gap"),
            _("Median"), _("Longest"),
        ),
        tuple(_schedule(each, one.goals.backups, words) for each in found),
    )  # fmt: skip
    proven = Table(
        (_("Repository"), _("Newest backup"), _("Newest that is proven"), _("Proof lag"), _("Last PASS")),
        tuple(_proven(each, words) for each in found),
    )
    return (schedule, proven)


def _schedule(each: RepositoryFigures, wanted: float, words: Words) -> tuple[Cell, ...]:
    share, gap = each.slots.share, each.slots.gap
    met = None if share.value is None else share.value >= wanted
    return (
        Cell(each.name, code=True),
        Cell(percent(share.value, words), met_tone(met)),
        Cell(words.number(int(share.good))),
        Cell(words.number(int(share.bad)), "bad" if share.bad else ""),
        Cell(words.number(int(share.unknown)), "unsure" if share.unknown else ""),
        known(words.duration(gap), words),
        known(words.duration(each.durations.median), words),
        known(words.duration(each.durations.longest), words),
    )


def _proven(each: RepositoryFigures, words: Words) -> tuple[Cell, ...]:
    return (
        Cell(each.name, code=True),
        moment(each.newest_at, words),
        moment(each.proven_at, words),
        known(words.duration(each.lag), words),
        moment(each.passed_at, words),
    )


# -- proofs and drills ---------------------------------------------------------------------------


def proofs(one: TargetMetrics, words: Words) -> tuple[Block, ...]:
    _ = words._
    tests = one.chosen.tests
    count = int(tests.results.good + tests.results.bad)
    passed = Cell(percent(tests.results.value, words), met_tone(_all(tests.results.value)))
    facts = Pairs(
        (
            (Cell(_("Restore tests")), Cell(words.number(count), "" if count else "unsure")),
            (Cell(_("Passed")), passed),
            (Cell(_("Until every check had passed, median")), _lasting(tests.durations.median, words)),
            (Cell(_("The longest")), _lasting(tests.durations.longest, words)),
            (Cell(_("Last drill")), _drill(one, words)),
        )
    )
    newest = tuple(reversed(one.proofs))[:SHOWN]
    if not newest:
        return (facts, Sentence(_("Nothing was proven in this time."), "unsure"))
    columns = (_("When"), _("Kind"), _("Verdict"), _("From"), "RTO", "RPO")
    return (facts, Table(columns, tuple(_proof(each, one, words) for each in newest)))


def _lasting(value: float | None, words: Words) -> Cell:
    return known(words.duration(value), words)


def _all(share: float | None) -> bool | None:
    return None if share is None else share >= 1


def _drill(one: TargetMetrics, words: Words) -> Cell:
    last = one.last_drill
    if last is None:
        return Cell(words._("never"), "unsure")
    said = f"{words.moment(last.at)} · {last.verdict} · {plain(last.scenario)}"
    tone: Tone = tone_of(last.verdict)
    return Cell(said, tone if one.drill_in_time else "bad")


def _proof(fact: Fact, one: TargetMetrics, words: Words) -> tuple[Cell, ...]:
    goals = one.goals
    return (
        Cell(words.moment(fact.at)),
        Cell(words._(_KINDS[fact.kind]) if fact.kind in _KINDS else words.name(plain(fact.kind))),
        Cell(fact.verdict, tone_of(fact.verdict)),
        known(plain(fact.repository) or words.unknown, words),
        _against(fact, fact.rto, goals.rto.total_seconds(), words),
        _against(fact, fact.rpo, goals.rpo.total_seconds(), words),
    )


def _against(fact: Fact, value: float | None, wanted: float, words: Words) -> Cell:
    """A time is good only where the database came back as it should have."""
    met = None if value is None else value <= wanted
    tone = met_tone(met) if not met or fact.verdict == Verdict.PASS else ""
    return Cell(against(value, wanted, words), tone)


# -- incidents -----------------------------------------------------------------------------------


def incidents(one: TargetMetrics, words: Words) -> tuple[Block, ...]:
    _ = words._
    columns = (
        _("Severity"), _("Resolve within"), _("Began"), _("Still open"), _("In time"),
        _("Mean time to resolve"), _("Longest"),
    )  # fmt: skip
    table = Table(columns, tuple(_severity(each, words) for each in one.chosen.incidents))
    newest = tuple(reversed(one.incidents))[:SHOWN]
    if not newest:
        return (table,)
    rows = tuple(_incident(each, one, words) for each in newest)
    return (table, Table((_("When"), _("Severity"), _("What"), _("Lasted")), rows))


def _severity(each: SeverityFigures, words: Words) -> tuple[Cell, ...]:
    late = each.mttr is not None and each.mttr > each.limit
    return (
        Cell(each.severity),
        Cell(words.duration(each.limit)),
        Cell(words.number(each.count)),
        Cell(words.number(each.open), "bad" if each.open else ""),
        Cell(words.number(each.in_time)),
        Cell(words.duration(each.mttr) if each.count else words._("none"), "bad" if late else ""),
        Cell(words.duration(each.longest) if each.count else words._("none")),
    )


def _incident(each: Incident, one: TargetMetrics, words: Words) -> tuple[Cell, ...]:
    place = each.target or words._("this host")
    lasted = words.duration(each.lasted(one.at).total_seconds())
    if each.closed_at is None:
        lasted = words._("{duration}, still open").format(duration=lasted)
    return (
        Cell(words.moment(each.opened_at)),
        Cell(each.severity),
        Cell(f"{place}: {plain(each.name)}"),
        Cell(lasted, "bad" if each.closed_at is None else ""),
    )


# -- size and what is to come --------------------------------------------------------------------


def outlook(one: TargetMetrics, words: Words) -> tuple[Block, ...]:
    """How large it is, how fast it grows, and when the RTO will no longer hold."""
    _ = words._
    size = one.chosen.size
    pairs = Pairs(
        (
            (Cell(_("Size of the database")), _size(size.last, words)),
            (Cell(_("Growth a day")), _size(size.per_day, words)),
        )
    )
    said, tone = forecast_sentence(one.forecast, words)
    how = _(
        "A straight line through the sizes of all restores on record, divided by the median speed of the "
        "last five, each as it was measured."
    )
    return (pairs, Sentence(said, tone), Sentence(how))


def forecast_sentence(found: Forecast, words: Words) -> tuple[str, Tone]:
    _ = words._
    if found.state == "unknown":
        return _("Forecast of the RTO: not known: {reason}.").format(
            reason=words.said(found.reason)
        ), "unsure"
    if found.state == "broken":
        return _("The RTO does not hold today."), "bad"
    if found.state == "until" and found.at is not None:
        said = _("At this growth the RTO will no longer hold from {day} on.")
        return said.format(day=words.day(found.at)), "unsure"
    return _("The RTO holds for as long as can be seen: the size does not grow towards it."), "good"


def _size(count: float | None, words: Words) -> Cell:
    if count is None:
        return Cell(words.unknown, "unsure")
    sign = "−" if count < 0 else ""
    return Cell(sign + words.size(round(abs(count))))


def problems(one: TargetMetrics, words: Words) -> tuple[Block, ...]:
    """Messages stay English, as everywhere."""
    _ = words._
    if not one.problems:
        return (Sentence(_("Nothing: every record that was asked for was read and believed."), "good"),)
    head = _("They count for nothing. Look at them with: pra evidence verify {target}").format(
        target=one.target
    )
    return (Sentence(head, "bad"), Items(_lines(one.problems, words)))


def _lines(problems: Sequence[str], words: Words) -> tuple[Cell, ...]:
    lines = [Cell(plain(line)) for line in problems[:PROBLEMS]]
    if len(problems) > PROBLEMS:
        more = words._("and {count} more").format(count=words.number(len(problems) - PROBLEMS))
        lines.append(Cell(more))
    return tuple(lines)
