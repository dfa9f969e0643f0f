"""Any picture as SVG, alone or several below each other in one file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from .grid import Grid, draw_grid
from .plot import NAMESPACE, STYLE, Plot, draw
from .tree import Tree, draw_tree

Picture: TypeAlias = Plot | Tree | Grid

_GAP = 16


def paint(picture: Picture, *, standalone: bool = False) -> str:
    """The picture as one SVG element; ``standalone`` makes it a file of its own."""
    if isinstance(picture, Tree):
        return draw_tree(picture, standalone=standalone)
    if isinstance(picture, Grid):
        return draw_grid(picture, standalone=standalone)
    return draw(picture, standalone=standalone)


def stack(pictures: Sequence[Picture]) -> str:
    """Pictures below each other as one SVG file."""
    width = max((one.width for one in pictures), default=0)
    parts, top = list[str](), 0
    for one in pictures:
        parts.append(f'<g transform="translate(0 {top})">{paint(one)}</g>')
        top += one.height + _GAP
    height = max(0, top - _GAP)
    return (
        f'<svg{NAMESPACE} class="plot" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<style>{STYLE}</style>{''.join(parts)}</svg>"
    )
