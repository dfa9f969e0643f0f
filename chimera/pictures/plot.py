"""Plots as SVG: lines with bands, bars and dots, readable on light and dark, described in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

from .scale import Scale, log_ticks, number_text, span, ticks, time_text, time_ticks

Point = tuple[float, float | None]
"""x and y; ``None`` or a number that is not finite is a gap."""

COLOURS = ("#2f6fb3", "#c8553d", "#3d8c5a", "#8a5fb0", "#b38728", "#4c8fa3")
"""Distinguishable on white and black, and for most who see colours differently; the legend has words besides."""

_LEFT, _RIGHT, _TOP, _BOTTOM, _LEGEND = 64.0, 14.0, 30.0, 44.0, 18.0
NAMESPACE = ' xmlns="http://www.w3.org/2000/svg"'
STYLE = (
    "svg.plot{font:12px system-ui,sans-serif;color:#333;max-width:100%;height:auto}"
    "svg.plot text{fill:currentColor}svg.plot .grid{stroke:currentColor;opacity:.15}"
    "svg.plot .axis{stroke:currentColor;opacity:.6}svg.plot .name{font-weight:600}"
    "@media(prefers-color-scheme:dark){svg.plot{color:#ddd}}"
)


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis counts, with its unit in the label. ``zero`` shows 0 even if no value is near it."""

    label: str = ""
    kind: Literal["number", "time", "log"] = "number"
    zero: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """One row of values. ``low`` and ``high`` (as long as ``points``) draw a band around a line."""

    name: str
    points: Sequence[Point]
    kind: Literal["line", "dots", "bars"] = "line"
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


@dataclass(frozen=True, slots=True)
class Plot:
    """A title, two axes, and what is drawn between them; sizes in CSS pixels."""

    title: str
    x: Axis = field(default_factory=Axis)
    y: Axis = field(default_factory=Axis)
    series: Sequence[Series] = ()
    width: int = 640
    height: int = 280


def draw(plot: Plot, *, standalone: bool = False) -> str:
    """The plot as one SVG element; ``standalone`` makes it a file of its own."""
    x, y = _scales(plot)
    parts = [
        *head_of(plot.title, _words(plot), plot.width, plot.height, standalone=standalone),
        *_frame(plot, x, y),
        *(part for index, series in enumerate(plot.series) for part in _series(series, index, x, y)),
        *_legend(plot),
        "</svg>",
    ]
    return "".join(parts)


def head_of(title: str, words: str, width: int, height: int, *, standalone: bool) -> Iterator[str]:
    """How every picture begins: its size, what it says to those who can't see it, its style and its title."""
    yield (
        f'<svg class="plot" role="img" aria-label="{escape(words, quote=True)}"'
        f' viewBox="0 0 {width} {height}" width="{width}" height="{height}"{NAMESPACE if standalone else ""}>'
    )
    if standalone:
        yield f"<style>{STYLE}</style>"
    yield f'<text class="name" x="{_LEFT:g}" y="16">{escape(title)}</text>'


def is_there(value: float | None) -> bool:
    """True if the value can be drawn."""
    return value is not None and math.isfinite(value)


def _scales(plot: Plot) -> tuple[Scale, Scale]:
    points = [(x, y) for series in plot.series for x, y in series.points if y is not None and math.isfinite(y)]
    bands = [value for series in plot.series for value in (*series.low, *series.high) if value is not None]
    bars = any(series.kind == "bars" for series in plot.series)
    x_log, y_log = plot.x.kind == "log", plot.y.kind == "log"
    left, right = span((x for x, _ in points), zero=plot.x.zero, log=x_log)
    low, high = span([*(y for _, y in points), *bands], zero=plot.y.zero or bars, log=y_log)
    bottom = plot.height - _BOTTOM - (_LEGEND if len(plot.series) > 1 else 0)
    return (
        Scale(left, right, _LEFT, plot.width - _RIGHT, log=x_log),
        Scale(low, high, bottom, _TOP, log=y_log),
    )


def _ticks(axis: Axis, scale: Scale) -> list[tuple[float, str]]:
    if axis.kind == "time":
        return [(at, time_text(at, scale.high - scale.low)) for at in time_ticks(scale.low, scale.high)]
    values = log_ticks(scale.low, scale.high) if axis.kind == "log" else ticks(scale.low, scale.high)
    return [(value, number_text(value)) for value in values]


def _frame(plot: Plot, x: Scale, y: Scale) -> Iterator[str]:
    for value, text in _ticks(plot.y, y):
        at = y.place(value)
        yield f'<path class="grid" d="M{x.start:g} {at:.1f}H{x.end:g}"/>'
        yield f'<text x="{x.start - 6:g}" y="{at + 4:.1f}" text-anchor="end">{escape(text)}</text>'
    for value, text in _ticks(plot.x, x):
        at = x.place(value)
        yield f'<text x="{at:.1f}" y="{y.start + 16:.1f}" text-anchor="middle">{escape(text)}</text>'
    yield f'<path class="axis" fill="none" d="M{x.start:g} {y.end:g}V{y.start:g}H{x.end:g}"/>'
    middle = (x.start + x.end) / 2
    yield f'<text x="{middle:g}" y="{y.start + 34:.1f}" text-anchor="middle">{escape(plot.x.label)}</text>'
    turn = f'transform="rotate(-90 14 {(y.start + y.end) / 2:.1f})"'
    yield f'<text x="14" y="{(y.start + y.end) / 2:.1f}" text-anchor="middle" {turn}>{escape(plot.y.label)}</text>'


def _series(series: Series, index: int, x: Scale, y: Scale) -> Iterator[str]:
    colour = COLOURS[index % len(COLOURS)]
    if series.low and series.high:
        yield _band(series, colour, x, y)
    if series.kind == "line":
        yield f'<path fill="none" stroke="{colour}" stroke-width="1.8" d="{_line(series.points, x, y)}"/>'
        yield from _lonely(series.points, colour, x, y)
        return
    for here, value in series.points:
        if value is None or not math.isfinite(value):
            continue
        left, top = x.place(here), y.place(value)
        if series.kind == "dots":
            yield f'<circle cx="{left:.1f}" cy="{top:.1f}" r="3" fill="{colour}"/>'
        else:
            wide = max(1.0, 0.8 * (x.end - x.start) / max(1, len(series.points)))
            base = y.place(max(0.0, y.low))
            up, tall, left = min(top, base), abs(base - top), left - wide / 2
            yield f'<rect x="{left:.1f}" y="{up:.1f}" width="{wide:.1f}" height="{tall:.1f}" fill="{colour}"/>'


def _line(points: Sequence[Point], x: Scale, y: Scale) -> str:
    steps, pen = list[str](), "M"
    for here, value in points:
        if value is None or not math.isfinite(value):
            pen = "M"
            continue
        steps.append(f"{pen}{x.place(here):.1f} {y.place(value):.1f}")
        pen = "L"
    return "".join(steps)


def _lonely(points: Sequence[Point], colour: str, x: Scale, y: Scale) -> Iterator[str]:
    """A value between two gaps has no line: it gets a dot."""
    values = [value if is_there(value) else None for _, value in points]
    for index, (here, _) in enumerate(points):
        value = values[index]
        if value is None or any(
            one is not None for one in (*values[max(0, index - 1) : index], *values[index + 1 : index + 2])
        ):
            continue
        yield f'<circle cx="{x.place(here):.1f}" cy="{y.place(value):.1f}" r="2.5" fill="{colour}"/>'


def _band(series: Series, colour: str, x: Scale, y: Scale) -> str:
    rows = [
        (x.place(here), y.place(low), y.place(high))
        for (here, _), low, high in zip(series.points, series.low, series.high, strict=True)
        if low is not None and high is not None and math.isfinite(low) and math.isfinite(high)
    ]
    outline = [*((here, high) for here, _, high in rows), *((here, low) for here, low, _ in reversed(rows))]
    return f'<polygon fill="{colour}" opacity=".18" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in outline)}"/>'


def _legend(plot: Plot) -> Iterator[str]:
    if len(plot.series) <= 1:
        return
    left, top = _LEFT, plot.height - 8
    for index, series in enumerate(plot.series):
        yield f'<rect x="{left:g}" y="{top - 9:g}" width="10" height="10" fill="{COLOURS[index % len(COLOURS)]}"/>'
        yield f'<text x="{left + 14:g}" y="{top:g}">{escape(series.name)}</text>'
        left += 30 + 6.6 * len(series.name)


def _words(plot: Plot) -> str:
    """The plot in a sentence, for those who can't see it."""
    told: list[str] = []
    for series in plot.series:
        values = [value for _, value in series.points if value is not None and math.isfinite(value)]
        reach = (
            f"{number_text(min(values))} to {number_text(max(values))}, last {number_text(values[-1])}"
            if values
            else "no data"
        )
        told.append(f"{series.name or plot.y.label}: {reach}")
    return f"{plot.title}. {'; '.join(told) or 'no data'}."
