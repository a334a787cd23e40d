"""The few shapes that the report's pictures are made of. No script, no font, nothing fetched.

Colours are given as attributes, so that a picture stands alone; the page's style sheet overrides them by
class for dark screens and for print.
"""

from __future__ import annotations

from html import escape

WIDE, NARROW = 860, 340
"""Units across: for a desk or paper, and for a telephone. Letters are readable where a unit is a pixel."""
EDGE = 10
LETTER = 7.0
"""Units that a letter of the pictures' text takes at most, on average."""
INK, FAINT, LINE = "#1b2430", "#5b6675", "#c9d0d9"
WORK, WAIT, AWAY = "#2f6db5", "#b7791f", "#fbe4e2"
GOOD, BAD, UNSURE = "#1d7a3e", "#b3261e", "#8a5a00"


def opening(kind: str, width: int, height: float, title: str) -> str:
    return (
        f'<svg class="picture {kind}" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="12"><title>{escape(title)}</title>'
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str, colour: str, *, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    return (
        f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{colour}"{dash}/>'
    )


def text(x: float, y: float, words: str, anchor: str, kind: str, colour: str) -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">'
        f"{escape(words)}</text>"
    )


def shortened(words: str, width: int) -> str:
    """Cut to what fits beside both edges."""
    room = int((width - 2 * EDGE) / LETTER)
    return words if len(words) <= room else f"{words[: room - 1]}…"
