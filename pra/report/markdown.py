"""The report as Markdown, for a Prefect artifact: the same sections, the picture as a table, no raw HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pra.drill.record import DrillRecord
from pra.report.blocks import (
    Block,
    Calendar,
    Cell,
    Command,
    Curve,
    Folded,
    Heading,
    History,
    Items,
    Pairs,
    Picture,
    Report,
    Section,
    Sentence,
    Table,
)
from pra.report.chart import block_bar
from pra.report.content import report_of
from pra.report.stamp import Stamp

_MARKUP = re.compile(r"[\\|<>*_`\[\]&~@#]")
_LINK = re.compile(r"(?i)(?<=[a-z])(?=://)|(?<=www)(?=\.)")
_BLOCK_START = re.compile(r"^(?=[-+=](?:[\s=-]|$))|^(?P<number>\d+)(?=[.)](?:\s|$))")


def render(record: DrillRecord, stamp: Stamp | None, earlier: Sequence[DrillRecord], language: str) -> str:
    """The page; arguments as for :func:`pra.report.html.render`."""
    return page(report_of(record, stamp, earlier, language))


def page(report: Report) -> str:
    """Any report as a page."""
    lines = "  \n".join(text(line) for line in (report.title, *report.lines))
    parts = [f"# {text(report.verdict)}", f"**{text(report.headline)}**", lines]
    for section in report.sections:
        parts += _section(section)
    return "\n\n".join([*parts, "---", text(report.closing)]) + "\n"


def text(plain: str) -> str:
    """Plain text that Markdown leaves as it is: names come from outside, and none may become markup.

    An address stays text too: a report is no place from which to be led away.
    """
    escaped = _MARKUP.sub(lambda found: f"\\{found[0]}", re.sub(r"[ \t\r\n]+", " ", plain).strip())
    unlinked = _LINK.sub(r"\\", escaped)
    return _BLOCK_START.sub(lambda found: f"{found['number'] or ''}\\", unlinked)


def _section(section: Section) -> Iterator[str]:
    yield f"## {text(section.title)}"
    for block in section.blocks:
        yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Table():
            yield _table(block.columns, block.rows)
        case Pairs():
            yield "\n".join(f"- {_cell(name)}: {_cell(value)}" for name, value in block.rows)
        case Items():
            yield "\n".join(f"- {_cell(line)}" for line in block.lines)
        case Sentence():
            yield f"**{text(block.text)}**" if block.tone == "bad" else text(block.text)
        case Heading():
            yield f"### {text(block.text)}"
        case Command():
            yield f"```sh\n{block.text}\n```"
        case Picture():
            yield _phases(block)
        case History() | Curve() | Calendar():
            pass  # the table beside it says the same
        case Folded():
            yield f"### {text(block.title)}"
            yield from _block(block.block)


def _phases(picture: Picture) -> str:
    bars = [Cell(block_bar(picture.chart, bar), code=True) for bar in picture.chart.bars]
    rows = [(*row, bar) for row, bar in zip(picture.phases.rows, bars, strict=True)]
    return _table((*picture.phases.columns, "▒ █"), rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    lines = [[text(column) for column in columns], ["---"] * len(columns)]
    lines += [[_cell(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: Cell) -> str:
    if cell.code and cell.text and not set("`|\\") & set(cell.text):
        return f"`{cell.text}`"
    return f"**{text(cell.text)}**" if cell.tone == "bad" else text(cell.text)
