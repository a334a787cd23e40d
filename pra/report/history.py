"""The trend as a picture: how long each drill took until the service was back, the newest on top."""

from __future__ import annotations

from pra.report.blocks import Entry, History
from pra.report.svg import BAD, EDGE, FAINT, GOOD, INK, UNSURE, line, opening, shortened, text

_ROW, _BAR, _TOP = 36, 12, 22
_FAR = 3.0
"""A target further off than this many of the longest bar would leave nothing to compare."""
_COLOURS = {"good": GOOD, "bad": BAD, "unsure": UNSURE, "": FAINT}


def draw_history(history: History, width: int) -> str:
    """Bars from zero; a target that lies near is a line across them. What is unknown has no bar."""
    longest = max((e.seconds for e in history.entries if e.seconds is not None), default=0.0)
    target = history.target_seconds
    near = target is not None and longest > 0 and target <= longest * _FAR
    full = max(longest, target or 0.0) if near else longest
    unit = (width - 2 * EDGE) / full if full else 0.0
    top = _TOP if near else 0
    height = top + _ROW * len(history.entries) + 6
    parts = [opening("history", width, height, history.title)]
    if near and target is not None:
        x = EDGE + target * unit
        anchor, at = ("end", x - 4) if x > width / 2 else ("start", x + 4)
        parts.append(line(x, 4, x, height - 4, "mark other", FAINT, dashed=True))
        parts.append(text(at, 14, history.target, anchor, "faint", FAINT))
    for row, entry in enumerate(history.entries):
        parts.append(_bar(entry, top + row * _ROW, unit, width))
    return "".join([*parts, "</svg>"])


def _bar(entry: Entry, y: float, unit: float, width: int) -> str:
    label = text(EDGE, y + 14, shortened(entry.label, width), "start", "ink", INK)
    if entry.seconds is None:
        return label
    length = max(entry.seconds * unit, 2.0)
    return label + (
        f'<rect class="bar {entry.tone}" x="{EDGE}" y="{y + 19}" width="{length:.1f}" height="{_BAR}" rx="2" '
        f'fill="{_COLOURS[entry.tone]}"/>'
    )
