"""Trees as SVG: who came from whom, layer by layer from left to right, coloured by a value, described in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

from .plot import head_of, is_there
from .ramp import colour_of
from .scale import number_text

_LEFT, _RIGHT, _TOP, _BOTTOM = 24.0, 24.0, 34.0, 40.0
_ROW, _LEAST_HEIGHT, _MOST_HEIGHT = 16.0, 140, 520
_BOW = 10.0
_LABELS = 12
"""Layers that are named below; where there are more, every second or third is."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node in a layer; ``title`` is what a pointer above it shows, ``mark`` puts a ring around it."""

    id: str
    layer: int
    value: float | None = None
    title: str = ""
    mark: bool = False


@dataclass(frozen=True, slots=True)
class Tree:
    """A title, nodes, and lines from one to another by their ids; sizes in CSS pixels.

    ``layer`` is what a layer is called, ``value`` what the colours mean; layers stand side by side in order.
    """

    title: str
    nodes: Sequence[Node]
    edges: Sequence[tuple[str, str]] = field(default_factory=tuple[tuple[str, str], ...])
    layer: str = "layer"
    value: str = "value"
    width: int = 640

    @property
    def height(self) -> int:
        """As high as its fullest layer needs."""
        fullest = max((len(layer) for layer in _layers(self).values()), default=0)
        return int(min(_MOST_HEIGHT, max(_LEAST_HEIGHT, _TOP + _BOTTOM + _ROW * fullest)))


def draw_tree(tree: Tree, *, standalone: bool = False) -> str:
    """The tree as one SVG element; ``standalone`` makes it a file of its own."""
    places = _places(tree)
    values = [node.value for node in tree.nodes if node.value is not None and is_there(node.value)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    parts = [
        *head_of(tree.title, _words(tree), tree.width, tree.height, standalone=standalone),
        *_edges(tree, places),
        *(_node(node, *places[node.id], colour_of(node.value, low, high)) for node in tree.nodes),
        *_names(tree, places),
        "</svg>",
    ]
    return "".join(parts)


def _layers(tree: Tree) -> dict[int, list[Node]]:
    layers: dict[int, list[Node]] = {}
    for node in tree.nodes:
        layers.setdefault(node.layer, []).append(node)
    return dict(sorted(layers.items()))


def _places(tree: Tree) -> dict[str, tuple[float, float]]:
    """Where each node stands: from the last layer to the first, each near the middle of those that it leads to."""
    layers = _layers(tree)
    wide = (tree.width - _LEFT - _RIGHT) / max(1, len(layers) - 1)
    children: dict[str, list[str]] = {}
    for parent, child in tree.edges:
        children.setdefault(parent, []).append(child)
    places: dict[str, tuple[float, float]] = {}
    for index, nodes in reversed(list(enumerate(layers.values()))):
        wished = sorted(nodes, key=lambda node: _wish(children.get(node.id, ()), places))
        high = (tree.height - _TOP - _BOTTOM) / len(nodes)
        for row, node in enumerate(wished):
            places[node.id] = (_LEFT + index * wide if len(layers) > 1 else tree.width / 2, _TOP + (row + 0.5) * high)
    return places


def _wish(children: Sequence[str], places: dict[str, tuple[float, float]]) -> float:
    heights = [places[child][1] for child in children if child in places]
    return sum(heights) / len(heights) if heights else 0.0


def _edges(tree: Tree, places: dict[str, tuple[float, float]]) -> Iterator[str]:
    steps: list[str] = []
    for parent, child in tree.edges:
        if parent in places and child in places:
            steps.append(_curve(places[parent], places[child]))
    if steps:
        yield f'<path class="axis" fill="none" opacity=".4" d="{"".join(steps)}"/>'


def _curve(begin: tuple[float, float], end: tuple[float, float]) -> str:
    (x0, y0), (x1, y1) = begin, end
    turn = (x0 + x1) / 2 if x0 != x1 else x0 + _BOW  # within a layer it goes around those between
    return f"M{x0:.1f} {y0:.1f}C{turn:.1f} {y0:.1f} {turn:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"


def _node(node: Node, x: float, y: float, colour: str) -> str:
    ring = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill="none" class="axis" stroke-width="2"/>' if node.mark else ""
    title = f"<title>{escape(node.title or node.id)}</title>"
    return f'{ring}<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}">{title}</circle>'


def _names(tree: Tree, places: dict[str, tuple[float, float]]) -> Iterator[str]:
    layers = _layers(tree)
    every = -(-len(layers) // _LABELS) if layers else 1
    for index, (number, nodes) in enumerate(layers.items()):
        if index % every == 0 or index == len(layers) - 1:
            at = places[nodes[0].id][0]
            yield f'<text x="{at:.1f}" y="{tree.height - 22:g}" text-anchor="middle">{number}</text>'
    yield f'<text x="{tree.width / 2:g}" y="{tree.height - 6:g}" text-anchor="middle">{escape(tree.layer)}</text>'


def _words(tree: Tree) -> str:
    values = [node.value for node in tree.nodes if node.value is not None and is_there(node.value)]
    reach = f", {tree.value} {number_text(min(values))} to {number_text(max(values))}" if values else ""
    return f"{tree.title}. {len(tree.nodes)} in {len(_layers(tree))} {tree.layer}s{reach}."
