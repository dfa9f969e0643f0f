"""A confidence sequence for the mean of numbers without known bounds: asymptotic, so only after a burn-in.

Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas: "Time-uniform central limit theory and asymptotic confidence sequences",
Ann. Statist. 52 (2024), arXiv 2103.06476, equation 9 and appendix B.2 for rho. The e-value beside it is the same normal
mixture (mSPRT: Johari et al., Oper. Res. 70 (2022)), over effects of one sign.

It decides nothing here: every metric of the gate has bounds, and where bounds are known the exact sequences hold from
the first message on. It is the yardstick that ``just calibrate`` measures those against, as other tools use it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

BURN_IN, BURN_IN_RARE = 100, 30
"""No looks before so many numbers, and so many rare ones (a rare one makes two changes from one number to the next):
earlier, a fifth of all sequences of plain numbers are wrong, and nearly all of rare events. Skewed numbers need more
than any fixed burn-in: where bounds are known, ``MeanSequence`` is exact."""


class AsymptoticSequence:
    """Interval for a mean at level ``alpha`` two-sided, tightest around ``best_at`` numbers.

    Args:
        alpha: Chance that the interval is ever wrong after the burn-in, in the limit.
        best_at: Number of observations at which the interval is tightest.
    """

    __slots__ = ("_alpha", "_changes", "_last", "_mean", "_rho2", "_square", "n")

    def __init__(self, alpha: float, best_at: int = 1_000) -> None:
        self._alpha = alpha
        log = math.log(alpha)
        self._rho2 = (-2.0 * log + math.log(-2.0 * log + 1.0)) / best_at
        self.n, self._mean, self._square = 0, 0.0, 0.0
        self._last, self._changes = math.nan, 0

    def add(self, values: Iterable[float]) -> None:
        """Fold numbers (Welford's updates)."""
        for value in values:
            self.n += 1
            self._changes += self.n > 1 and value != self._last
            self._last = value
            step = value - self._mean
            self._mean += step / self.n
            self._square += step * (value - self._mean)

    @property
    def mean(self) -> float | None:
        """The mean so far."""
        return self._mean if self.n else None

    @property
    def is_ready(self) -> bool:
        """True once the burn-in is over."""
        return self.n >= BURN_IN and self._changes >= 2 * BURN_IN_RARE and self._square > 0.0

    def log_e(self, sign: int) -> float:
        """Log e-value against "the mean is at most 0" (``sign`` 1) or "at least 0" (-1); 0 during the burn-in.

        A half-normal mixture over effects of that sign, with the estimated variance.
        """
        if not self.is_ready:
            return 0.0
        score = sign * self._mean * self.n / math.sqrt(self._square / self.n)
        grown = 1.0 + self.n * self._rho2
        above = 0.5 * math.erfc(-math.sqrt(self._rho2 / grown) * score / math.sqrt(2.0))
        if above <= 0.0:
            return -math.inf
        return math.log(2.0 * above) - 0.5 * math.log(grown) + self._rho2 * score * score / (2.0 * grown)

    def interval(self) -> tuple[float, float]:
        """(low, high); infinite during the burn-in."""
        if not self.is_ready:
            return -math.inf, math.inf
        n, rho2 = self.n, self._rho2
        variance = self._square / n
        grown = n * rho2 + 1.0
        half = math.sqrt(variance) * math.sqrt(2.0 * grown / (n * n * rho2) * math.log(math.sqrt(grown) / self._alpha))
        return self._mean - half, self._mean + half
