"""Bayesian optimization by a Gaussian process, as an optuna sampler: for few and dear trials, and for guardrails."""

from __future__ import annotations

import numpy as np

from .acquisition import Acquisition, best_row
from .cube import Array, Mask
from .numerics import sobol_point
from .sampling import Data, Sampling
from .space import Space
from .surrogate import Surrogate

STARTUP = 10
"""Trials spread evenly before the first surrogate."""

LEAST = 4
"""Measured values that a surrogate needs."""

REFIT = 15
"""Hyperparameters are found anew when there are a fifteenth more results: their cost grows with the cube."""

TAIL = 3.0
"""Bad values further out than so many interquartile ranges are drawn in: a cliff would hide the valley."""

OBJECTIVE = "!objective"


class GaussianSampler(Sampling):
    """Proposes where constrained expected improvement is greatest.

    What it proposes depends on the trials and the trial's number only: hyperparameters are fitted to the first so many
    results from fixed starts, on a schedule that depends on their count, and are kept only to save time. A point that
    failed is learned as a limit of its own. Cost per proposal at 200 results in 6 dimensions: see ``bench optimize``.

    Args:
        space: What is searched.
        guardrails: Names of the constraints.
        seed: Of the spread of the first points.
    """

    def __init__(self, space: Space, guardrails: list[str], seed: int) -> None:
        super().__init__(space, guardrails, "gp")
        self._seed = seed
        self._found: dict[str, tuple[bytes, Array]] = {}

    def next_row(self, data: Data, pending: Array) -> Array:
        """The most promising point, or one of an even spread while little is known."""
        measured = ~data.failed
        if len(data.y) + len(pending) < STARTUP or measured.sum() < LEAST:
            return self._cube.snap(sobol_point(self._cube.width, self._seed, self._number)[None])[0]
        x, y = data.x[measured], data.y[measured]
        objective = self._surrogate(OBJECTIVE, x, y, data.known[measured])
        kept = data.violation[measured] == 0.0
        means = objective.predict(x).mean
        best = float(means[kept].min()) if kept.any() else None
        around = _incumbent(x, means, kept, data.violation[measured])
        acquisition = Acquisition(
            objective.believing(pending), [limit.believing(pending) for limit in self._limits(data, measured)], best
        )
        return best_row(self._cube, acquisition, around, np.vstack((data.x, pending)), self._random)

    def _limits(self, data: Data, measured: Mask) -> list[Surrogate]:
        nothing = np.zeros(len(data.y))
        limits = [
            self._surrogate(name, data.x[measured], data.constraints[measured, index], nothing[measured])
            for index, name in enumerate(self._guardrails)
        ]
        if data.failed.any():
            limits.append(self._surrogate("!failed", data.x, np.where(data.failed, 1.0, -1.0), nothing))
        return limits

    def _surrogate(self, name: str, x: Array, y: Array, known: Array) -> Surrogate:
        count = scheduled(len(y))
        key = x[:count].tobytes() + y[:count].tobytes() + known[:count].tobytes()
        cached, theta = self._found.get(name, (b"", None))
        if cached != key or theta is None:
            theta = self._model(name, x[:count], y[:count], known[:count], None).theta
            self._found[name] = (key, theta)
        return self._model(name, x, y, known, theta)

    def _model(self, name: str, x: Array, y: Array, known: Array, theta: Array | None) -> Surrogate:
        if name == OBJECTIVE:
            y = _drawn_in(y)
        return Surrogate(x, y, known, self._cube.groups, theta)


def scheduled(count: int) -> int:
    """How many of ``count`` results the hyperparameters are fitted to."""
    size = min(count, LEAST)
    while (following := size + max(1, size // REFIT)) <= count:
        size = following
    return size


def _drawn_in(y: Array) -> Array:
    low, high = np.percentile(y, [25.0, 75.0])
    return np.minimum(y, high + TAIL * (high - low)) if high > low else y


def _incumbent(x: Array, means: Array, kept: Mask, violation: Array) -> Array:
    if kept.any():
        candidates = np.flatnonzero(kept)
        return x[candidates[int(np.argmin(means[candidates]))]]
    return x[int(np.argmin(violation))]
