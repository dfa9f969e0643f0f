"""Breeding in arrays: simulated binary crossover, polynomial mutation and exchange, for whole broods at once."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# numpy leaves open what drawing and arithmetic give

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from .box import Array, Box

CROSSED = 0.9
"""Share of pairs that are crossed."""

ETA_CROSSOVER, ETA_MUTATION = 10.0, 20.0
"""Distribution indices: the larger, the nearer children are to their parents."""

HALF, TINY = 0.5, 1e-14

Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]


def crossed(box: Box, first: Array, second: Array, random: np.random.Generator) -> Array:
    """A child of each pair, (m, n).

    Reals by bounded simulated binary crossover (Deb and Agrawal, Complex Systems 1995; bounds as in Deb's own NSGA-II),
    each with probability 1/2; whole coordinates come from either parent. One pair in ten is not crossed.
    """
    shape = first.shape
    mixed = (random.random(shape) < HALF) & (random.random((len(first), 1)) < CROSSED)
    spread: Array = random.random(shape)
    side: Mask = random.random(shape) < HALF
    child = np.where(mixed & side, second, first)
    reals = box.reals
    if reals:
        pair = (first[:, :reals], second[:, :reals])
        blended = _blended(box, *pair, spread[:, :reals], side[:, :reals])
        child[:, :reals] = np.where(mixed[:, :reals], blended, first[:, :reals])
    return child


def _blended(box: Box, first: Array, second: Array, spread: Array, side: Mask) -> Array:
    low, high = np.minimum(first, second), np.maximum(first, second)
    gap = high - low
    lower, upper = box.lower[: box.reals], box.upper[: box.reals]
    room = np.where(side, upper - high, low - lower)
    beta = 1.0 + 2.0 * room / np.maximum(gap, TINY)
    alpha = 2.0 - beta ** -(ETA_CROSSOVER + 1.0)
    scaled = spread * alpha
    inner = np.where(scaled <= 1.0, scaled, 1.0 / np.maximum(2.0 - scaled, TINY))
    factor = inner ** (1.0 / (ETA_CROSSOVER + 1.0))
    middle = 0.5 * (low + high)
    found = np.where(side, middle + 0.5 * factor * gap, middle - 0.5 * factor * gap)
    return np.where(gap > TINY, np.clip(found, lower, upper), first)


def mutated(box: Box, rows: Array, rate: float, random: np.random.Generator) -> Array:
    """Rows with each coordinate mutated with probability ``rate``.

    Reals by bounded polynomial mutation (Deb and Goyal 1996); whole coordinates are drawn anew.
    """
    result = rows.copy()
    where = np.nonzero(random.random(rows.shape) < rate)
    values, place = rows[where], where[1]
    lower, upper = box.lower[place], box.upper[place]
    width = np.maximum(upper - lower, TINY)
    power = ETA_MUTATION + 1.0
    chance: Array = random.random(len(place))
    down: Mask = chance < HALF
    near = 1.0 - np.where(down, values - lower, upper - values) / width
    base: Array = np.where(down, 2.0 * chance, 2.0 * (1.0 - chance))
    root: Array = (base + (1.0 - base) * near**power) ** (1.0 / power)
    moved: Array = values + np.where(down, root - 1.0, 1.0 - root) * width
    whole = np.minimum(lower + np.floor(chance * (upper - lower + 1.0)), upper)
    result[where] = np.clip(np.where(place >= box.reals, whole, moved), lower, upper)
    return result
