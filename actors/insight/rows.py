"""Anomalies in several figures at once: a row that no figure alone would give away."""

from __future__ import annotations

import numpy as np

from .arrays import Floats

_WARM, _REFRESH, _MEMORY = 64, 50, 200
_RIDGE = 1e-6


class RowDetector:
    """Distance of a row from the recent past in the shape of that past: an exponentially weighted, robust Mahalanobis.

    A row farther out than expected (the expectation of the squared distance is the number of figures) is learned
    with a weight that falls with its distance, so anomalies do not teach the detector that they are normal (an
    M-estimator of scatter, Maronna, Ann. Statist. 1976). River's half-space trees and LODA were weighed on the same
    labelled data: less exact and 10 to 50 times slower.

    Memory: one matrix of figures x figures.

    Args:
        figures: Numbers per row.
        memory: Rows over which the weight of the past falls to 1/e.
    """

    def __init__(self, figures: int, *, memory: int = _MEMORY) -> None:
        self._figures = figures
        self._rate = 1 / memory
        self._seen = 0
        self._first: list[Floats] = []
        self._mean = np.zeros(figures)
        self._scatter = np.eye(figures)
        self._inverse = np.eye(figures)

    def update(self, row: Floats) -> float:
        """Score a row, then learn it: squared distance per figure, about 1 for a normal row, 0 for the first 64.

        Raises:
            ValueError: If the row has another length or holds what is not a finite number.
        """
        if row.shape != (self._figures,) or not np.isfinite(row).all():
            raise ValueError(f"a row is {self._figures} finite numbers")
        self._seen += 1
        if self._seen <= _WARM:
            return self._warm(row)
        away = row - self._mean
        distance = float(away @ self._inverse @ away)
        weight = self._rate * min(1.0, self._figures / max(distance, 1e-12))
        self._mean += weight * away
        self._scatter += weight * (np.outer(away, away) - self._scatter)
        if self._seen % _REFRESH == 0:
            self._invert()
        return distance / self._figures

    def _warm(self, row: Floats) -> float:
        self._first.append(row)
        if self._seen == _WARM:
            rows = np.stack(self._first)
            self._mean = np.median(rows, axis=0)
            spread = 1.4826 * np.median(np.abs(rows - self._mean), axis=0)
            plain = rows.std(axis=0)
            self._scatter = np.diag(np.where(spread > 0, spread, np.where(plain > 0, plain, 1.0)) ** 2)
            self._first = []
            self._invert()
        return 0.0

    def _invert(self) -> None:
        scale = np.sqrt(np.maximum(np.diag(self._scatter), 1e-300))
        correlation = self._scatter / np.outer(scale, scale) + _RIDGE * np.eye(self._figures)
        self._inverse = np.linalg.inv(correlation) / np.outer(scale, scale)
