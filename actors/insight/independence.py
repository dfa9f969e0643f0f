"""What a stretch of a time series is worth in independent units, and how to make units that are nearly so.

KPI scrapes follow each other: with an autocorrelation of 0.5 a naive z-test on them is wrong 96 % of the time. So no
test in this room takes them as they are: trends and changes use blocks and a variance inflated by what is left,
correlations use the innovations of an AR(1), seasonality takes the day as its unit, and only what is measured per
message (errors of a model, inputs) is tested directly.
"""

from __future__ import annotations

import numpy as np

from .arrays import Floats

MOST_MEMORY = 0.97
"""Largest autocorrelation that is believed; beyond it a series is a random walk and nothing can be tested."""


def autocorrelation(values: Floats, lag: int = 1) -> float:
    """The autocorrelation at ``lag``, corrected for the small-sample bias of about -(1 + 3 rho) / n (Kendall 1954)."""
    centred = values - values.mean() if values.size else values
    power = float(centred @ centred)
    if values.size < lag + 3 or power <= 0:
        return 0.0
    raw = float(centred[lag:] @ centred[:-lag]) / power
    return float(np.clip(raw + (1 + 3 * raw) / values.size, -MOST_MEMORY, MOST_MEMORY))


def inflation(values: Floats) -> float:
    """By how much the variance of the mean exceeds that of independent values: (1 + rho) / (1 - rho), at least 1.

    Exact for an AR(1) and many values; ``values`` must be free of trend and steps (give residuals).
    """
    rho = autocorrelation(values)
    return max(1.0, (1 + rho) / (1 - rho))


def innovations(values: Floats) -> Floats:
    """What is new at each step: values minus what the one before lets expect. One shorter than ``values``."""
    centred = values - values.mean()
    return centred[1:] - autocorrelation(values) * centred[:-1]


def blocks(values: Floats, most: int) -> tuple[Floats, int]:
    """Means of equal blocks, at most ``most`` of them, and the block's length; the oldest odd values are left out.

    A block without a value is ``nan``.
    """
    length = max(1, -(-values.size // most))
    kept = values[values.size % length :].reshape(-1, length)
    known = np.isfinite(kept)
    count = known.sum(axis=1)
    total = np.where(known, kept, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), length


def filled(values: Floats) -> Floats:
    """Gaps bridged by straight lines, for methods that need every step; all ``nan`` becomes zeros."""
    known = np.flatnonzero(np.isfinite(values))
    if not known.size:
        return np.zeros(values.size)
    return np.interp(np.arange(values.size), known, values[known])


def noise(values: Floats) -> float:
    """Standard deviation of what jumps from step to step: robust, from differences, so levels and trends don't count.

    1.4826 makes the median absolute deviation that of a normal distribution; a difference of two has sqrt(2) of it.
    """
    if values.size < 2:  # noqa: PLR2004 - a difference needs two
        return 0.0
    steps = np.diff(values)
    return float(1.4826 * np.median(np.abs(steps - np.median(steps))) / np.sqrt(2))
