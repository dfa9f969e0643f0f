"""How far the sum of bounded numbers may have wandered from its expectation, at every time at once.

Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Ann. Statist.
49 (2021), arXiv 1810.08240, theorem 4: for X_i within a range of width 1 and any predictions P_i made before X_i is
seen, with V the sum of (X_i - P_i)^2 and psi(b) = -log(1 - b) - b, exp(b (sum X_i - n mean) - psi(b) V) is below a
supermartingale for every b in (0, 1). A mixture of such bets is one, too; where it reaches 1/level the sum is too far.

Unlike ``MeanSequence``, whose bets change as it goes, this depends on n, the sum and V alone: estimates that were made
apart can be added up.
"""

from __future__ import annotations

import math
from functools import lru_cache

BETS = tuple(0.75**step * 0.9 for step in range(28))
"""From 0.9 down to 0.0004: tight from ten numbers to ten million."""

_COSTS = tuple(-math.log1p(-bet) - bet for bet in BETS)
_ENOUGH = 1e-9
_PER_OCTAVE, _LEAST = 64, 2.0**-10
_MOST_STEPS = 60


def deviation(squares: float, level: float) -> float:
    """The distance that the sum exceeds in one direction, at any time, with probability ``level`` at most.

    ``squares`` is rounded up to a grid of 1.1 %, so the distance is up to 0.6 % longer than it need be, and a
    population's bounds are looked up instead of solved for.

    Args:
        squares: V, in units of the squared range.
        level: Between 0 and 1.

    Raises:
        ValueError: If the level is not a probability.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"a level strictly between 0 and 1 is needed, not {level}")
    return _solved(math.ceil(_PER_OCTAVE * math.log2(max(squares, _LEAST))), level)


@lru_cache(maxsize=16_384)
def _solved(place: int, level: float) -> float:
    """By Newton's method from above: the mixture is convex, so each iterate is a valid bound."""
    squares = 2.0 ** (place / _PER_OCTAVE)
    wanted = math.log(len(BETS) / level)
    logs = [-cost * squares for cost in _COSTS]
    found = min((wanted - log) / bet for bet, log in zip(BETS, logs, strict=True))
    for _ in range(_MOST_STEPS):
        terms = [log + bet * found for bet, log in zip(BETS, logs, strict=True)]
        top = max(terms)
        weights = [math.exp(term - top) for term in terms]
        total = math.fsum(weights)
        slope = math.fsum(bet * weight for bet, weight in zip(BETS, weights, strict=True)) / total
        step = (top + math.log(total) - wanted) / slope
        found -= step
        if step <= _ENOUGH * found:
            break
    return found
