"""CMA-ES as an optuna sampler whose state is the trials: populations in the order in which results came in."""

from __future__ import annotations

from typing import Any

import numpy as np
from cmaes import CMA

from .cube import Array
from .sampling import Data, Sampling
from .space import Space

SIGMA = 0.2
"""First step, in widths of the box."""


class CmaesSampler(Sampling):
    """Covariance matrix adaptation (Hansen, arXiv 1604.00772) in the unit cube.

    Each population's worth of its own results moves the distribution once, whichever population they were drawn from:
    so open trials never hold it up, and the distribution can be made again from the trials alone. Results of others
    (the known-good setting is where it starts) don't enter. Whole numbers and choices are relaxed; so that they can't
    freeze, each is redrawn now and then. Broken guardrails rank behind kept ones, failed points behind everything.

    Args:
        space: What is searched.
        guardrails: Names of the constraints.
        from_base: Whether it starts at the known-good setting instead of the middle of the box.
    """

    def __init__(self, space: Space, guardrails: list[str], *, from_base: bool) -> None:
        super().__init__(space, guardrails, "cmaes")
        row = self._cube.row(space.start()) if from_base else np.full(self._cube.width, 0.5)
        self._mean = np.clip(row, 0.05, 0.95)

    def next_row(self, data: Data, pending: Array) -> Array:
        """A draw from the distribution as the results so far have left it."""
        del pending
        strategy = self._strategy(data)
        strategy.reseed_rng(int(self._random.integers(2**32)))
        row = np.array(strategy.ask(), dtype=float)
        self._redraw(row)
        return self._cube.snap(row[None])[0]

    def _strategy(self, data: Data) -> CMA:
        bounds = np.tile([0.0, 1.0], (self._cube.width, 1))
        strategy = CMA(mean=self._mean.copy(), sigma=SIGMA, bounds=bounds, seed=0)
        size = strategy.population_size
        own = np.flatnonzero(data.own)
        own = own[np.argsort(data.order[own])]
        for start in range(0, len(own) - size + 1, size):
            batch = own[start : start + size]
            ranks = _ranks(data, batch)
            strategy.tell([(data.x[trial], float(rank)) for trial, rank in zip(batch, ranks, strict=True)])
        return strategy

    def _redraw(self, row: Array) -> None:
        rough = [axis for axis in self._cube.axes if not axis.smooth]
        for axis in rough:
            if self._random.random() < 1.0 / (2.0 * len(rough)):
                row[axis.columns] = self._random.random(axis.width)


def _ranks(data: Data, batch: np.ndarray[Any, np.dtype[np.intp]]) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Places from 0 for the best; equal results keep the order in which they came."""
    order = np.lexsort((data.y[batch], data.violation[batch], data.failed[batch]))
    ranks = np.empty(len(batch), dtype=np.intp)
    ranks[order] = np.arange(len(batch))
    return ranks
