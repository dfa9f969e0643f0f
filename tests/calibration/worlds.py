"""What the simulated experiments draw from: skewed numbers, and traffic split between two releases."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# numpy leaves the element type of what arithmetic gives open

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from actors.inference.blocks import LARGEST, Blocks
from actors.inference.paths import Array, Numbers

Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
"""Independent numbers within [0, 1], in a given shape."""

_TOGETHER = 25
"""Experiments that share one assignment of messages to releases; their values are their own."""


def coin(rate: float) -> Draw:
    """1 with a probability, else 0."""
    return lambda rng, shape: (rng.random(shape, dtype=np.float32) < rate).astype(np.float64)


def lognormal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Skewed like a latency: lognormal with sigma 1.5, clipped where 1 % are above, as a share of that."""
    return np.minimum(1.0, np.exp(1.5 * (rng.standard_normal(shape) - 2.326)))


def zero_inflated(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Mostly nothing: 95 % zeros, the rest even between 0 and 1."""
    return rng.random(shape) * (rng.random(shape) < 0.05)


def _normal(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


LOGNORMAL_MEAN = math.exp(1.5**2 / 2.0 - 1.5 * 2.326) * _normal(2.326 - 1.5) + _normal(-2.326)
"""E[min(1, exp(s (Z - c)))] = exp(s^2/2 - s c) Phi(c - s) + Phi(-c)."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """One assignment of messages to the releases, and the blocks that come of it.

    ``live`` and ``tried`` are message numbers, (blocks, 8), repeated to fill; the sizes say how many are real.
    """

    live: Numbers
    tried: Numbers
    live_size: Numbers
    tried_size: Numbers
    complete: Numbers

    def sums(self, values: Array) -> tuple[Array, Array]:
        """Sums of a value over both sides of each block, (runs, blocks) each."""
        return _sum(values, self.live, self.live_size), _sum(values, self.tried, self.tried_size)

    def differences(self, values: Array) -> Array:
        """Mean of the tried ones minus mean of the live ones, (runs, blocks)."""
        live, tried = self.sums(values)
        return np.clip(tried / self.tried_size - live / self.live_size, -1.0, 1.0)


def _sum(values: Array, places: Numbers, sizes: Numbers) -> Array:
    total = np.zeros((len(values), len(places)))
    for column in range(int(sizes.max(initial=1))):
        total += values[:, places[:, column]] * (column < sizes)
    return total


def traffic(rng: np.random.Generator, share: float, messages: int) -> Traffic:
    """Messages go to the candidate with a probability, through the real ``Blocks``."""
    blocks, found, complete = Blocks[int](), list[tuple[list[int], list[int]]](), list[int]()
    for number, tried in enumerate((rng.random(messages) < share).tolist()):
        block = blocks.add(number, tried=tried)
        if block is not None:
            found.append(block)
            complete.append(number + 1)
    sides = [np.array([(side * LARGEST)[:LARGEST] for side in one]) for one in zip(*found, strict=True)]
    sizes = [np.array([len(side) for side in one]) for one in zip(*found, strict=True)]
    return Traffic(sides[0], sides[1], sizes[0], sizes[1], np.array(complete))


def experiments(rng: np.random.Generator, runs: int, share: float, messages: int) -> Iterator[tuple[int, Traffic]]:
    """As many experiments as asked for, some at a time with one assignment: (how many, theirs)."""
    for start in range(0, runs, _TOGETHER):
        yield min(_TOGETHER, runs - start), traffic(rng, share, messages)
