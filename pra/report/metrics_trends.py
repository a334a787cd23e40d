"""The pictures of the page of metrics: the compliance calendar, and measurements day by day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from math import isfinite

from babel.dates import format_date

from pra.report.blocks import Block, Calendar, CalendarDay, Cell, Curve, Folded, Heading, Sentence, Table
from pra.report.metrics_words import against, met_tone, percent, reach, seconds
from pra.report.words import Words
from pra.watch.metrics.days import Day
from pra.watch.metrics.whole import TargetMetrics


def days(one: TargetMetrics, words: Words) -> tuple[Block, ...]:
    """The calendar, and the days that were not inside as a table."""
    _ = words._
    inside = sum(day.inside is True for day in one.days)
    outside = sum(day.inside is False for day in one.days)
    unknown = len(one.days) - inside - outside
    sentence = _(
        "{inside} days inside every objective, {outside} outside, {unknown} of which too little is known."
    )
    said = sentence.format(
        inside=words.number(inside), outside=words.number(outside), unknown=words.number(unknown)
    )
    blocks: list[Block] = [Sentence(said, "bad" if outside else ""), _calendar(one, words, said)]
    missed = [day for day in reversed(one.days) if day.inside is False]
    if missed:
        columns = (_("Day"), _("Missed"), _("Uptime"), _("Worst a disaster would have cost"))
        rows = tuple(_row(day, one.goals.rpo.total_seconds(), words) for day in missed)
        blocks.append(Folded(_("The days outside, as a table"), Table(columns, rows)))
    return tuple(blocks)


def _row(day: Day, rpo: float, words: Words) -> tuple[Cell, ...]:
    return (
        Cell(words.day(_at(day.day))),
        Cell(_missed(day, words), "bad"),
        Cell(percent(day.uptime, words), met_tone(None) if day.uptime is None else ""),
        Cell(against(day.exposed, rpo, words), met_tone(None) if day.exposed is None else ""),
    )


def _missed(day: Day, words: Words) -> str:
    return "; ".join(reach(name, words) for name in day.missed)


def _at(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _calendar(one: TargetMetrics, words: Words, title: str) -> Calendar:
    _ = words._
    months = [
        (place, str(format_date(day.day, "LLL", locale=words.locale)))
        for place, day in enumerate(one.days)
        if day.day.day == 1 or (place == 0 and day.day.day < 8)
    ]
    squares = tuple(
        CalendarDay(day.day.day, "" if day.inside is None else met_tone(day.inside), _said(day, words))
        for day in one.days
    )
    return Calendar(
        title=title,
        days=squares,
        weekday=one.days[0].day.weekday(),
        months=tuple(months),
        legend=(
            ("good", _("inside every objective")),
            ("bad", _("outside one or more")),
            ("", _("too little is known")),
        ),
    )


def _said(day: Day, words: Words) -> str:
    state = _missed(day, words) or (words.unknown if day.inside is None else words._("inside"))
    return f"{words.day(_at(day.day))}: {state}"


# -- measurements --------------------------------------------------------------------------------


def trends(one: TargetMetrics, words: Words) -> tuple[Block, ...]:
    """What a disaster would have cost, uptime, RTO of proofs, and size; one picture each."""
    _ = words._
    rpo, rto = one.goals.rpo.total_seconds(), one.goals.rto.total_seconds()
    exposed = _("Worst that a disaster would have cost, by day")
    slowest = _("RTO of proofs and drills, the slowest of each day")
    parts = (
        (exposed, _durations(exposed, [day.exposed for day in one.days], rpo, one, words)),
        (slowest, _durations(slowest, _slowest(one), rto, one, words, dots=True)),
        (_("Uptime, by day"), _uptime(_("Uptime, by day"), one, words)),
        (_("Size of the database, by day"), _sizes(_("Size of the database, by day"), one, words)),
    )
    blocks: list[Block] = []
    for title, curve in parts:
        blocks.append(Heading(title))
        blocks.append(curve or Sentence(_("Nothing is known of it in this time."), "unsure"))
    return tuple(blocks)


def _durations(
    title: str,
    values: Sequence[float | None],
    goal: float,
    one: TargetMetrics,
    words: Words,
    *,
    dots: bool = False,
) -> Curve | None:
    """From zero; the goal is in the picture, and what is without limit at its upper edge."""
    finite = [value for value in values if value is not None and isfinite(value)]
    endless = any(value is not None and not isfinite(value) for value in values)
    if not finite and not endless:
        return None
    high = max([*finite, goal]) * 1.05
    top = max(finite, default=goal)
    first, last = _ends(one, words)
    return Curve(
        title=title,
        values=tuple(values),
        low=0.0,
        high=high,
        lowest="0",
        highest=words._("at most {value}").format(value=seconds(float("inf") if endless else top, words)),
        first=first,
        last=last,
        goal=goal,
        goal_label=words._("goal {value}").format(value=words.duration(goal)),
        dots=dots,
    )


def _uptime(title: str, one: TargetMetrics, words: Words) -> Curve | None:
    """The lower edge is the worst day: from zero, an hour's outage could not be seen."""
    values = [day.uptime for day in one.days]
    known = [value for value in values if value is not None]
    if not known:
        return None
    low = min(*known, one.goals.uptime, 0.995)
    first, last = _ends(one, words)
    return Curve(
        title=title,
        values=tuple(values),
        low=low,
        high=1.0,
        lowest=percent(low, words),
        highest=percent(1.0, words),
        first=first,
        last=last,
        goal=one.goals.uptime,
        goal_label=words._("goal {value}").format(value=percent(one.goals.uptime, words)),
    )


def _sizes(title: str, one: TargetMetrics, words: Words) -> Curve | None:
    values = [day.size for day in one.days]
    known = [value for value in values if value is not None]
    if not known:
        return None
    high = max(*known, 1.0)
    first, last = _ends(one, words)
    return Curve(
        title=title,
        values=tuple(values),
        low=0.0,
        high=high * 1.05,
        lowest="0",
        highest=words._("at most {value}").format(value=words.size(round(high))),
        first=first,
        last=last,
    )


def _ends(one: TargetMetrics, words: Words) -> tuple[str, str]:
    return words.day(_at(one.days[0].day)), words.day(_at(one.days[-1].day))


def _slowest(one: TargetMetrics) -> list[float | None]:
    worst: dict[date, float] = {}
    for fact in one.proofs:
        if fact.rto is not None:
            worst[fact.at.date()] = max(fact.rto, worst.get(fact.at.date(), 0.0))
    return [worst.get(day.day) for day in one.days]
