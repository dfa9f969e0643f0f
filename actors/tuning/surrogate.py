"""A Gaussian process on the unit cube: Matern 5/2, a length per dimension, hyperparameters at their posterior mode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .cube import Array
from .numerics import inverse_root, minimise

ROOT5 = math.sqrt(5.0)
JITTER = 1e-8
"""Added to the diagonal. Ten times more acts as noise of its own, at which an exact search stands still."""

LENGTH = math.log(0.7)
"""Mode of the lengths' log-normal prior, of width 1. Priors for much longer lengths explain noise as a slope, and a
slope's best point is a corner of the box."""

SCALE = (0.0, 2.0)
NOISE = (math.log(0.02), 2.0)
"""Modes and widths of the log-normal priors of signal and noise variance, of standardised values."""

BOUNDS = ((-4.0, 5.0), (-4.0, 4.0), (math.log(1e-8), 1.0))
"""Of the logarithms of lengths, signal variance and noise variance."""

SCOUTED, STEPS = 8, 24
"""Steps from each start, and from where the better one came to: two whole searches took twice the time."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Mean and variance of the standardised function at rows, (m,) each, noise not included."""

    mean: Array
    variance: Array


class Surrogate:
    """A posterior over functions given rows of the unit cube and values.

    Args:
        x: Rows, (n, width).
        y: Values, (n,).
        known: Known noise variances of the values, (n,).
        groups: For each column the number of its dimension.
        theta: Logarithms of the lengths, the signal variance and the noise variance; found by ``fit`` if not given.

    Sources: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, ch. 2, 4.2 and 5.4.1.
    """

    def __init__(self, x: Array, y: Array, known: Array, groups: Sequence[int], theta: Array | None = None) -> None:
        self.x = x
        self.offset = float(y.mean())
        self.spread = float(y.std()) or 1.0
        self._y = (y - self.offset) / self.spread
        self._known = known / self.spread**2
        self._groups = np.asarray(groups)
        self._count = int(self._groups.max()) + 1
        self._halves = np.where(np.bincount(self._groups)[self._groups] > 1, math.sqrt(0.5), 1.0)
        self.theta = self.fit() if theta is None else theta
        self._condition()

    @property
    def noise(self) -> float:
        """Noise variance of the standardised values, beside what is known of each."""
        return math.exp(self.theta[-1])

    def standardise(self, value: float) -> float:
        """A value in the surrogate's own unit."""
        return (value - self.offset) / self.spread

    def predict(self, rows: Array) -> Prediction:
        """The posterior at rows, (m, width)."""
        cross = self._cross(rows * self._rates)
        half = cross @ self._inverse.T
        variance = np.maximum(self._signal - np.einsum("ij,ij->i", half, half), 1e-12)
        return Prediction(cross @ self._weights, variance)

    def slopes(self, row: Array) -> tuple[float, float, Array, Array]:
        """Mean, variance and their gradients at one row, (width,)."""
        scaled = row * self._rates
        apart = scaled - self._z
        root = ROOT5 * np.sqrt(np.einsum("ij,ij->i", apart, apart))
        decay = self._signal * np.exp(-root)
        cross = (1.0 + root + root * root / 3.0) * decay
        slope = -(5.0 / 3.0) * ((1.0 + root) * decay)[:, None] * apart * self._rates
        half = self._inverse @ cross
        variance = max(self._signal - float(half @ half), 1e-12)
        return (
            float(cross @ self._weights),
            variance,
            slope.T @ self._weights,
            -2.0 * slope.T @ (self._inverse.T @ half),
        )

    def believing(self, rows: Array) -> Surrogate:
        """The same, believing its own mean at rows that are still being measured (kriging believer)."""
        if not len(rows):
            return self
        guessed = self.predict(rows).mean * self.spread + self.offset
        y = np.concatenate((self._y * self.spread + self.offset, guessed))
        known = np.concatenate((self._known * self.spread**2, np.zeros(len(rows))))
        return Surrogate(np.vstack((self.x, rows)), y, known, self._groups.tolist(), self.theta)

    def fit(self) -> Array:
        """The posterior mode of the hyperparameters, from fixed starts: it depends on the data and nothing else."""
        lengths, scale, noise = BOUNDS
        bounds = [lengths] * self._count + [scale, noise]
        # A start with short lengths and noise beside the smooth one: else noisy data locks in "all is noise".
        starts = [(LENGTH, math.log(1e-3)), (math.log(0.35), math.log(0.05))]
        scouted = [
            minimise(self.loss, np.array([length] * self._count + [0.0, noisy]), bounds, SCOUTED)
            for length, noisy in starts
        ]
        return minimise(self.loss, min(scouted, key=lambda pair: pair[1])[0], bounds, STEPS)[0]

    def loss(self, theta: Array) -> tuple[float, Array]:
        """Negative log posterior of hyperparameters and its gradient, up to a constant."""
        z = self.x * (self._halves * np.exp(-theta[self._groups]))
        signal, noise = math.exp(theta[-2]), math.exp(theta[-1])
        root = ROOT5 * np.sqrt(_squared(z))
        decay = signal * np.exp(-root)
        kernel = (1.0 + root + root * root / 3.0) * decay
        covariance = kernel.copy()
        covariance[np.diag_indices(len(z))] += noise + self._known + JITTER
        try:
            inverse_lower = inverse_root(covariance)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(theta)
        inverse = inverse_lower.T @ inverse_lower
        weights = inverse @ self._y
        value = 0.5 * float(self._y @ weights) - float(np.log(np.diag(inverse_lower)).sum())
        pull = np.outer(weights, weights) - inverse
        gradient = np.empty_like(theta)
        gradient[:-2] = -0.5 * self._length_slopes(pull * ((5.0 / 3.0) * (1.0 + root) * decay), z)
        gradient[-2] = -0.5 * float(np.vdot(pull, kernel))
        gradient[-1] = -0.5 * noise * float(np.trace(pull))
        return value + _prior(theta, gradient), gradient

    def _length_slopes(self, matrix: Array, z: Array) -> Array:
        columns = 2.0 * (matrix.sum(axis=1) @ (z * z) - np.einsum("ij,ij->j", z, matrix @ z))
        sums: Array = np.zeros(self._count)
        np.add.at(sums, self._groups, columns)
        return sums

    def _condition(self) -> None:
        self._rates = self._halves * np.exp(-self.theta[self._groups])
        self._signal = math.exp(self.theta[-2])
        self._z = self.x * self._rates
        covariance = self._cross(self._z)
        covariance[np.diag_indices(len(self._z))] += self.noise + self._known + JITTER
        self._inverse = inverse_root(covariance)
        self._weights: Array = self._inverse.T @ (self._inverse @ self._y)

    def _cross(self, scaled: Array) -> Array:
        root = ROOT5 * np.sqrt(_squared(scaled, self._z))
        return self._signal * (1.0 + root + root * root / 3.0) * np.exp(-root)


def _squared(left: Array, right: Array | None = None) -> Array:
    """Squared distances between rows, (n, m)."""
    other = left if right is None else right
    squares = (left * left).sum(axis=1)[:, None] + (other * other).sum(axis=1) - 2.0 * left @ other.T
    if right is None:
        squares[np.diag_indices(len(left))] = 0.0
    return np.maximum(squares, 0.0)


def _prior(theta: Array, gradient: Array) -> float:
    """Minus the log of the prior; adds its gradient."""
    modes = np.full(len(theta), LENGTH)
    widths = np.ones(len(theta))
    modes[-2:], widths[-2:] = (SCALE[0], NOISE[0]), (SCALE[1], NOISE[1])
    away = (theta - modes) / widths
    gradient += away / widths
    return 0.5 * float(away @ away)
