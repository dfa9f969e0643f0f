"""How far out is far enough for one series? Learned from its own tail, so that heavy tails do not ring all day."""

from __future__ import annotations

import math

FROM = 3.0
_PRIOR_INDEX, _PRIOR_SHARE, _PRIOR_WEIGHT = 0.1, 0.004, 15.0


class Tail:
    """The distance that is exceeded at a given rate: Weissman's extrapolation (JASA 1978) with Hill's index.

    Beyond three sigmas the tail is taken as a power law: limit = 3 (share beyond 3 / rate)^index. A normal series ends
    near 5, one with five degrees of freedom near 8. Until a series has shown its tail, a prior of 15 exceedances
    stands in.

    Args:
        rate: False alarms per value that are accepted.
        length: Values that are remembered.
    """

    __slots__ = ("_beyond", "_keep", "_logs", "_rate", "_seen")

    def __init__(self, rate: float, length: int = 10_080) -> None:
        self._rate = rate
        self._keep = 1 - 1 / length
        self._beyond = _PRIOR_WEIGHT
        self._logs = _PRIOR_WEIGHT * _PRIOR_INDEX
        self._seen = _PRIOR_WEIGHT / _PRIOR_SHARE

    @property
    def limit(self) -> float:
        """Sigmas beyond which a value is an anomaly; at least 4."""
        share = self._beyond / self._seen
        index = self._logs / self._beyond
        return max(4.0, FROM * (max(1.0, share / self._rate)) ** index)

    def learn(self, sigmas: float) -> None:
        """Take a value's distance; one that is beyond the limit counts as at the limit."""
        self._seen = self._seen * self._keep + 1
        self._beyond *= self._keep
        self._logs *= self._keep
        if sigmas > FROM:
            reach = min(sigmas, self.limit)
            self._beyond += 1
            self._logs += math.log(reach / FROM)
