"""Confidence sequences for quantiles, such as the 95th percentile of latency: true at every look at once.

Howard and Ramdas, "Sequential estimation of quantiles with applications to A/B testing and best-arm identification",
Bernoulli 28 (2022), arXiv 1906.09712, theorem 1 (stitched bound, equation 10 with eta = 2, s = 1.4).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable

MOST = 20_000
"""Values kept; beyond, the sequence stands on the first so many, which keeps it valid."""


class QuantileSequence:
    """Interval for the ``p``-quantile of independent values, at level ``alpha`` two-sided.

    Args:
        p: Which quantile, between 0 and 1.
        alpha: Chance that the interval is ever wrong.
    """

    __slots__ = ("_alpha", "_p", "_values")

    def __init__(self, p: float, alpha: float) -> None:
        self._p, self._alpha = p, alpha
        self._values: list[float] = []

    @property
    def n(self) -> int:
        """Values that count."""
        return len(self._values)

    def add(self, values: Iterable[float]) -> None:
        """Fold values."""
        for value in values:
            if len(self._values) < MOST:
                bisect.insort(self._values, value)

    def estimate(self) -> float | None:
        """The quantile of what was seen."""
        n = len(self._values)
        return self._values[min(n - 1, max(0, math.ceil(self._p * n) - 1))] if n else None

    def interval(self) -> tuple[float, float]:
        """(low, high); infinite while too little was seen."""
        n = len(self._values)
        if not n:
            return -math.inf, math.inf
        radius = boundary(n, self._p, self._alpha)
        low, high = self._p - radius, self._p + radius
        least = self._values[math.ceil(low * n) - 1] if low > 0.0 else -math.inf
        # one value further than the quantile of the sample: of the values below the true one, at most high * n are seen
        most = self._values[math.floor(high * n)] if high < 1.0 else math.inf
        return least, most


def boundary(n: int, p: float, alpha: float) -> float:
    """How far the empirical share below the true ``p``-quantile is ever from ``p`` after ``n`` values."""
    inner = 1.4 * math.log(math.log(2.1 * n)) + math.log(10.0 / alpha)
    return 1.5 * math.sqrt(p * (1.0 - p) * inner / n) + 0.8 * inner / n
