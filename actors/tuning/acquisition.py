"""Constrained expected improvement: how much a point promises, and where it promises most."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .cube import Array, Cube, Mask
from .numerics import log_normal_cdf, log_normal_cdf_at, minimise, scaled_erfc, scaled_erfc_at
from .surrogate import Surrogate

UNIFORM = 1024
LOCAL = ((256, 0.1), (256, 0.01))
"""Candidates: everywhere, and around the incumbent with these standard deviations."""

POLISHED = 4
STEPS = 30
EXACT = 1e-4
"""Noise variance (of standardised values) below which the objective counts as exact: asking twice tells nothing."""

APART = 1e-4
"""Distance in the unit cube within which two points are the same to an exact objective."""

CHANCE = math.log(0.5)
"""Least probability, as a logarithm, that a proposal keeps every limit once something does. Without it a search that
has found its optimum goes on where nothing is known because everything breaks there."""

_LOG_2PI = math.log(2.0 * math.pi)
_TAIL, _FAR = -1.0, -1e3


def log_improvement(u: Array) -> Array:
    """log(phi(u) + u Phi(u)), of which expected improvement is made, accurate for any ``u``.

    Source: Ament et al., Unexpected Improvements to Expected Improvement, NeurIPS 2023, eq. 9.
    """
    found = np.empty_like(u)
    near, far = u > _TAIL, u < _FAR
    middle = ~near & ~far
    head, tail = u[near], u[middle]
    found[near] = np.log(np.exp(-0.5 * (head * head + _LOG_2PI)) + head * np.exp(log_normal_cdf(head)))
    ratio = tail * math.sqrt(math.pi / 2.0) * scaled_erfc(-tail / math.sqrt(2.0))
    found[middle] = -0.5 * (tail * tail + _LOG_2PI) + np.log1p(ratio)
    found[far] = -0.5 * (u[far] * u[far] + _LOG_2PI) - 2.0 * np.log(-u[far])
    return found


def log_improvement_at(u: float) -> float:
    """The same for one number, at a tenth of what an array of one costs: a search along a slope asks for thousands."""
    if u > _TAIL:
        return math.log(math.exp(-0.5 * (u * u + _LOG_2PI)) + u * math.exp(log_normal_cdf_at(u)))
    if u < _FAR:
        return -0.5 * (u * u + _LOG_2PI) - 2.0 * math.log(-u)
    ratio = u * math.sqrt(math.pi / 2.0) * scaled_erfc_at(-u / math.sqrt(2.0))
    return -0.5 * (u * u + _LOG_2PI) + math.log1p(ratio)


class Acquisition:
    """log of expected improvement times the probability that every limit is kept.

    Args:
        objective: To be minimised.
        limits: Surrogates of what must be at most 0.
        best: The value to improve on, in the objective's standardised unit; ``None`` while nothing feasible is known,
            then only the limits count.

    Source: Gardner et al., Bayesian Optimization with Inequality Constraints, ICML 2014.
    """

    def __init__(self, objective: Surrogate, limits: Sequence[Surrogate], best: float | None) -> None:
        self._objective = objective
        self._limits = limits
        self._best = best

    @property
    def exact(self) -> bool:
        """True if measuring a point twice tells nothing new."""
        return self._objective.noise < EXACT and all(limit.noise < EXACT for limit in self._limits)

    def score(self, rows: Array) -> Array:
        """For each row, (m,)."""
        total = np.zeros(len(rows))
        if self._best is not None:
            found = self._objective.predict(rows)
            width = np.sqrt(found.variance)
            total += log_improvement((self._best - found.mean) / width) + np.log(width)
        return total + self.chance(rows)

    def chance(self, rows: Array) -> Array:
        """The logarithm of the probability that every limit is kept, (m,)."""
        total = np.zeros(len(rows))
        for limit in self._limits:
            found = limit.predict(rows)
            total += log_normal_cdf((limit.standardise(0.0) - found.mean) / np.sqrt(found.variance))
        return total

    def bold(self, rows: Array) -> Mask:
        """Which rows risk more than ``CHANCE`` allows; none while nothing is known that keeps every limit."""
        if self._best is None:
            return np.zeros(len(rows), dtype=np.bool_)
        return self.chance(rows) < CHANCE

    def slope(self, row: Array) -> tuple[float, Array]:
        """The score at one row, and its gradient."""
        total, gradient = 0.0, np.zeros_like(row)
        if self._best is not None:
            u, width, du, dwidth = _standing(self._objective, self._best, row)
            log_h = log_improvement_at(u)
            total += log_h + math.log(width)
            gradient += math.exp(min(log_normal_cdf_at(u) - log_h, 700.0)) * du + dwidth / width
        for limit in self._limits:
            u, _, du, _ = _standing(limit, limit.standardise(0.0), row)
            log_cdf = log_normal_cdf_at(u)
            total += log_cdf
            gradient += math.exp(min(-0.5 * (u * u + _LOG_2PI) - log_cdf, 700.0)) * du
        return total, gradient


def _standing(model: Surrogate, level: float, row: Array) -> tuple[float, float, Array, Array]:
    """How many standard deviations the model is below a level, that deviation, and the gradients of both."""
    mean, variance, dmean, dvariance = model.slopes(row)
    width = math.sqrt(variance)
    u, dwidth = (level - mean) / width, dvariance / (2.0 * width)
    return u, width, (-dmean - u * dwidth) / width, dwidth


def best_row(cube: Cube, acquisition: Acquisition, around: Array, taken: Array, random: np.random.Generator) -> Array:
    """The most promising row: the best of many candidates, the first of them improved along the smooth columns.

    Args:
        cube: What rows stand for.
        acquisition: What they promise.
        around: The incumbent's row.
        taken: Rows that are measured or being measured; an exact objective is not asked there again.
        random: Where candidates come from.
    """
    rows = cube.snap(_candidates(cube, around, random))
    scores = acquisition.score(rows)
    top = rows[np.argsort(-scores)[:POLISHED]]
    polished = cube.snap(np.array([_polished(cube, acquisition, row) for row in top]))
    rows, scores = np.vstack((polished, rows)), np.concatenate((acquisition.score(polished), scores))
    allowed = ~acquisition.bold(rows)
    fallback = rows[int(np.argmax(np.where(allowed, scores, -np.inf) if allowed.any() else scores))]
    if not acquisition.exact:
        return fallback
    # bold places last: better to risk something than to ask again what is known
    fresh = (row for row in rows[np.lexsort((-scores, ~allowed))] if not _is_near(row, taken))
    return next(fresh, fallback)


def _candidates(cube: Cube, around: Array, random: np.random.Generator) -> Array:
    local = [around + random.normal(0.0, width, (count, cube.width)) for count, width in LOCAL]
    rows = np.vstack((random.random((UNIFORM, cube.width)), *local))
    _vary(cube, rows[UNIFORM:], random)
    return rows


def _vary(cube: Cube, rows: Array, random: np.random.Generator) -> None:
    """Give some of the neighbours another value in rough dimensions, where a small step leads nowhere."""
    rough = [axis for axis in cube.axes if not axis.smooth]
    for axis in rough:
        changed = random.random(len(rows)) < 1.0 / (1.0 + len(rough))
        rows[changed, axis.columns] = random.random((int(changed.sum()), axis.width))


def _polished(cube: Cube, acquisition: Acquisition, row: Array) -> Array:
    columns = cube.smooth
    if not columns:
        return row
    whole = row.copy()

    def falling(part: Array) -> tuple[float, Array]:
        whole[columns] = part
        value, gradient = acquisition.slope(whole)
        return -value, -gradient[columns]

    found, _ = minimise(falling, row[columns], [(0.0, 1.0)] * len(columns), STEPS)
    whole[columns] = found
    return whole


def _is_near(row: Array, taken: Array) -> bool:
    return bool((np.abs(taken - row).max(axis=1) < APART).any())
