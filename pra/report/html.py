"""The report as one HTML page that needs nothing else: no network, no script, no font of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from pra.drill.record import DrillRecord
from pra.report.blocks import Report
from pra.report.calendar import draw_calendar
from pra.report.content import report_of
from pra.report.curve import draw_curve
from pra.report.history import draw_history
from pra.report.picture import draw
from pra.report.stamp import Stamp
from pra.report.svg import NARROW, WIDE
from pra.report.words import Words


def render(record: DrillRecord, stamp: Stamp | None, earlier: Sequence[DrillRecord], language: str) -> str:
    """The page.

    Args:
        stamp: Where the evidence holds the record; None when it could not be recorded.
        earlier: Records of the same scenario, the newest first; may be empty.
        language: ``en`` or ``fr``.
    """
    return page(report_of(record, stamp, earlier, language))


def page(report: Report) -> str:
    """Any report as a page."""
    words = Words(report.language)
    # Two sizes of one picture: scaled to a phone, the wide one's letters could not be read.
    return _template().render(
        report=report,
        sizes=(("wide", WIDE), ("narrow", NARROW)),
        draw=lambda chart, width: draw(chart, words, width),
        draw_history=draw_history,
        draw_curve=draw_curve,
        draw_calendar=draw_calendar,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")
