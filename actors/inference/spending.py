"""One error budget for an endless stream of tests: e-LOND.

Xu and Ramdas, "Online multiple testing with e-values", AISTATS 2024, arXiv 2311.06412, section 3: with level
``rate * gamma_t * (rejections before + 1)`` for test t and any sequence gamma that sums to 1, the expected share of
false rejections among all is at most ``rate`` at every time, under any dependence between the tests.
"""

from __future__ import annotations

import msgspec

EXPONENT = 1.1
"""gamma_t is proportional to t^-1.1: it finds more than 1/(t(t+1)) over hundreds of tests."""

_NORM = 10.584448464950801
"""The sum of t^-1.1 over all t: Riemann's zeta at 1.1."""


class ErrorBudget(msgspec.Struct, frozen=True):
    """How many tests were begun and how many promoted; ``rate`` is the bound on false promotions.

    A test's level is fixed when it begins, from the promotions before it: that is never more than the rule allows.
    """

    rate: float = 0.1
    tests: int = 0
    promotions: int = 0

    @property
    def next_level(self) -> float:
        """The level that the next test gets."""
        return self.rate * gamma(self.tests + 1) * (self.promotions + 1)

    def begin(self) -> ErrorBudget:
        """After one more test began."""
        return ErrorBudget(self.rate, self.tests + 1, self.promotions)

    def promote(self) -> ErrorBudget:
        """After one more test ended in a promotion."""
        return ErrorBudget(self.rate, self.tests, self.promotions + 1)


def gamma(test: int) -> float:
    """The share of the budget that test number ``test`` (from 1) gets; all of them add up to 1."""
    return test**-EXPONENT / _NORM
