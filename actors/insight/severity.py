"""How far out a series is at the moment: as a point, for a while, or in how much it varies. For ranking and showing."""

from __future__ import annotations

from .memory import Memory

DAY = 1440
_SHORT = 15
_CLIP = 4.0
_GAIN = (2 * _SHORT - 1) ** 0.5
_LEAST_FACTOR = 1 / _GAIN
_WIDTH_SPREAD = 0.9
"""Standard deviation of |x| relative to its mean: 0.76 for a normal distribution, 0.9 for t with 5 degrees."""


class Severity:
    """Compares the last quarter of an hour with the last day; a change of level does not make it forget the day.

    All three parts are in sigmas of their own noise, so they can be compared; the largest is the severity.
    """

    __slots__ = ("_away", "_level", "_long", "_width")

    def __init__(self) -> None:
        self._long = Memory(DAY)
        self._level = 0.0
        self._width = Memory(DAY)
        self._away = 0.0

    def update(self, residual: float, surprise: float, point: float) -> float:
        """Take a value without its time of day, its innovation, and how many sigmas out that is."""
        sigma = self._long.sigma
        mean = self._long.mean
        self._long.learn(residual)
        self._width.learn(abs(surprise))
        if sigma <= 0 or self._width.mean <= 0:
            return point
        clipped = max(-_CLIP, min(_CLIP, (residual - mean) / sigma))
        self._level += (clipped - self._level) / _SHORT
        ratio = min(_CLIP * 2, abs(surprise) / self._width.mean)
        self._away += (ratio - 1 - self._away) / _SHORT
        rho = self._long.rho
        factor = max(_LEAST_FACTOR, ((1 + rho) / (1 - rho)) ** 0.5 / _GAIN)
        return max(point, abs(self._level) / factor, abs(self._away) * _GAIN / _WIDTH_SPREAD)
