"""Pictures as self-contained SVG, and pages around them: no scripts, no fonts, nothing fetched."""

from .grid import Grid, Steps
from .page import Figure, Page, Section, Table
from .picture import Picture, paint, stack
from .plot import Axis, Plot, Series, draw
from .scale import Scale, ticks, time_ticks
from .tree import Node, Tree

__all__ = [
    "Axis",
    "Figure",
    "Grid",
    "Node",
    "Page",
    "Picture",
    "Plot",
    "Scale",
    "Section",
    "Series",
    "Steps",
    "Table",
    "Tree",
    "draw",
    "paint",
    "stack",
    "ticks",
    "time_ticks",
]
