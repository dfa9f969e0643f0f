"""Less variance from what was known before the answer: CUPED.

Deng, Xu, Kohavi, Walker: "Improving the sensitivity of online controlled experiments by utilizing pre-experiment data",
WSDM 2013, section 3.
"""

from __future__ import annotations


class Cuped:
    """Subtracts what a covariate explains. The slope for each message comes from the messages before it.

    The covariate must not depend on which release answers (the message's length, say): then the adjusted values have
    the same mean difference, and a slope that is fixed beforehand keeps every sequential test valid.

    Args:
        most: Most that is subtracted or added, so that bounded values stay bounded; cut alike for every release.
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
        """The adjusted value; then the message counts for the slope of the next."""
        centre = self._x if self._n else covariate
        adjusted = value - min(self._most, max(-self._most, self.slope * (covariate - centre)))
        self._n += 1
        dx = covariate - self._x
        self._x += dx / self._n
        self._y += (value - self._y) / self._n
        self._spread += dx * (covariate - self._x)
        self._cross += dx * (value - self._y)
        return adjusted
