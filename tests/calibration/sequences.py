"""Confidence sequences at every look at once, for many histories; compared with the streaming classes in the tests."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# numpy leaves the element type of what arithmetic gives open

from __future__ import annotations

import math

import numpy as np

from actors.inference.means import BURN_IN, BURN_IN_RARE
from actors.inference.paths import Array, Numbers
from actors.inference.quantiles import boundary


def mean_path(values: Array, alpha: float) -> tuple[Array, Array]:
    """``MeanSequence`` for numbers in [0, 1]: (low, high), (runs, numbers) each."""
    t = np.arange(1, values.shape[-1] + 1)
    log = math.log(2.0 / alpha)
    mean = (0.5 + np.cumsum(values, axis=-1)) / (t + 1)
    before = np.concatenate([np.full((len(values), 1), 0.5), mean[:, :-1]], axis=1)
    squares = np.cumsum((values - mean) ** 2, axis=-1) + 0.25
    spread = np.concatenate([np.full((len(values), 1), 0.25), squares[:, :-1]], axis=1) / t
    bet = np.minimum(0.5, np.sqrt(2.0 * log / (spread * t * np.log(t + 1.0))))
    weight = np.cumsum(bet, axis=-1)
    centre = np.cumsum(bet * values, axis=-1) / weight
    half = (log + np.cumsum((values - before) ** 2 * (-np.log1p(-bet) - bet), axis=-1)) / weight
    return centre - half, centre + half


def asymptotic_path(values: Array, alpha: float, best_at: int = 1_000) -> tuple[Array, Array]:
    """``AsymptoticSequence``: (low, high), infinite during the burn-in."""
    t = np.arange(1, values.shape[-1] + 1)
    mean = np.cumsum(values, axis=-1) / t
    variance = np.maximum(0.0, np.cumsum(values**2, axis=-1) / t - mean**2)
    log = math.log(alpha)
    rho2 = (-2.0 * log + math.log(-2.0 * log + 1.0)) / best_at
    grown = t * rho2 + 1.0
    half = np.sqrt(variance * 2.0 * grown / (t * t * rho2) * np.log(np.sqrt(grown) / alpha))
    changes = np.cumsum(np.diff(values, axis=-1, prepend=values[:, :1]) != 0.0, axis=-1)
    half = np.where((t >= BURN_IN) & (changes >= 2 * BURN_IN_RARE) & (variance > 0.0), half, math.inf)
    return mean - half, mean + half


def quantile_misses(below: Numbers, at_most: Numbers, p: float, alpha: float) -> Numbers:
    """Whether ``QuantileSequence`` misses, from counts of values below and at most the true quantile, (runs, n)."""
    n = below.shape[-1]
    radius = np.array([boundary(t, p, alpha) for t in range(1, n + 1)])
    t = np.arange(1, n + 1)
    low, high = np.maximum(0.0, p - radius), p + radius
    too_high = np.cumsum(at_most, axis=-1) < np.ceil(low * t)
    too_low = (high < 1.0) & (np.cumsum(below, axis=-1) > np.floor(np.minimum(1.0, high) * t))
    return too_high | too_low
