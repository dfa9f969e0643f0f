"""The typed edge to the solver of scipy (HiGHS, Huangfu & Hall, Math. Prog. Comp. 2018); imported where it is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One constraint: ``least`` <= the sum of weight times count <= ``most``."""

    weights: Sequence[float]
    least: float = float("-inf")
    most: float = float("inf")


@dataclass(frozen=True, slots=True)
class Solution:
    """Counts, and whether it is proved that nothing is cheaper."""

    counts: tuple[int, ...]
    proved: bool


def cheapest(costs: Sequence[float], rows: Sequence[Row], most: int, limit_s: float) -> Solution | None:
    """Whole counts, each from 0 to ``most``, that meet all rows at least cost; ``None`` if none was found in time.

    The time is the solver's own and is overrun at times: bound the wait, too.
    """
    module: Any = import_module("scipy.optimize")
    numpy: Any = import_module("numpy")
    matrix = numpy.array([row.weights for row in rows], float)
    bounds = module.LinearConstraint(matrix, [row.least for row in rows], [row.most for row in rows])
    found: Any = module.milp(
        numpy.array(costs, float), constraints=bounds, integrality=numpy.ones(len(costs)),
        bounds=module.Bounds(0, most), options={"time_limit": limit_s},
    )  # fmt: skip
    if found.x is None:
        return None
    counts = tuple(round(float(value)) for value in found.x)
    slack = 1e-6
    for row in rows:
        total = sum(weight * count for weight, count in zip(row.weights, counts, strict=True))
        if not row.least - slack <= total <= row.most + slack:
            return None  # rounded, it does not hold
    return Solution(counts, found.status == 0)
