"""Exponential smoothing with a damped trend (Gardner & McKenzie, Management Science 1985), many settings at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import Floats

ALPHAS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7)
BETAS = (0.0, 0.02, 0.1)
DAMPINGS = (0.8, 0.95)


@dataclass(frozen=True, slots=True)
class Setting:
    """How fast level and trend follow, and how fast a trend fades."""

    alpha: float
    beta: float
    damping: float


SETTINGS = tuple(Setting(a, b, d) for a in ALPHAS for b in BETAS for d in (DAMPINGS if b else DAMPINGS[:1]))


def smooth(values: Floats, settings: tuple[Setting, ...] = SETTINGS) -> tuple[Floats, Floats]:
    """Level and trend after each value, per setting; shapes (settings, n)."""
    alpha, beta, damping = (np.array([getattr(s, name) for s in settings]) for name in ("alpha", "beta", "damping"))
    levels = np.empty((len(settings), values.size))
    trends = np.empty_like(levels)
    level = np.full(len(settings), float(values[: min(values.size, 12)].mean()))
    trend = np.zeros(len(settings))
    for index in range(values.size):
        expected = level + damping * trend
        before = level
        level = expected + alpha * (values[index] - expected)
        trend = damping * trend + beta * (level - before - damping * trend)
        levels[:, index], trends[:, index] = level, trend
    return levels, trends


def reach(damping: float, steps: Floats) -> Floats:
    """By how many trends the level moves in ``steps``: the sum of damping^i for i = 1 .. steps."""
    return damping * (1 - damping**steps) / (1 - damping)
