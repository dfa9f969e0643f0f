"""Axes: from values to places on paper, and the round numbers that are written beside them. Pure."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_TIME_STEPS = (1, 5, 15, 30, 60, 300, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2592000)
_DAY = 86_400
_NARROW, _LEAST = 1e-13, 1e-300
"""What is less apart than this, relatively or at all, is one value: a float has no round numbers between."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps ``low`` to ``start`` and ``high`` to ``end``, linearly or by the logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """Where ``value`` stands; values outside stand outside. A value that has no logarithm stands at the low end."""
        low, high, here = self.low, self.high, value
        if self.log:
            low, high, here = math.log10(low), math.log10(high), math.log10(max(value, self.low))
        share = (here / 2 - low / 2) / (high / 2 - low / 2)  # halves: a difference may be too large for a float
        return self.start + share * (self.end - self.start)


def span(values: Iterable[float], *, zero: bool = False, log: bool = False) -> tuple[float, float]:
    """The least and greatest finite value, made wide enough to draw; ``zero`` includes 0, ``log`` only takes > 0."""
    good = [value for value in values if math.isfinite(value) and (not log or value > 0)]
    low, high = (min(good), max(good)) if good else (1.0, 10.0) if log else (0.0, 1.0)
    if zero and not log:
        low, high = min(low, 0.0), max(high, 0.0)
    size = max(abs(low), abs(high))
    if high / 2 - low / 2 <= max(size * _NARROW, _LEAST):
        pad = size / 2 if size > _LEAST else 0.5
        low, high = (low / 2, high * 2) if log else (low - pad, high + pad)
    return max(low, -sys.float_info.max), min(high, sys.float_info.max)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from ``low`` to ``high``, at most ``most``: 1, 2, 2.5 or 5 times a power of ten apart."""
    raw = high / max(1, most - 1) - low / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * one for one in _STEPS if power * one >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten from ``low`` to ``high``; both ends if there are fewer than two."""
    powers = [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    return powers if len(powers) > 1 else [low, high]


def time_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Unix times from ``low`` to ``high`` at whole minutes, hours or days (UTC), at most ``most``."""
    raw = (high - low) / max(1, most - 1)
    step = next((one for one in _TIME_STEPS if one >= raw), math.ceil(raw / _DAY) * _DAY)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(number * step) for number in range(first, last + 1)]


def number_text(value: float) -> str:
    """A number as it stands beside an axis: four digits at most, thousands as k and M."""
    size = abs(value)
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            scale = {"G": 1e9, "M": 1e6, "k": 1e3}[unit]
            return f"{value / scale:.4g}{unit}"
    return f"{value:.4g}" if size >= 1e-3 or not size else f"{value:.1e}"  # noqa: PLR2004 - below it zeros take over


def time_text(at: float, width_s: float) -> str:
    """A moment (UTC) as it stands below an axis that covers ``width_s`` seconds."""
    moment = datetime.fromtimestamp(at, UTC)
    return moment.strftime("%d %b" if width_s > 2 * _DAY else "%H:%M" if width_s > 120 else "%H:%M:%S")  # noqa: PLR2004 - two minutes
