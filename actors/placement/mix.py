"""Which shapes are asked for, and how often: learned from requests, older ones counting less."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .shape import Shape

COVER = 0.97
"""Shapes are typical until they make up this share of requests (Weng et al., section 5, take 0.95 of a known trace)."""

THIN = 3.0
"""Requests, older ones counted less, below which the mix says nothing yet.

Even a few are better than none: on the openb trace, best fit for the first 100 of about 10,000 placements cost 0.8
points of allocation in the end. (``COVER`` and ``THIN`` were chosen on that trace.)
"""


@dataclass(frozen=True, slots=True)
class Mix:
    """Typical shapes and their shares of requests, which add up to 1; empty = nothing is known."""

    shares: Mapping[Shape, float]


class MixLearner:
    """Counts shapes with exponential forgetting.

    Args:
        half_life: Requests after which one counts half.
        most: Shapes kept; the rarest go.
    """

    def __init__(self, half_life: float = 20_000.0, most: int = 4_000) -> None:
        self._grow = 2.0 ** (1.0 / half_life)
        self._most = most
        self._unit = 1.0
        self._counts: dict[Shape, float] = {}
        self.requests = 0

    @property
    def weight(self) -> float:
        """Requests, older ones counted less."""
        return sum(self._counts.values()) / self._unit

    def add(self, shape: Shape) -> None:
        """Count a request; its main memory is left out, for it hardly ever decides."""
        key = Shape(shape.cpu_milli, 0, shape.devices, shape.milli, shape.device_memory_mib, shape.models)
        self.requests += 1
        self._unit *= self._grow
        self._counts[key] = self._counts.get(key, 0.0) + self._unit
        if self._unit > 1e100:  # noqa: PLR2004 - long before it overflows
            self._counts = {one: count / self._unit for one, count in self._counts.items()}
            self._unit = 1.0
        if len(self._counts) > self._most:
            del self._counts[min(self._counts, key=self._counts.__getitem__)]

    def mix(self) -> Mix:
        """The typical shapes now; empty while there were too few requests."""
        return typical(self._counts) if self.weight >= THIN else Mix({})


def typical(counts: Mapping[Shape, float], cover: float = COVER) -> Mix:
    """The most frequent shapes that make up ``cover`` of all; between equals the smaller one is first."""
    total, sofar = math.fsum(counts.values()), 0.0
    kept: dict[Shape, float] = {}
    for shape, count in sorted(counts.items(), key=lambda item: (-item[1], _order(item[0]))):
        kept[shape] = count
        sofar += count
        if sofar >= cover * total:
            break
    return Mix({shape: count / sofar for shape, count in kept.items()})


def _order(shape: Shape) -> tuple[int, int, int, int, tuple[str, ...]]:
    return shape.devices, shape.milli, shape.cpu_milli, shape.device_memory_mib, tuple(sorted(shape.models))
