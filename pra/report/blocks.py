"""What a report is made of: sections of tables, lists and sentences, in no markup. Plain text throughout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pra.report.chart import Chart

Tone = Literal["", "good", "bad", "unsure"]
"""How a cell or a sentence is to be taken; the words say it too, since colour alone says nothing on paper."""


@dataclass(frozen=True)
class Cell:
    """One value. ``code`` marks what is to be copied: a name, a hash, a command."""

    text: str
    tone: Tone = ""
    code: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under headings. The first cell of a row names it."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Pairs:
    """A name and its value, line by line."""

    rows: tuple[tuple[Cell, Cell], ...]
    kind: Literal["pairs"] = "pairs"


@dataclass(frozen=True)
class Items:
    lines: tuple[Cell, ...]
    kind: Literal["items"] = "items"


@dataclass(frozen=True)
class Sentence:
    text: str
    tone: Tone = ""
    kind: Literal["sentence"] = "sentence"


@dataclass(frozen=True)
class Heading:
    text: str
    kind: Literal["heading"] = "heading"


@dataclass(frozen=True)
class Command:
    """What to type."""

    text: str
    kind: Literal["command"] = "command"


@dataclass(frozen=True)
class Picture:
    """The timeline, and the same as a table for who cannot see it."""

    chart: Chart
    phases: Table
    title: str
    kind: Literal["picture"] = "picture"


@dataclass(frozen=True)
class Entry:
    """One drill in the trend; ``seconds`` until the service was back, None where that is not known."""

    label: str
    seconds: float | None
    tone: Tone


@dataclass(frozen=True)
class History:
    """The trend as a picture. A table beside it says the same.

    Attributes:
        target: The RTO as it is said.
    """

    title: str
    entries: tuple[Entry, ...]
    target: str
    target_seconds: float | None
    kind: Literal["history"] = "history"


@dataclass(frozen=True)
class Folded:
    """What few will want to read, behind its title."""

    title: str
    block: Table | Items
    kind: Literal["folded"] = "folded"


@dataclass(frozen=True)
class Curve:
    """A measurement day by day. A sentence beside it says what matters of it.

    Attributes:
        values: Evenly spaced; None where nobody knows.
        low: The value at the bottom edge. lowest, highest: What is written at the edges.
        goal: A line across, with its label.
        dots: Single measurements, each good or bad against the goal, instead of a line.
    """

    title: str
    values: tuple[float | None, ...]
    low: float
    high: float
    lowest: str
    highest: str
    first: str
    last: str
    goal: float | None = None
    goal_label: str = ""
    dots: bool = False
    kind: Literal["curve"] = "curve"


@dataclass(frozen=True)
class CalendarDay:
    """``number``: of the month. ``said``: what a pointer resting on it shows."""

    number: int
    tone: Tone
    said: str


@dataclass(frozen=True)
class Calendar:
    """A square a day, a column a week, Monday on top.

    Attributes:
        weekday: Of the first day, 0 for Monday.
        months: Where one begins: place of its first day, and its short name.
        legend: What each tone means.
    """

    title: str
    days: tuple[CalendarDay, ...]
    weekday: int
    months: tuple[tuple[int, str], ...]
    legend: tuple[tuple[Tone, str], ...]
    kind: Literal["calendar"] = "calendar"


Block = Table | Pairs | Items | Sentence | Heading | Command | Picture | History | Folded | Curve | Calendar


@dataclass(frozen=True)
class Section:
    """``name`` is its anchor, the same in every language."""

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Report:
    """The whole page.

    Attributes:
        verdict: As it is shown, large.
        headline: The sentence that a manager reads, and perhaps nothing else.
        lines: What, when, and how long; below it.
        closing: The last line.
    """

    language: str
    title: str
    verdict: str
    tone: Tone
    headline: str
    lines: tuple[str, ...]
    sections: tuple[Section, ...]
    closing: str
