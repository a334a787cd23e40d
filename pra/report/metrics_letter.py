"""The weekly report as plain text, ready to send: what a manager wants to know, and nothing to decipher."""

from __future__ import annotations

from collections.abc import Iterator

from pra.report.metrics_figures import PROBLEMS, forecast_sentence
from pra.report.metrics_words import actual, goal, percent, reach, seconds
from pra.report.words import Words, plain
from pra.watch.metrics.judge import Judgement, judged, overall
from pra.watch.metrics.whole import TargetMetrics


def letter(one: TargetMetrics, words: Words) -> str:
    """About the week; in lines that any mail program leaves as they are."""
    return "\n".join(_lines(one, words))


def _lines(one: TargetMetrics, words: Words) -> Iterator[str]:
    _ = words._
    week = one.week
    judgements = judged(week, one.goals)
    since, until = words.day(week.period.since), words.day(week.period.until)
    yield _("Weekly recovery report of {target}, {since} to {until}").format(
        target=one.target, since=since, until=until
    )
    yield ""
    yield _state(one, overall(judgements, problems=bool(one.problems)), words)
    yield ""
    for each in judgements:
        line = f"- {reach(each.name, words)}: {actual(each, words).text} ({goal(each, words)})"
        yield line + _sign(each, words)
    yield ""
    tests = week.tests.results
    yield _("Restore tests: {passed} passed of {count}.").format(
        passed=words.number(int(tests.good)), count=words.number(int(tests.good + tests.bad))
    )
    yield _("A disaster at the newest sample would have cost {duration}.").format(
        duration=seconds(week.exposure.latest, words)
    )
    yield _("Not known: {samples} of the status samples; {hours} of the hours have none at all.").format(
        samples=percent(week.uptime.unknown_part, words), hours=percent(week.unwatched.unknown_part, words)
    )
    last = one.last_drill
    drilled = f"{words.day(last.at)}, {last.verdict}" if last is not None else _("never")
    yield _("Last drill: {when}.").format(when=drilled)
    yield forecast_sentence(one.forecast, words)[0]
    if one.problems:
        yield ""
        yield _("What could not be read or believed") + ":"
        yield from (f"- {plain(line)}" for line in one.problems[:PROBLEMS])


def _state(one: TargetMetrics, inside: bool | None, words: Words) -> str:
    _ = words._
    if one.empty:
        return _("{target}: there is no record of anything yet.").format(target=one.target)
    if inside is None:
        return _("Nothing is known to have been missed, but not everything is known.")
    if inside:
        return _("Every objective was met.")
    return _("Not every objective was met.")


def _sign(each: Judgement, words: Words) -> str:
    """Missed and unknown are said; what is well needs no word."""
    if each.nothing or each.met:
        return ""
    return f" - {words._('unknown') if each.met is None else words._('MISSED')}"
