"""The timeline as SVG: phases as bars, events as marks, waiting for people hatched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from pra.report.chart import DISASTER, SERVICE, Bar, Chart, Mark
from pra.report.svg import (
    AWAY,
    BAD,
    EDGE,
    FAINT,
    GOOD,
    INK,
    LETTER,
    LINE,
    WAIT,
    WIDE,
    WORK,
    line,
    opening,
    shortened,
    text,
)
from pra.report.words import Words

_ROW, _BAR, _LANE = 38, 14, 18
_AXIS = 42
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_MARKS = {DISASTER: ("lost", BAD), SERVICE: ("back", GOOD), "proven": ("back", GOOD)}


@dataclass(frozen=True)
class Scale:
    """From seconds on the chart's clock to units of the picture."""

    chart: Chart
    width: int

    @property
    def right(self) -> float:
        return self.width - EDGE

    def x(self, at: float) -> float:
        return EDGE + self.chart.share(at) * (self.width - 2 * EDGE)


@dataclass(frozen=True)
class _Label:
    """A text that stays inside: it runs to the right of ``x``, or to the left where there is no room."""

    text: str
    x: float
    anchor: str
    begin: float
    end: float


def draw(chart: Chart, words: Words, width: int = WIDE) -> str:
    """The picture, ``width`` units wide; its text is readable where a unit is a pixel."""
    scale = Scale(chart, width)
    lanes = _lanes([_mark_label(mark, scale, words) for mark in chart.marks])
    top = _LANE * (max((lane for lane, _ in lanes), default=-1) + 1) + 8
    bottom = top + _ROW * len(chart.bars) + 4
    legend, height = _legend(chart, words, width, bottom + _AXIS + 14)
    hatch = f"hatch-{width}"
    parts = [
        opening("timeline", width, height, words._("The timeline")),
        f'<defs><pattern id="{hatch}" width="6" height="6" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)"><rect width="2.5" height="6" class="wait" fill="{WAIT}"/>'
        "</pattern></defs>",
        *_away(chart, scale, bottom),
        *_axis(chart, scale, words, top, bottom),
        *_marks(chart, scale, lanes, bottom),
    ]
    for row, bar in enumerate(chart.bars):
        parts += _bar(bar, scale, words, top + row * _ROW, hatch)
    return "".join([*parts, *legend, "</svg>"])


def ticks(chart: Chart, most: int) -> tuple[float, list[float]]:
    """The step of the axis in seconds, and the moments that get a label: at most ``most`` and one."""
    step = next((s for s in _STEPS if chart.seconds / s <= most), 0.0)
    if not step:
        days = int(chart.seconds / most // 86400) + 1
        step = days * 86400.0
    first = int(chart.first // step)
    moments = [i * step for i in range(first, int(chart.last // step) + 1)]
    return step, [at for at in moments if chart.first - 1e-9 <= at <= chart.last + 1e-9]


def _axis(chart: Chart, scale: Scale, words: Words, top: float, bottom: float) -> Iterator[str]:
    _ = words._
    step, moments = ticks(chart, max(scale.width // 80, 2))
    unit = 1 if step < 60 else 60 if step < 3600 else 3600
    for at in moments:
        x = scale.x(at)
        yield line(x, top - 4, x, bottom, "grid", LINE)
        yield text(x, bottom + 16, words.number(round(at / unit, 3)), _centred(x, scale), "faint", FAINT)
    yield line(EDGE, bottom, scale.right, bottom, "axis", FAINT)
    titles = {
        (1, True): _("seconds since the disaster"),
        (60, True): _("minutes since the disaster"),
        (3600, True): _("hours since the disaster"),
        (1, False): _("seconds since the beginning"),
        (60, False): _("minutes since the beginning"),
        (3600, False): _("hours since the beginning"),
    }
    title = titles[unit, chart.from_disaster]
    yield text(scale.right, bottom + 34, title, "end", "faint", FAINT)


def _centred(x: float, scale: Scale) -> str:
    return "start" if x < EDGE + 12 else "end" if x > scale.right - 12 else "middle"


def _away(chart: Chart, scale: Scale, bottom: float) -> Iterator[str]:
    if chart.away:
        begin, end = scale.x(chart.away[0]), scale.x(chart.away[1])
        yield (
            f'<rect class="away" x="{begin:.1f}" y="0" width="{end - begin:.1f}" height="{bottom:.1f}" '
            f'fill="{AWAY}"/>'
        )


def _bar(bar: Bar, scale: Scale, words: Words, y: float, hatch: str) -> Iterator[str]:
    x, end = scale.x(bar.start), scale.x(bar.end)
    width = max(end - x, 2.0)
    said = f"{words.name(bar.name)} · {words.duration(bar.seconds)}"
    if bar.waiting:
        said += f" · {words._('waiting for a person')}"
    kind = "wait" if bar.waiting else "work"
    fill, colour = (f"url(#{hatch})", WAIT) if bar.waiting else (WORK, WORK)
    label = _label(said, x, scale, back=end)
    yield f"<g><title>{escape(said)}</title>"
    yield text(label.x, y + 14, label.text, label.anchor, "ink", INK)
    yield (
        f'<rect class="bar {kind}" x="{x:.1f}" y="{y + 19:.1f}" width="{width:.1f}" height="{_BAR}" '
        f'rx="2" fill="{fill}" stroke="{colour}"/></g>'
    )


def _marks(chart: Chart, scale: Scale, lanes: Sequence[tuple[int, _Label]], bottom: float) -> Iterator[str]:
    texts = []
    for mark, (lane, label) in zip(chart.marks, lanes, strict=True):
        x, y = scale.x(mark.at), lane * _LANE + 4
        kind, colour = _MARKS.get(mark.name, ("other", FAINT))
        yield line(x, y, x, bottom, f"mark {kind}", colour, dashed=True)
        yield f'<circle class="mark {kind}" cx="{x:.1f}" cy="{bottom:.1f}" r="4" fill="{colour}"/>'
        texts.append(text(label.x, y + 10, label.text, label.anchor, f"event {kind}", colour))
    yield from texts  # over every line


def _mark_label(mark: Mark, scale: Scale, words: Words) -> _Label:
    said = words.name(mark.name) + (f" {words.elapsed(mark.at)}" if mark.at else "")
    x = scale.x(mark.at)
    return _label(said, x + 4, scale, back=x - 4)


def _lanes(labels: Sequence[_Label]) -> list[tuple[int, _Label]]:
    """Each label on the first line on which it covers no other."""
    taken: list[list[_Label]] = []
    placed = []
    for label in labels:
        free = (
            i
            for i, lane in enumerate(taken)
            if all(label.begin > other.end + 6 or label.end < other.begin - 6 for other in lane)
        )
        lane = next(free, len(taken))
        if lane == len(taken):
            taken.append([])
        taken[lane].append(label)
        placed.append((lane, label))
    return placed


def _label(said: str, x: float, scale: Scale, *, back: float) -> _Label:
    shown = shortened(said, scale.width)
    length = len(shown) * LETTER
    if x + length <= scale.right:
        return _Label(shown, x, "start", x, x + length)
    end = min(max(back, EDGE + length), scale.right)
    return _Label(shown, end, "end", end - length, end)


def _legend(chart: Chart, words: Words, width: int, y: float) -> tuple[list[str], float]:
    """What the signs mean, and the height of the whole picture."""
    _ = words._
    entries = [("work", WORK, _("phase"))]
    if any(bar.waiting for bar in chart.bars):
        entries.append(("wait", f"url(#hatch-{width})", _("waiting for a person")))
    if chart.away:
        entries.append(("away", AWAY, _("until the service was back")))
    parts, x = [], float(EDGE)
    for kind, fill, said in entries:
        length = 20 + len(said) * LETTER + 16
        if x > EDGE and x + length > width:
            x, y = float(EDGE), y + 20
        outline = WAIT if kind == "wait" else LINE
        parts.append(
            f'<rect class="{"bar " if kind != "away" else "key "}{kind}" x="{x:.1f}" y="{y - 10:.1f}" '
            f'width="14" height="12" fill="{fill}" stroke="{outline}"/>'
        )
        parts.append(text(x + 20, y, said, "start", "faint", FAINT))
        x += length
    return parts, y + 10
