"""The compliance calendar as SVG. A sign in each square says the same as its colour."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from pra.report.blocks import Calendar, CalendarDay, Tone
from pra.report.svg import BAD, EDGE, FAINT, GOOD, LETTER, LINE, UNSURE, opening, text

_SMALLEST, _LARGEST, _NUMBERED = 11.5, 38.0, 24.0
_HEAD, _GAP, _KEY = 16, 10, 22
_COLOURS: dict[Tone, str] = {"good": GOOD, "bad": BAD, "unsure": UNSURE, "": "#eef1f5"}
_SIGNS: dict[Tone, str] = {"good": "✓", "bad": "×", "unsure": "?", "": "?"}


def draw_calendar(calendar: Calendar, width: int) -> str:
    """Weeks go to the right, in as many bands as the width asks for."""
    room = width - 2 * EDGE
    columns = (len(calendar.days) + calendar.weekday + 6) // 7
    in_band = max(1, min(columns, int(room / _SMALLEST)))
    pitch = min(_LARGEST, room / in_band)
    bands = (columns + in_band - 1) // in_band
    band = _HEAD + 7 * pitch + _GAP
    keys, bottom = _legend(calendar, width, bands * band + 12)
    parts = [opening("calendar", width, bottom, calendar.title)]
    for place, day in enumerate(calendar.days):
        column, row = divmod(place + calendar.weekday, 7)
        x = EDGE + column % in_band * pitch
        y = column // in_band * band + _HEAD + row * pitch
        parts += _square(day, x, y, pitch)
    for place, name in calendar.months:
        column = (place + calendar.weekday) // 7
        x, y = EDGE + column % in_band * pitch, column // in_band * band + 11
        if x + len(name) * LETTER <= width:
            parts.append(text(x, y, name, "start", "faint", FAINT))
    return "".join([*parts, *keys, "</svg>"])


def _square(day: CalendarDay, x: float, y: float, pitch: float) -> Iterator[str]:
    side = pitch - 2
    middle = x + side / 2
    yield f"<g><title>{escape(day.said)}</title>"
    yield _box(day.tone, x, y, side)
    on = "on" if day.tone else "off"
    ink = "#ffffff" if day.tone else FAINT
    if pitch >= _NUMBERED:
        yield text(middle, y + side / 2 - 1, str(day.number), "middle", on, ink)
        yield text(middle, y + side / 2 + 12, _SIGNS[day.tone], "middle", on, ink)
    elif day.tone != "good":
        yield text(middle, y + side / 2 + 4, _SIGNS[day.tone], "middle", on, ink)
    yield "</g>"


def _box(tone: Tone, x: float, y: float, side: float) -> str:
    kind = f"bar {tone}" if tone else "none"
    outline = "" if tone else f' stroke="{LINE}"'
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side:.1f}" rx="2" '
        f'fill="{_COLOURS[tone]}"{outline}/>'
    )


def _legend(calendar: Calendar, width: int, y: float) -> tuple[list[str], float]:
    parts: list[str] = []
    x = float(EDGE)
    for tone, said in calendar.legend:
        length = 22 + len(said) * LETTER + 14
        if x + length > width - EDGE and x > EDGE:
            x, y = float(EDGE), y + _KEY
        parts.append(_box(tone, x, y - 11, 14))
        parts.append(
            text(x + 7, y, _SIGNS[tone], "middle", "on" if tone else "off", "#ffffff" if tone else FAINT)
        )
        parts.append(text(x + 20, y, said, "start", "faint", FAINT))
        x += length
    return parts, y + 12
