"""Studies for tests: functions to search, manifests to search in, and a loop that asks and tells."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from actors.tuning import Point, Study, StudyPlan, TrialEvent
from subjects.agent import Parameter

MIXED = [
    Parameter(name="rate", low=0.001, high=10.0, default=0.1),
    Parameter(name="shift", low=-1.0, high=1.0, default=0.25),
    Parameter(name="marks", type="integer", low=0, high=16, default=4),
    Parameter(name="deep", type="boolean", default=False),
    Parameter(name="depth", type="integer", low=1, high=9, default=3, when={"deep": True}),
    Parameter(name="style", type="categorical", choices=["plain", "soft", "hard"], default="soft"),
    Parameter(name="edge", low=0.0, high=2.0, default=0.5, when={"deep": True, "style": "hard"}),
    Parameter(name="domain", low=-4.0, high=4.0, default=0.0, size=3),
]
"""One parameter of every kind, and some that count only sometimes."""


def box(lows: Sequence[float], highs: Sequence[float]) -> list[Parameter]:
    """Real parameters x0, x1, ... within bounds, never on a log scale by their bounds."""
    return [
        Parameter(name=f"x{index}", low=low, high=high, default=(low + high) / 2)
        for index, (low, high) in enumerate(zip(lows, highs, strict=True))
    ]


def plan_of(algorithm: str = "bayesian", **fields: Any) -> StudyPlan:
    """A plan over the mixed parameters, lower is better."""
    fields = {"genome": MIXED, "better": "lower", **fields}
    return StudyPlan(algorithm=algorithm, **fields)  # pyright: ignore[reportArgumentType] - tests pass its literals


def numbers(point: Point) -> list[float]:
    """A point's values, for points of numbers only."""
    return [float(value) for value in point.values()]


def mixed_cost(point: Point) -> float:
    """A cost over the mixed parameters with one best corner."""
    cost = (math.log10(float(point["genome.rate"])) - 0.5) ** 2 + (float(point["genome.shift"]) + 0.4) ** 2
    cost += 0.02 * (float(point["genome.marks"]) - 11) ** 2 + (0.0 if point["genome.style"] == "hard" else 0.5)
    return cost + (0.1 * abs(float(point["genome.depth"]) - 7) if point["genome.deep"] else 1.0)


def keep(study: Study, event: TrialEvent, log: list[TrialEvent]) -> None:
    """Store an event, then take it in."""
    log.append(event)
    study.apply(event)


def searched(study: Study, cost: Callable[[Point], float], count: int) -> Study:
    """The study after ``count`` trials, one after another."""
    for _ in range(count):
        asked = study.ask(0.0)
        study.apply(asked)
        study.apply(study.tell(asked.number, 0.0, cost(asked.point)))
    return study


def branin(x: Sequence[float]) -> float:
    """Branin on [-5, 10] x [0, 15]; least value 0.397887 (Dixon and Szego, 1978)."""
    a, b = x
    curve = b - 5.1 / (4 * math.pi**2) * a * a + 5 / math.pi * a - 6
    return curve * curve + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10


_HEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
_RATES = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_PLACES = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
HARTMANN6 = -3.32237


def hartmann6(x: Sequence[float]) -> float:
    """Hartmann-6 on the unit cube; least value ``HARTMANN6`` (Dixon and Szego, 1978)."""
    return -float(_HEIGHTS @ np.exp(-(_RATES * (np.asarray(x) - _PLACES) ** 2).sum(axis=1)))


def gardner(x: Sequence[float]) -> tuple[float, float]:
    """Cost and limit on [0, 6]^2; least cost where the limit is at most 0: -1.889 (Gardner et al., 2014, no. 1)."""
    a, b = x
    return math.cos(2 * a) * math.cos(b) + math.sin(a), math.cos(a + b) + 0.5
