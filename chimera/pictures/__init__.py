"""Pictures as self-contained SVG, and pages around them: no scripts, no fonts, nothing fetched."""

from .page import Figure, Page, Section, Table
from .plot import Axis, Plot, Series, draw
from .scale import Scale, ticks, time_ticks

__all__ = [
    "Axis",
    "Figure",
    "Page",
    "Plot",
    "Scale",
    "Section",
    "Series",
    "Table",
    "draw",
    "ticks",
    "time_ticks",
]
