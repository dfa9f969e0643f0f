"""CMA-ES (Hansen, arXiv 1604.00772) for real coordinates, in numpy.

pygmo 2.20 has it, too, but computes the covariance matrix genome by genome with no other thread running: 70 ms at 1,000
genomes of 81 genes, 2 s at 256 genes, where matrix products take 10 and 35 ms and let the event loop run. It also
forgets its distribution when the population is resized. Both take as many generations (``just bench evolve`` holds them
side by side).

The mean of the distribution is measured, too, as the first genome of each generation: where figures are noisy, or
luck on the training tasks, it is better than the best sample (the tutorial's "favorite solution"), and more so the more
genes there are. The distribution learns from the samples alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .box import Array, Box
from .engine import Evaluate, Members, Setup, ranking
from .generational import Kernel, Replacing

LEAST_SIGMA = 1e-20
"""A distribution does not get narrower than that: there are no numbers between its samples."""

SIGMA = 0.5
"""First step in widths of the box, where nothing is known."""


class Cmaes(Replacing):
    """Real coordinates only, one loss.

    Migrants and immigrants mean nothing to a distribution: ``receive`` does nothing, and ``immigrate`` makes it begin
    again, as wide as at first, around the best genome so far.

    Raises:
        ValueError: If there are whole coordinates, constraints, or several objectives.
    """

    name = "cmaes"
    receives = False

    def __init__(self, box: Box, setup: Setup, given: Array | None = None) -> None:
        if box.integers:
            raise ValueError(f"cmaes knows no whole numbers or choices, and {box.integers} are searched: use 'steady'")
        if setup.objectives > 1 or setup.constraints:
            raise ValueError("cmaes knows one objective and no limits: use 'nsga2' for several, 'gaco' for limits")
        super().__init__(box, setup, given)
        self._first_sigma = setup.near(box.width) if len(self._given) else setup.reach or SIGMA
        self._sigma = self._first_sigma

    def receive(self, members: Members) -> None:
        """Nothing: see above."""

    def immigrate(self, count: int) -> None:
        """Begin again as wide as at first, around the best genome so far."""
        if count and self.generation:
            self._sigma = self._first_sigma
            self._begin(self._elite.take([0]))

    def kernel(self, members: Members) -> Kernel:
        """A distribution around the best member."""
        best = members.vectors[int(ranking(members.values)[0])]
        return Distribution(self.box, self.size, best, self._sigma)

    def operators(self, count: int) -> tuple[str, ...]:
        """The mean, then samples."""
        return ("mean", *("sampled",) * (count - 1))

    def _restart(self, members: Members) -> None:
        if self.generation:
            self._sigma = self._spread(members)
        super()._restart(members)

    def _resized(self) -> None:
        if isinstance(self._kernel, Distribution):
            self._kernel.resize(self.size)

    def _spread(self, members: Members) -> float:
        """Root mean square deviation of the members in widths of the box."""
        width = np.where(self.box.upper > self.box.lower, self.box.upper - self.box.lower, 1.0)
        spread = float(np.sqrt((members.vectors / width).var(axis=0).mean()))
        return min(max(spread, 1e-6), SIGMA)


@dataclass(frozen=True)
class _Pace:
    """The strategy's constants for a population and a dimension: table 1 of the tutorial, without negative weights."""

    weights: Array
    mass: float
    c_sigma: float
    damping: float
    c_path: float
    c_one: float
    c_mu: float

    @classmethod
    def of(cls, size: int, width: int) -> _Pace:
        parents = max(size // 2, 1)
        raw = math.log(parents + 0.5) - np.log(np.arange(1, parents + 1))
        weights = raw / raw.sum()
        mass = float(1.0 / (weights**2).sum())
        c_sigma = (mass + 2.0) / (width + mass + 5.0)
        c_one = 2.0 / ((width + 1.3) ** 2 + mass)
        return cls(
            weights, mass, c_sigma,
            damping=1.0 + 2.0 * max(0.0, math.sqrt((mass - 1.0) / (width + 1.0)) - 1.0) + c_sigma,
            c_path=(4.0 + mass / width) / (width + 4.0 + 2.0 * mass / width), c_one=c_one,
            c_mu=min(1.0 - c_one, 2.0 * (mass - 2.0 + 1.0 / mass) / ((width + 2.0) ** 2 + mass)),
        )  # fmt: skip


@dataclass(frozen=True)
class _State:
    """The distribution, in the unit cube: ``axes`` and ``lengths`` are those of its covariance."""

    mean: Array
    sigma: float
    covariance: Array
    axes: Array
    lengths: Array
    path: Array
    path_sigma: Array
    generation: int = 0


class Distribution:
    """The normal distribution of CMA-ES in numpy; samples outside the box are put on its edge.

    Args:
        box: Where vectors live.
        size: Genomes of a generation: the mean, and samples.
        mean: Where it begins.
        sigma: First step in widths of the box.
    """

    def __init__(self, box: Box, size: int, mean: Array, sigma: float) -> None:
        self._box, self._width = box, box.upper - box.lower
        safe = np.where(self._width > 0.0, self._width, 1.0)
        n, none = box.width, np.zeros(box.width)
        self._pace, self._size = _Pace.of(size - 1, n), size
        start = (mean - box.lower) / safe
        self._state = _State(start, sigma, np.eye(n), np.eye(n), np.ones(n), none, none)
        self._expected = math.sqrt(n) * (1.0 - 1.0 / (4.0 * n) + 1.0 / (21.0 * n * n))

    def resize(self, size: int) -> None:
        """More or fewer samples; the distribution stays."""
        self._pace, self._size = _Pace.of(size - 1, len(self._width)), size

    def put(self, row: int, vector: Array, value: Array) -> None:
        """Nothing: members are no part of a distribution."""

    def evolve(self, seed: int, measure: Evaluate) -> tuple[Array, Array]:
        """Measure the mean and samples, and move towards their better half; if ``measure`` raises, all is as before."""
        state = self._state
        normal = np.random.Generator(np.random.PCG64(seed)).standard_normal((self._size - 1, len(state.mean)))
        unit = np.clip(state.mean + state.sigma * ((normal * state.lengths) @ state.axes.T), 0.0, 1.0)
        center = np.clip(state.mean, 0.0, 1.0)
        vectors = self._box.snap(self._box.lower + np.vstack([center, unit]) * self._width)
        values = measure(vectors)
        best = np.argsort(values[1:, 0], kind="stable")[: len(self._pace.weights)]
        self._state = self._moved((unit[best] - state.mean) / state.sigma)
        return vectors, values

    def _moved(self, steps: Array) -> _State:
        """After a selection of steps, best first: equations 38 to 49 of the tutorial."""
        pace, state = self._pace, self._state
        shift = pace.weights @ steps
        whitened = state.axes @ ((state.axes.T @ shift) / state.lengths)
        path_sigma = (1.0 - pace.c_sigma) * state.path_sigma
        path_sigma = path_sigma + math.sqrt(pace.c_sigma * (2.0 - pace.c_sigma) * pace.mass) * whitened
        length = float(np.linalg.norm(path_sigma))
        fresh = 1.0 - (1.0 - pace.c_sigma) ** (2 * (state.generation + 1))
        steady = length / math.sqrt(fresh) < (1.4 + 2.0 / (len(shift) + 1.0)) * self._expected
        path = (1.0 - pace.c_path) * state.path
        if steady:
            path = path + math.sqrt(pace.c_path * (2.0 - pace.c_path) * pace.mass) * shift
        forgotten = 0.0 if steady else pace.c_one * pace.c_path * (2.0 - pace.c_path)
        covariance = (1.0 - pace.c_one - pace.c_mu + forgotten) * state.covariance
        covariance = covariance + pace.c_one * np.outer(path, path) + pace.c_mu * (steps.T * pace.weights) @ steps
        sigma = state.sigma * math.exp(min(1.0, (pace.c_sigma / pace.damping) * (length / self._expected - 1.0)))
        covariance = (covariance + covariance.T) / 2.0
        squares, axes = np.linalg.eigh(covariance)
        return _State(
            state.mean + state.sigma * shift, max(sigma, LEAST_SIGMA), covariance, axes,
            np.sqrt(np.maximum(squares, LEAST_SIGMA)), path, path_sigma, state.generation + 1,
        )  # fmt: skip
