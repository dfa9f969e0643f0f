"""The typed edge to pygmo: its operators, and algorithms that evolve one generation at a time. Imported at first use.

Problem and evaluator hold nothing but numbers: pygmo copies them by pickling, and a connection can't be. The function
that measures is found through the thread that called ``Evolver.evolve``, where pygmo calls back.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pygmo has no type stubs

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from .box import Array, Box

_here = threading.local()


@cache
def _pygmo() -> Any:
    return import_module("pygmo")


def load() -> None:
    """Import pygmo now, in whichever thread this is called: it takes a tenth of a second."""
    _pygmo()


class Shape:
    """A problem of pygmo: bounds and counts. It is never evaluated itself."""

    def __init__(self, box: Box, objectives: int, constraints: int) -> None:
        self._bounds = (box.lower.tolist(), box.upper.tolist())
        self._counts = (box.integers, objectives, constraints)

    def __deepcopy__(self, memo: dict[int, Any]) -> Shape:
        """Itself: it never changes, and pygmo copies its problem several times a generation."""
        return self

    def fitness(self, vector: Array) -> Sequence[float]:
        """Refuses: vectors are measured in batches, elsewhere."""
        raise NotImplementedError("this problem is evaluated by a batch evaluator only")

    def get_bounds(self) -> tuple[list[float], list[float]]:
        """Lower and upper bounds."""
        return self._bounds

    def get_nix(self) -> int:
        """Whole coordinates, the last ones."""
        return self._counts[0]

    def get_nobj(self) -> int:
        """Objectives."""
        return self._counts[1]

    def get_nic(self) -> int:
        """Constraints, kept where they are not above 0."""
        return self._counts[2]


class Batch:
    """pygmo's batch evaluator: asks the function that the calling thread has put down."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Batch:
        """Itself: it holds nothing."""
        return self

    def __call__(self, problem: Any, flat: Array) -> Array:
        """Values of vectors, both in one line."""
        return np.ascontiguousarray(_here.measure(flat.reshape(-1, problem.get_nx()))).ravel()


class Evolver:
    """An algorithm of pygmo with its population.

    Args:
        name: Such as ``gaco``.
        options: Of the algorithm, ``gen`` and ``seed`` aside.
        box: Where vectors live.
        vectors: The first population, (m, n).
        values: Its values, (m, k).
        objectives: How many of the values are objectives; the others are constraints.
    """

    def __init__(
        self, name: str, options: dict[str, Any], box: Box, vectors: Array, values: Array, *, objectives: int
    ) -> None:
        algorithm = getattr(_pygmo(), name)(gen=1, seed=0, **options)
        algorithm.set_bfe(_pygmo().bfe(Batch()))
        self._algorithm = _pygmo().algorithm(algorithm)
        shape = Shape(box, objectives, values.shape[1] - objectives)
        self._population = _pygmo().population(_pygmo().problem(shape), 0, seed=0)
        for vector, value in zip(vectors, values, strict=True):
            self._population.push_back(vector, value)

    def evolve(self, seed: int, measure: Callable[[Array], Array]) -> tuple[Array, Array]:
        """The next population, vectors and values; if ``measure`` raises, all is as before."""
        algorithm = copy.deepcopy(self._algorithm)  # gaco's memory changes before it measures
        algorithm.set_seed(seed & 0xFFFF_FFFF)
        _here.measure = measure
        try:
            population = algorithm.evolve(self._population)
        finally:
            del _here.measure
        self._algorithm, self._population = algorithm, population
        return np.asarray(population.get_x()), np.asarray(population.get_f())

    def put(self, row: int, vector: Array, value: Array) -> None:
        """Replace a member."""
        self._population.set_xf(row, vector, value)


def crossover(first: Array, second: Array, box: Box, *, rate: float, eta: float, seed: int) -> Array:
    """One child of simulated binary crossover (Deb and Agrawal 1995); whole coordinates are exchanged in a stretch."""
    bounds = (box.lower, box.upper)
    child = _pygmo().sbx_crossover(first, second, bounds, box.integers, rate, eta, seed)[0]
    return np.asarray(child, dtype=np.float64)


def mutation(vector: Array, box: Box, *, rate: float, eta: float, seed: int) -> Array:
    """A vector after polynomial mutation (Deb and Goyal 1996); whole coordinates are drawn anew."""
    bounds = (box.lower, box.upper)
    changed = _pygmo().polynomial_mutation(vector, bounds, box.integers, rate, eta, seed)
    return np.asarray(changed, dtype=np.float64)
