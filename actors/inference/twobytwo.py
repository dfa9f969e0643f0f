"""Two proportions from separate messages: the safe 2x2 test. Exact.

Turner, Ly, Grünwald: "Generic E-variables for exact sequential k-sample tests that allow for optional stopping", J.
Statist. Plann. Inference 230 (2024), arXiv 2106.02693, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

PRIOR = 0.18
"""Their recommended Beta prior parameter for the estimates that the bets follow."""


class TwoByTwo:
    """E-value against "the tried proportion is not above the live one", over blocks of messages of either.

    In each block the bet follows the estimates from the blocks before: with estimates a (live) and b (tried), b > a,
    and their weighted mean m, the block's factor is its likelihood under (a, b) over that under (m, m). Where both
    truths are t, the mean of one live factor is A = ta/m + (1-t)(1-a)/(1-m), of a tried one B likewise, and by the
    inequality of means A^n B^k <= ((nA + kB) / (n+k))^(n+k) = 1. A falls and B rises with its truth, so it holds for
    every tried truth below the live one too.
    """

    __slots__ = ("_live", "_tried", "log_e")

    def __init__(self) -> None:
        self._live, self._tried = [0, 0], [0, 0]
        self.log_e = 0.0

    def add(self, live: Sequence[int], tried: Sequence[int]) -> None:
        """Fold one block: outcomes 0 or 1 of live and of tried messages; how many was fixed before they came."""
        a, b = _estimate(self._live), _estimate(self._tried)
        if b > a:
            count = len(live) + len(tried)
            middle = (len(live) * a + len(tried) * b) / count
            for outcomes, estimate in ((live, a), (tried, b)):
                good = sum(outcomes)
                self.log_e += good * math.log(estimate / middle)
                self.log_e += (len(outcomes) - good) * math.log((1.0 - estimate) / (1.0 - middle))
        for outcomes, seen in ((live, self._live), (tried, self._tried)):
            seen[0] += sum(outcomes)
            seen[1] += len(outcomes)


def _estimate(seen: Sequence[int]) -> float:
    good, count = seen
    return (good + PRIOR) / (count + 2.0 * PRIOR)
