"""Whole histories of e-values at once, for simulation: what the streaming classes would have said at every look.

Rows are independent histories, columns the messages, pairs or blocks in order. The tests compare each with its class.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaln

from . import betting, ratio, twobytwo, wins

Array: TypeAlias = NDArray[np.float64]
Numbers: TypeAlias = NDArray[Any]

_LARGEST = 700.0
_BATCH = 200_000
"""Numbers folded at once: what fits into a processor's cache."""


def wins_path(won: Numbers, lost: Numbers) -> Array:
    """``log_e_wins`` of running counts of wins and of losses, of any shape."""
    prior = wins.PRIOR
    with np.errstate(divide="ignore"):
        above = np.log(betainc(prior + lost, prior + won, 0.5))
    mixed = betaln(prior + won, prior + lost) - betaln(prior, prior)
    path = (won + lost + 1.0) * np.log(2.0) + mixed + above
    return np.where(won + lost == 0, 0.0, path)


def two_by_two_path(live: Numbers, tried: Numbers, live_size: Numbers, tried_size: Numbers) -> Array:
    """``TwoByTwo.log_e`` after every block.

    Args:
        live: Good outcomes of live messages in each block, (runs, blocks).
        tried: The same of tried ones.
        live_size: Live messages in each block, (blocks,) or (runs, blocks).
        tried_size: The same of tried ones.
    """
    a, b = _estimates(live, live_size), _estimates(tried, tried_size)
    middle = (live_size * a + tried_size * b) / (live_size + tried_size)
    gain = live * np.log(a / middle) + (live_size - live) * np.log((1.0 - a) / (1.0 - middle))
    gain += tried * np.log(b / middle) + (tried_size - tried) * np.log((1.0 - b) / (1.0 - middle))
    return np.cumsum(np.where(b > a, gain, 0.0), axis=-1)


def _estimates(good: Numbers, size: Numbers) -> Array:
    """What was believed before each block."""
    before = np.cumsum(good, axis=-1) - good
    count = np.cumsum(size, axis=-1) - size
    return (before + twobytwo.PRIOR) / (count + 2.0 * twobytwo.PRIOR)


def bets_path(values: Numbers, low: float, high: float, null: float) -> Array:
    """``Bets.log_e`` after every number, (runs, numbers); beyond e^700 it stays there."""
    sizes = betting.Bets(low, high, null).bets
    path = np.empty_like(values, dtype=np.float64)
    step = max(1, _BATCH // max(1, values.shape[-1]))
    for start in range(0, len(values), step):
        gain = values[start : start + step] - null
        wealth = np.zeros_like(gain)
        for size in sizes:
            wealth += np.exp(np.minimum(_LARGEST, np.cumsum(np.log1p(size * gain), axis=-1)))
        with np.errstate(divide="ignore"):
            path[start : start + step] = np.log(wealth / len(sizes))
    return path


def ratio_path(tried: Numbers, share: float) -> Array:
    """Logarithm of ``SampleRatio.e_value`` after every message; ``tried`` is 1 for the candidate's, else 0."""
    a, b = ratio.CONCENTRATION * share, ratio.CONCENTRATION * (1.0 - share)
    count = np.cumsum(tried, axis=-1)
    rest = np.arange(1, tried.shape[-1] + 1) - count
    path = betaln(a + count, b + rest) - betaln(a, b) - count * np.log(share) - rest * np.log1p(-share)
    return np.asarray(path, dtype=np.float64)
