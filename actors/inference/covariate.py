"""Less variance from what was known before the answer: CUPED.

Deng, Xu, Kohavi, Walker: "Improving the sensitivity of online controlled experiments by utilizing pre-experiment data",
WSDM 2013, section 3.
"""

from __future__ import annotations

from collections.abc import Iterable

LARGEST = 0.25
"""Most that a comparison subtracts or adds, as a part of the metric's width: room for more makes the bets smaller."""


class Cuped:
    """Subtracts what a covariate explains.

    The covariate must not depend on which release answers (the message's length, say). All messages of one comparison
    are adjusted alike, by a slope and a centre that come from comparisons before: then the adjustment's mean is the
    same on both sides, whatever they are, and a sequential test on the differences stays exact.

    Args:
        most: Most that is subtracted or added, so that bounded values stay bounded.
    """

    __slots__ = ("_cross", "_most", "_n", "_spread", "_x", "_y")

    def __init__(self, most: float) -> None:
        self._most = most
        self._n = 0
        self._x = self._y = self._cross = self._spread = 0.0

    @property
    def slope(self) -> float:
        """The present slope of value over covariate; 0 before two messages."""
        return self._cross / self._spread if self._spread > 0.0 else 0.0

    def adjust(self, value: float, covariate: float) -> float:
        """The value, less what the covariate explains by what is known now."""
        return value - min(self._most, max(-self._most, self.slope * (covariate - self._x)))

    def learn(self, messages: Iterable[tuple[float, float]]) -> None:
        """Let messages, (value, covariate) each, count for the adjustments to come."""
        for value, covariate in messages:
            self._n += 1
            dx = covariate - self._x
            self._x += dx / self._n
            self._y += (value - self._y) / self._n
            self._spread += dx * (covariate - self._x)
            self._cross += dx * (value - self._y)
