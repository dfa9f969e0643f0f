"""CUPED at every block at once: the adjustment that ``SplitAdjusted`` makes, and its false alarms."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# numpy leaves the element type of what arithmetic gives open

from __future__ import annotations

import numpy as np

from actors.inference.covariate import LARGEST
from actors.inference.paths import Array, bets_path
from tests.calibration.alarms import GROUP, reached
from tests.calibration.case import LEVEL, MESSAGES, Case
from tests.calibration.worlds import Traffic, experiments

REACH = 1.0 + 2.0 * LARGEST
"""Greatest adjusted difference of numbers in [0, 1]."""


def with_covariate(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Numbers in [0, 1] with spread 0.12, and what was known before, at a correlation of 0.7."""
    known, rest = rng.standard_normal(shape), rng.standard_normal(shape)
    return np.clip(0.5 + 0.12 * (0.7 * known + np.sqrt(0.51) * rest), 0.0, 1.0), known


def adjusted_differences(world: Traffic, values: Array, covariate: Array) -> Array:
    """Differences of each block after the adjustment that the blocks before it teach, (runs, blocks)."""
    sums = [sum(world.sums(one)) for one in (values, covariate, values * covariate, covariate**2)]
    y, x, xy, xx = (np.cumsum(one, axis=-1) - one for one in sums)
    n = np.cumsum(world.live_size + world.tried_size) - world.live_size - world.tried_size
    safe = np.maximum(n, 1)
    spread = xx - x * x / safe
    slope = np.where((n > 1) & (spread > 0.0), (xy - x * y / safe) / np.where(spread > 0.0, spread, 1.0), 0.0)
    cut = np.zeros_like(slope)
    for places, sizes, sign in ((world.live, world.live_size, -1.0), (world.tried, world.tried_size, 1.0)):
        for column in range(int(sizes.max())):
            known = covariate[:, places[:, column]] - x / safe
            cut += np.where(column < sizes, sign * np.clip(slope * known, -LARGEST, LARGEST) / sizes, 0.0)
    return np.clip(world.differences(values) - cut, -REACH, REACH)


def alarms(rng: np.random.Generator, runs: int) -> float:
    """Releases that are alike."""
    found = 0
    for count, world in experiments(rng, runs, 0.2, MESSAGES):
        values, covariate = with_covariate(rng, (count, MESSAGES))
        found += reached(bets_path(adjusted_differences(world, values, covariate), -REACH, REACH, 0.0))
    return found / runs


CASES = (Case(GROUP, "betting, blocks, CUPED", "correlation 0.7, share 20%", alarms, 1000, 100, most=LEVEL),)
