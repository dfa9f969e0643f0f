"""The default policy is worth its name on more than the trace it was chosen on: mixes of every kind, made up here."""

from __future__ import annotations

import random
import statistics

import pytest

from actors.placement.cluster import Node
from actors.placement.policy import PolicyName
from actors.placement.replay import replay
from actors.placement.shape import Shape

NODES = [
    Node(f"n{at:03}", cpu * 1000, 384 * 1024, devices, "PTV"[at % 3])
    for at, (devices, cpu) in enumerate([(2, 64)] * 20 + [(2, 96)] * 50 + [(8, 96)] * 60 + [(4, 96)] * 10)
]
SEEDS = (1, 2, 3)

# part of all tasks: no device, a share of one, one whole, several; processors of a task without devices; choosy tasks
MIXES = {
    "usual": (0.13, 0.37, 0.48, 0.02, 8, 0.0),
    "few without devices": (0.05, 0.40, 0.53, 0.02, 8, 0.0),
    "processors run out": (0.45, 0.22, 0.31, 0.02, 16, 0.0),
    "shares only": (0.13, 0.87, 0.0, 0.0, 8, 0.0),
    "many shares": (0.13, 0.60, 0.25, 0.02, 8, 0.0),
    "many of several": (0.13, 0.40, 0.30, 0.17, 8, 0.0),
    "choosy": (0.13, 0.37, 0.48, 0.02, 8, 0.33),
}


def work(name: str, count: int = 1500) -> list[Shape]:
    """Tasks of a mix."""
    none, part, whole, several, cpu, choosy = MIXES[name]
    dice = random.Random(5)  # noqa: S311 - a made-up trace

    def models() -> frozenset[str]:
        return frozenset(dice.choice("PTV")) if dice.random() < choosy else frozenset()

    def task() -> Shape:
        kind = dice.choices("npws", (none, part, whole, several))[0]
        if kind == "n":
            return Shape(dice.choice((1, cpu // 2, cpu)) * 1000)
        if kind == "p":
            milli = dice.choices((160, 320, 470, 650, 810), (1, 3, 7, 3, 10))[0]
            return Shape(dice.choice((4, 6, 8)) * 1000, 0, 1, milli, 0, models())
        devices = dice.choice((2, 4, 8)) if kind == "s" else 1
        return Shape(dice.choice((8, 10, 12)) * 1000 * devices, 0, devices, 1000, 0, models())

    return [task() for _ in range(count)]


def allocated(tasks: list[Shape], policy: PolicyName) -> float:
    """Mean over seeds of what is allocated at an offered load of 130 %."""
    return statistics.mean(replay(NODES, tasks, policy, seed=seed).allocated[-1] for seed in SEEDS)


@pytest.mark.parametrize("mix", MIXES)
def test_the_default_allocates_as_much_as_best_fit(mix: str) -> None:
    """On no mix less than plain best fit (but for chance, a quarter of a point)."""
    tasks = work(mix)
    assert allocated(tasks, "default") >= allocated(tasks, "best-fit") - 0.25


def test_the_default_allocates_more_than_best_fit_where_processors_run_out() -> None:
    """Half a point and more: the gradient knows which machines the work with devices still needs."""
    tasks = work("processors run out")
    assert allocated(tasks, "default") > allocated(tasks, "best-fit") + 0.5
