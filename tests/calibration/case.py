"""One figure of the calibration: how it is simulated, and what it must hold."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Measure = Callable[[np.random.Generator, int], float]
"""From a seeded generator and a number of simulated experiments to the figure."""

SEED = 20_261_122
LEVEL = 0.05
MESSAGES = 10_000
"""Messages of each experiment, every one of them followed by a look."""


@dataclass(frozen=True, slots=True)
class Case:
    """A figure with its bounds.

    Attributes:
        group: The heading it stands under.
        test: Which test.
        setting: On what.
        measure: Simulates it.
        runs: Experiments in the full form.
        quick: Experiments in the quick form.
        least: The figure must not be below, or ``None``.
        most: Nor above.
        rate: Whether it is a share of the experiments, so that chance widens its bounds.
    """

    group: str
    test: str
    setting: str
    measure: Measure
    runs: int
    quick: int
    least: float | None = None
    most: float | None = None
    rate: bool = True

    @property
    def name(self) -> str:
        """What it is called in lists."""
        return f"{self.group}: {self.test}, {self.setting}"


@dataclass(frozen=True, slots=True)
class Result:
    """A figure that was measured."""

    case: Case
    runs: int
    value: float

    @property
    def holds(self) -> bool | None:
        """Whether it is within its bounds, chance allowed for; ``None`` if it has none."""
        case = self.case
        if case.least is None and case.most is None:
            return None
        slack = 2.6 * math.sqrt(0.05 * 0.95 / self.runs) if case.rate else 0.0
        above = case.least is None or self.value >= case.least - slack
        return above and (case.most is None or self.value <= case.most + slack)


def measured(case: Case, kind: Literal["full", "quick"] = "full") -> Result:
    """Simulate a case; its seed depends on its name alone, so that cases do not disturb each other."""
    runs = case.runs if kind == "full" else case.quick
    rng = np.random.default_rng([SEED, zlib.crc32(case.name.encode())])
    return Result(case, runs, case.measure(rng, runs))
