"""Metrics at a terminal: the verdict, the objectives, and what stands behind them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape

from deployments.cli.output import Output
from pra.report import metrics_figures, metrics_trends
from pra.report.blocks import Block, Cell, Folded, Items, Pairs, Sentence, Table
from pra.report.metrics_words import inside_word, met_tone
from pra.report.words import Words
from pra.watch.metrics.days import Day
from pra.watch.metrics.whole import TargetMetrics

_COLOURS = {"good": "green", "bad": "red", "unsure": "yellow", "": ""}
_SIGNS = {True: "[green]✓[/]", False: "[red]×[/]", None: "[yellow]?[/]"}


def show(out: Output, metrics: Sequence[TargetMetrics], language: str) -> None:
    """The same blocks as the page's; pictures apart."""
    words = Words(language)
    for number, each in enumerate(metrics):
        if number:
            out.text()
        _target(out, each, words)


def _target(out: Output, one: TargetMetrics, words: Words) -> None:
    _ = words._
    state = _marked(Cell(inside_word(one.inside, words).upper(), met_tone(one.inside)))
    period = one.chosen.period
    since, until = words.day(period.since), words.moment(period.until)
    said = _("From {since} until {until}.").format(since=since, until=until)
    out.text(f"[bold]{escape(one.target)}[/]  {state}  [dim]{escape(said)}[/]")
    if one.empty:
        out.text(escape(_("{target}: there is no record of anything yet.").format(target=one.target)))
    parts = (
        ("", metrics_figures.objectives(one, words)),
        (_("Day by day"), metrics_trends.days(one, words)[:1]),
        (_("Backups"), metrics_figures.backups(one, words)),
        (_("Restore tests and drills"), metrics_figures.proofs(one, words)[:1]),
        (_("Incidents"), metrics_figures.incidents(one, words)[:1]),
        (_("Size and forecast"), metrics_figures.outlook(one, words)[:2]),
    )
    for title, blocks in parts:
        if title:
            out.text(f"\n[bold]{escape(title)}[/]")
        for block in blocks:
            _block(out, block)
        if title == _("Day by day"):
            _calendar(out, one.days)


def _calendar(out: Output, days: Sequence[Day]) -> None:
    """A sign a day, the oldest first; a space between weeks."""
    weeks: list[str] = [""]
    for day in days:
        if day.day.weekday() == 0 and weeks[-1]:
            weeks.append("")
        weeks[-1] += _SIGNS[day.inside]
    for begin in range(0, len(weeks), 8):
        out.text("  " + " ".join(weeks[begin : begin + 8]))


def _block(out: Output, block: Block) -> None:
    match block:
        case Table():
            out.table(block.columns, [[_marked(cell) for cell in row] for row in block.rows])
        case Pairs():
            for name, value in block.rows:
                out.text(f"  [dim]{escape(name.text)}:[/] {_marked(value)}")
        case Sentence():
            out.text(_marked(Cell(block.text, block.tone)))
        case Items():
            for line in block.lines:
                out.text(f"  {_marked(line)}")
        case Folded():
            _block(out, block.block)
        case _:
            pass  # pictures


def _marked(cell: Cell) -> str:
    colour = _COLOURS[cell.tone]
    return f"[{colour}]{escape(cell.text)}[/]" if colour else escape(cell.text)
