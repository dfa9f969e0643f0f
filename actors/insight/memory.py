"""Mean, spread and autocorrelation of a stream, remembered over about a given number of values."""

from __future__ import annotations

_CLIP = 4.0
_LEAST = 30
_MOST_RHO = 0.9


class Memory:
    """Exponentially weighted mean, variance and lag-1 covariance; one value far out moves them as four sigma would.

    Args:
        length: Values over which the weight falls to 1/e.
    """

    __slots__ = ("_count", "_covariance", "_last", "_length", "_variance", "mean")

    def __init__(self, length: int) -> None:
        self._length = length
        self._count = 0
        self._variance = 0.0
        self._covariance = 0.0
        self._last = 0.0
        self.mean = 0.0

    @property
    def sigma(self) -> float:
        """The standard deviation."""
        return self._variance**0.5

    @property
    def rho(self) -> float:
        """The lag-1 autocorrelation, 0 to 0.9."""
        if self._variance <= 0 or self._count < _LEAST:
            return 0.0
        return min(_MOST_RHO, max(0.0, self._covariance / self._variance))

    def learn(self, value: float) -> float:
        """Take a value; returns its innovation: what an AR(1) did not expect of it."""
        if not self._count:
            self.mean = value
        away = value - self.mean
        surprise = away - self.rho * self._last
        self._count += 1
        if self._count > _LEAST:
            reach = _CLIP * self.sigma
            away = min(reach, max(-reach, away))
        weight = max(1 / self._count, 1 / self._length)
        self.mean += weight * away
        self._variance += weight * (away * away - self._variance)
        self._covariance += weight * (away * self._last - self._covariance)
        self._last = away
        return surprise
