"""A flow's graph as a picture: SVG that stands alone, no script, the same bytes for the same code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deployments.documents.graph import Edge, Graph, Node, graphs
from deployments.documents.rooms import Rooms
from pra.report import svg

_BOX, _HIGH, _LANE, _LAYER = 230, 42, 262, 74
"""A box's width and height, and from one to the next across and down."""
_HEAD, _GUTTER, _NARROWEST = 64, 28, 760
_FILL = {"task": "#eef4fb", "person": "#fdf3dd", "question": "#ffffff"}
_RIM = {"task": svg.WORK, "person": svg.WAIT, "question": svg.FAINT}


def pictures(root: Path) -> dict[str, str]:
    """By file name, a picture of each flow below ``root``."""
    return {f"{graph.name}.svg": draw(graph) for graph in graphs(Rooms(root))}


def draw(graph: Graph) -> str:
    """Each step below what it waits for; beside each other what runs at the same time, or one way of two."""
    return "".join(_Picture(graph).parts())


class _Picture:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.lanes: dict[int, int] = {}
        self.layer: dict[int, int] = {}
        for level, numbers in enumerate(graph.layers()):
            taken: set[int] = set()
            for number in numbers:
                self.layer[number] = level
                # As far to the left as there is room: the way from above goes straight on.
                before = (self.lanes[e.before] for e in graph.edges if e.after == number)
                lane = min(before, default=0)
                while lane in taken:
                    lane += 1
                taken.add(lane)
                self.lanes[number] = lane
        across = max(self.lanes.values(), default=0) + 1
        self.edge = 2 * svg.EDGE + across * _LANE
        self.width = max(_NARROWEST, self.edge + _GUTTER)
        self.head = _HEAD + 16 * len(graph.notes)
        self.height = self.head + len(graph.layers()) * _LAYER

    def parts(self) -> Iterator[str]:
        graph = self.graph
        yield svg.opening("flow", self.width, self.height, f"The flow {graph.name}")
        yield f'<rect width="{self.width}" height="{self.height}" fill="#ffffff"/>'
        yield svg.text(svg.EDGE, 22, f"flow {graph.name}", "start", "name", svg.INK)
        yield svg.text(svg.EDGE, 40, svg.shortened(graph.title, self.width), "start", "title", svg.FAINT)
        for row, note in enumerate(graph.notes):
            yield svg.text(svg.EDGE, 56 + 16 * row, f"↻ {note}", "start", "note", svg.FAINT)
        for edge in graph.edges:
            yield from self._arrow(edge)
        for number, node in enumerate(graph.nodes):
            yield from self._box(number, node)
        yield "</svg>\n"

    def _place(self, number: int) -> tuple[float, float]:
        """The middle of a box's upper rim."""
        return svg.EDGE + self.lanes[number] * _LANE + _BOX / 2, self.head + self.layer[number] * _LAYER

    def _box(self, number: int, node: Node) -> Iterator[str]:
        x, y = self._place(number)
        round_ = _HIGH / 2 if node.kind == "question" else 5
        yield (
            f'<rect x="{x - _BOX / 2:.0f}" y="{y:.0f}" width="{_BOX}" height="{_HIGH}" rx="{round_:g}" '
            f'fill="{_FILL[node.kind]}" stroke="{_RIM[node.kind]}"/>'
        )
        below = f"{'side by side' if node.beside else 'in turn'}: {node.each}" if node.each else ""
        if node.kind == "person":
            below = "may wait for a person"
        yield svg.text(x, y + (18 if below else 26), node.name, "middle", "step", svg.INK)
        if below:
            yield svg.text(x, y + 34, below, "middle", "each", svg.FAINT)

    def _arrow(self, edge: Edge) -> Iterator[str]:
        x, y = self._place(edge.before)
        to_x, to_y = self._place(edge.after)
        if self._is_free(edge):
            points = [(x, y + _HIGH), (x, to_y - _LAYER + _HIGH), (to_x, to_y)]
        else:  # around everything, on the right
            side = self.edge
            points = [
                (x + _BOX / 2, y + _HIGH / 2), (side, y + _HIGH / 2), (side, to_y + _HIGH / 2),
                (to_x + _BOX / 2, to_y + _HIGH / 2),
            ]  # fmt: skip
        way = " ".join(f"{a:.0f},{b:.0f}" for a, b in points)
        yield f'<polyline points="{way}" fill="none" stroke="{svg.FAINT}"/>'
        yield _head(points[-1], sideways=not self._is_free(edge))
        if edge.word:
            beside = (x + _BOX / 2 + 8, y + 16) if not self._is_free(edge) else self._beside(edge)
            yield svg.text(*beside, edge.word, "start", "word", svg.FAINT)

    def _beside(self, edge: Edge) -> tuple[float, float]:
        """Where a straight arrow's word stands."""
        x, y = self._place(edge.before)
        to_x, _ = self._place(edge.after)
        return (x + to_x) / 2 + 8, y + _HIGH + (_LAYER - _HIGH) / 2

    def _is_free(self, edge: Edge) -> bool:
        """Whether no box lies straight below on the way."""
        between = range(self.layer[edge.before] + 1, self.layer[edge.after])
        lane = self.lanes[edge.before]
        return not any(self.layer[n] in between and self.lanes[n] == lane for n in self.layer)


def _head(at: tuple[float, float], *, sideways: bool) -> str:
    x, y = at
    ends = [(x + 7, y - 4), (x + 7, y + 4)] if sideways else [(x - 4, y - 7), (x + 4, y - 7)]
    points = " ".join(f"{a:.0f},{b:.0f}" for a, b in [at, *ends])
    return f'<polygon points="{points}" fill="{svg.FAINT}"/>'
