"""How metrics are said: objectives by their names, shares with decimals, what is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from math import floor, isfinite

from pra.messages import mark
from pra.report.blocks import Cell, Tone
from pra.report.words import Words
from pra.watch.metrics.judge import Judgement

NAMES: Mapping[str, str] = {
    "rpo": mark("RPO, worst moment"),
    "rpo_share": mark("RPO, samples inside"),
    "rpo_proven": mark("RPO, worst measured by a proof"),
    "rto": mark("RTO, worst measured by a proof"),
    "rto_share": mark("RTO, time inside"),
    "uptime": mark("uptime"),
    "backups": mark("backups on schedule"),
    "tests": mark("restore tests passed"),
    "mttr_p1": mark("P1 incidents, mean time to resolve"),
    "mttr_p2": mark("P2 incidents, mean time to resolve"),
    "mttr_p3": mark("P3 incidents, mean time to resolve"),
}
"""Objectives by the keys that judgements and calendar days have."""


def reach(name: str, words: Words) -> str:
    """An objective by its name in this language."""
    return words._(NAMES[name])


def percent(value: float | None, words: Words) -> str:
    """Two decimals, cut and never rounded up: 99.996 % is not 100 %."""
    if value is None:
        return words.unknown
    space = "\N{NO-BREAK SPACE}" if words.language == "fr" else ""
    return f"{words.number(floor(value * 10000 + 1e-6) / 100)}{space}%"


def seconds(value: float | None, words: Words) -> str:
    """A duration; infinity is that everything would have been lost."""
    if value is not None and not isfinite(value):
        return words._("everything")
    return words.duration(value)


def against(value: float | None, limit: float, words: Words) -> str:
    """A duration beside its limit: by how little it is above is said where it would read the same."""
    said = seconds(value, words)
    if value is None or value <= limit or said != words.duration(limit):
        return said
    return f"{said} + {words.duration(value - limit)}"


def goal(one: Judgement, words: Words) -> str:
    if one.unit == "seconds":
        return f"≤ {words.duration(one.goal)}"
    return f"≥ {percent(one.goal, words)}"


def actual(one: Judgement, words: Words) -> Cell:
    """What was reached, in the tone of whether that is enough."""
    if one.nothing:
        return Cell(words._("none"))
    in_time = one.unit == "seconds"
    said = against(one.actual, one.goal, words) if in_time else percent(one.actual, words)
    return Cell(said, met_tone(one.met))


def met_tone(met: bool | None) -> Tone:
    return "unsure" if met is None else "good" if met else "bad"


def inside_word(inside: bool | None, words: Words) -> str:
    if inside is None:
        return words.unknown
    return words._("inside") if inside else words._("outside")


def known(text: str, words: Words) -> Cell:
    return Cell(text, "unsure" if text == words.unknown else "")


def moment(at: datetime | None, words: Words) -> Cell:
    return known(words.unknown if at is None else words.moment(at), words)
