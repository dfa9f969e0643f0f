"""Pairs with a winner: both versions answered the same message, and only disagreements count. Exact."""

from __future__ import annotations

import math

from scipy.special import betainc, betaln

PRIOR = 0.5
_LOG_HALF = math.log(0.5)


def log_e_wins(wins: int, losses: int) -> float:
    """Log e-value against "wins are no likelier than losses".

    A Beta(1/2, 1/2) mixture over Bernoulli test martingales, restricted to a win probability above one half:
    E = 2^(w+l) B(a+w, a+l) / B(a, a) * P(Beta(a+w, a+l) > 1/2) / (1/2). Robbins, "Statistical methods related to the
    law of the iterated logarithm", Ann. Math. Statist. 41 (1970); one-sided as in Howard et al. (2021), section 3.

    Args:
        wins: Pairs that the candidate won.
        losses: Pairs that it lost.
    """
    if wins + losses == 0:
        return 0.0
    above = float(betainc(PRIOR + losses, PRIOR + wins, 0.5))
    if above <= 0.0:
        return -math.inf
    mixed = float(betaln(PRIOR + wins, PRIOR + losses)) - float(betaln(PRIOR, PRIOR))
    return (wins + losses) * math.log(2.0) + mixed + math.log(above) - _LOG_HALF
