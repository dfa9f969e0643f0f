"""Maps as SVG: one coloured cell per pair of steps on two axes, with what the colours mean, described in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape

from .plot import head_of, is_there
from .ramp import colour_of
from .scale import number_text

_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 96.0, 34.0, 44.0
_BAR_STEPS = 24


@dataclass(frozen=True, slots=True)
class Steps:
    """An axis that is cut into ``count`` equal steps from ``low`` to ``high``."""

    label: str
    count: int
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True, slots=True)
class Grid:
    """A title, two axes, and values by their steps, counted from 0; sizes in CSS pixels.

    ``value`` is what the colours mean, ``titles`` what a pointer above a cell shows besides its value.
    """

    title: str
    x: Steps
    y: Steps
    cells: Mapping[tuple[int, int], float | None]
    titles: Mapping[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])
    value: str = "value"
    width: int = 640
    height: int = 420


def draw_grid(grid: Grid, *, standalone: bool = False) -> str:
    """The map as one SVG element; ``standalone`` makes it a file of its own."""
    values = [value for value in grid.cells.values() if value is not None and is_there(value)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    parts = [
        *head_of(grid.title, _words(grid, values), grid.width, grid.height, standalone=standalone),
        *_cells(grid, low, high),
        *_axes(grid),
        *_bar(grid, low, high),
        "</svg>",
    ]
    return "".join(parts)


def _cells(grid: Grid, low: float, high: float) -> Iterator[str]:
    wide = (grid.width - _LEFT - _RIGHT) / grid.x.count
    tall = (grid.height - _TOP - _BOTTOM) / grid.y.count
    for (column, row), value in sorted(grid.cells.items()):
        if not (0 <= column < grid.x.count and 0 <= row < grid.y.count):
            continue
        left, top = _LEFT + column * wide, grid.height - _BOTTOM - (row + 1) * tall
        said = number_text(value) if value is not None and is_there(value) else "-"
        words = f"{grid.titles.get((column, row), '')} {said}".strip()
        title = f"<title>{escape(words)}</title>"
        place = f'x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{tall:.1f}"'
        yield f'<rect {place} fill="{colour_of(value, low, high)}">{title}</rect>'


def _axes(grid: Grid) -> Iterator[str]:
    right, bottom = grid.width - _RIGHT, grid.height - _BOTTOM
    yield f'<path class="axis" fill="none" d="M{_LEFT:g} {_TOP:g}V{bottom:g}H{right:g}"/>'
    for share in (0.0, 0.5, 1.0):
        x, y = _LEFT + share * (right - _LEFT), bottom - share * (bottom - _TOP)
        across = escape(number_text(grid.x.low + share * (grid.x.high - grid.x.low)))
        up = escape(number_text(grid.y.low + share * (grid.y.high - grid.y.low)))
        yield f'<text x="{x:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{across}</text>'
        if grid.y.count > 1:
            yield f'<text x="{_LEFT - 6:g}" y="{y + 4:.1f}" text-anchor="end">{up}</text>'
    middle = (_LEFT + right) / 2
    yield f'<text x="{middle:g}" y="{bottom + 34:.1f}" text-anchor="middle">{escape(grid.x.label)}</text>'
    turn = f'transform="rotate(-90 14 {(bottom + _TOP) / 2:.1f})"'
    yield f'<text x="14" y="{(bottom + _TOP) / 2:.1f}" text-anchor="middle" {turn}>{escape(grid.y.label)}</text>'


def _bar(grid: Grid, low: float, high: float) -> Iterator[str]:
    """What the colours mean."""
    left, bottom = grid.width - _RIGHT + 24, grid.height - _BOTTOM
    tall = (bottom - _TOP - 20) / _BAR_STEPS
    for step in range(_BAR_STEPS):
        colour = colour_of(step / (_BAR_STEPS - 1), 0.0, 1.0)
        top = bottom - (step + 1) * tall
        yield f'<rect x="{left:g}" y="{top:.1f}" width="14" height="{tall + 0.5:.1f}" fill="{colour}"/>'
    yield f'<text x="{left + 18:g}" y="{bottom:g}">{escape(number_text(low))}</text>'
    yield f'<text x="{left + 18:g}" y="{_TOP + 28:g}">{escape(number_text(high))}</text>'
    yield f'<text x="{left - 10:g}" y="{_TOP + 8:g}">{escape(grid.value)}</text>'


def _words(grid: Grid, values: list[float]) -> str:
    room = grid.x.count * grid.y.count
    reach = f", {grid.value} {number_text(min(values))} to {number_text(max(values))}" if values else ""
    return f"{grid.title}. {len(grid.cells)} of {room} cells are filled{reach}."
