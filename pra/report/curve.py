"""A measurement over days as SVG: a line with gaps where nobody knows, or dots for single measurements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pra.report.blocks import Curve
from pra.report.svg import BAD, EDGE, FAINT, GOOD, LINE, WORK, line, opening, shortened, text

_TOP, _HEIGHT, _FOOT = 20, 120, 24


def draw_curve(curve: Curve, width: int) -> str:
    """Time to the right; the labels of both edges stand on the left, those of both ends below."""
    bottom = _TOP + _HEIGHT
    parts = [opening("curve-of-days", width, bottom + _FOOT, curve.title)]
    for y in (_TOP, bottom):
        parts.append(line(EDGE, y, width - EDGE, y, "grid", LINE))
    parts.append(text(EDGE, _TOP - 6, shortened(curve.highest, width // 2), "start", "faint", FAINT))
    parts.append(text(EDGE, bottom - 5, shortened(curve.lowest, width // 2), "start", "faint", FAINT))
    parts.append(text(EDGE, bottom + 16, curve.first, "start", "faint", FAINT))
    parts.append(text(width - EDGE, bottom + 16, curve.last, "end", "faint", FAINT))
    points = [_point(curve, place, value, width) for place, value in enumerate(curve.values)]
    parts += _dots(curve, points) if curve.dots else _lines(points)
    if curve.goal is not None and curve.low <= curve.goal <= curve.high:
        across = _height(curve, curve.goal)
        parts.append(line(EDGE, across, width - EDGE, across, "mark other", FAINT, dashed=True))
        at = across - 5 if across > _TOP + 14 else across + 14
        parts.append(text(width - EDGE, at, shortened(curve.goal_label, width // 2), "end", "faint", FAINT))
    return "".join([*parts, "</svg>"])


Point = tuple[float, float] | None


def _point(curve: Curve, place: int, value: float | None, width: int) -> Point:
    if value is None:
        return None
    room = width - 2 * EDGE
    share = place / (len(curve.values) - 1) if len(curve.values) > 1 else 0.5
    return EDGE + share * room, _height(curve, value)


def _height(curve: Curve, value: float) -> float:
    """What lies outside is drawn at the edge."""
    span = (curve.high - curve.low) or 1.0
    return _TOP + _HEIGHT * (1 - min(max((value - curve.low) / span, 0.0), 1.0))


def _lines(points: Sequence[Point]) -> Iterator[str]:
    """A stretch of known values is a line; one that stands alone is a dot."""
    run: list[tuple[float, float]] = []
    for point in [*points, None]:
        if point is not None:
            run.append(point)
            continue
        if len(run) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
            yield f'<polyline class="curve" points="{path}" fill="none" stroke="{WORK}" stroke-width="2"/>'
        elif run:
            yield _dot(*run[0], "work", WORK)
        run = []


def _dots(curve: Curve, points: Sequence[Point]) -> Iterator[str]:
    for value, point in zip(curve.values, points, strict=True):
        if point is not None and value is not None:
            bad = curve.goal is not None and value > curve.goal
            yield _dot(*point, "bad" if bad else "good", BAD if bad else GOOD)


def _dot(x: float, y: float, kind: str, colour: str) -> str:
    return f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'
